import type { WeightFormatName } from '../../../kernels/formats/index.ts'
import { gemmWork } from '../../../models/tune/gemm-work.ts'
import { type Ceilings, floorMicroseconds } from '../../../runtime/tune/roofline.ts'
import type { Rival } from '../rivals.ts'
import { tilesText, type WinnerRow } from '../winners.ts'
import { escapeHtml, logScale, powers, px, short } from './html.ts'

const size = { width: 460, height: 230, left: 44, right: 14, top: 16, bottom: 34 } as const

interface Series {
  readonly name: string
  readonly kind: 'own' | 'rival' | 'floor'
  readonly color: string
  readonly points: readonly { readonly M: number; readonly us: number; readonly note: string }[]
}

/** A chart for each product: its winners by tokens, rivals, and the least time that bytes and operations allow. */
export function shapeCharts(
  rows: readonly WinnerRow[],
  format: WeightFormatName,
  rivals: readonly Rival[],
  ceiling: Ceilings | undefined,
): string {
  const products = new Map(rows.map(({ N, K }) => [`${N}×${K}`, { N, K }]))
  const names = [...new Set(rivals.map(({ name }) => name))]
  const configs = rows.map(({ config }) => config)
  const cards = [...products].map(([title, { N, K }]) => {
    const own = rows.filter((row) => row.N === N && row.K === K)
    const others = rivals.filter((rival) => rival.N === N && rival.K === K)
    const series: Series[] = [
      ...names.map(
        (name, i): Series => ({
          name,
          kind: 'rival',
          color: `var(--series-${2 + (i % 7)})`,
          points: others
            .filter((rival) => rival.name === name)
            .sort((a, b) => a.M - b.M)
            .map(({ M, us }) => ({ M, us, note: '' })),
        }),
      ),
      ...(ceiling
        ? [
            {
              name: 'floor',
              kind: 'floor',
              color: 'var(--soft)',
              points: own.map(({ M }) => ({
                M,
                us: floorMicroseconds(gemmWork(format, { M, N, K }), ceiling),
                note: '',
              })),
            } satisfies Series,
          ]
        : []),
      {
        name: format,
        kind: 'own',
        color: 'var(--series-1)',
        points: own.map(({ M, us, config }) => ({ M, us, note: tilesText(config, configs) })),
      },
    ]
    return `<figure><figcaption>${title}${verdict(own, others)}</figcaption>${chart(series)}</figure>`
  })
  const legend = [
    `<span><i class="line" style="--line:var(--series-1)"></i>${escapeHtml(format)}</span>`,
    ...names.map(
      (name, i) =>
        `<span><i class="line" style="--line:var(--series-${2 + (i % 7)})"></i>${escapeHtml(name)}</span>`,
    ),
    ...(ceiling ? ['<span><i class="line dotted" style="--line:var(--soft)"></i>floor</span>'] : []),
  ]
  return `<div class="legend">${legend.join('')}</div><div class="grid-cards">${cards.join('')}</div>`
}

/** How the winners compare with the best rival at each number of tokens. */
function verdict(own: readonly WinnerRow[], rivals: readonly Rival[]): string {
  const ratios = own.flatMap(({ M, us }) => {
    const best = Math.min(...rivals.filter((rival) => rival.M === M).map((rival) => rival.us))
    return Number.isFinite(best) ? [best / us] : []
  })
  if (ratios.length === 0) return ''
  const faster = ratios.filter((ratio) => ratio > 1).length
  const mean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length)
  const kind = mean >= 1 ? 'faster' : 'slower'
  return ` <span class="${kind}">${short(mean)}× the best rival’s speed, ahead at ${faster} of ${ratios.length}</span>`
}

function chart(series: readonly Series[]): string {
  const points = series.flatMap((each) => each.points)
  const { width, height, left, right, top, bottom } = size
  const tokens = [...new Set(points.map(({ M }) => M))].sort((a, b) => a - b)
  const ys = powers(4, Math.min(...points.map(({ us }) => us)), Math.max(...points.map(({ us }) => us)))
  const x = logScale([tokens[0]!, tokens.at(-1)!], [left + 6, width - right])
  const y = logScale([ys[0]!, ys.at(-1)!], [height - bottom, top])
  const grid = ys.map(
    (tick) =>
      `<line class="grid" x1="${left}" x2="${width - right}" y1="${px(y(tick))}" y2="${px(y(tick))}"/>` +
      `<text class="tick" x="${left - 7}" y="${px(y(tick) + 4)}" text-anchor="end">${short(tick)}</text>`,
  )
  const ticks = apart(tokens, x).map(
    (M) => `<text class="tick" x="${px(x(M))}" y="${height - bottom + 16}" text-anchor="middle">${M}</text>`,
  )
  const lines = series
    .filter((each) => each.points.length > 0)
    .map(({ name, kind, color, points: at }) => {
      const dots = at.map(({ M, us, note }) => {
        const title = `${name}, ${M} tokens: ${short(us)} µs${note ? ` (${note})` : ''}`
        return `<circle cx="${px(x(M))}" cy="${px(y(us))}" r="${kind === 'own' ? 3.6 : 2.6}"><title>${escapeHtml(title)}</title></circle>`
      })
      return (
        `<g class="${kind}" style="--line:${color}">` +
        `<polyline points="${at.map(({ M, us }) => `${px(x(M))},${px(y(us))}`).join(' ')}"/>` +
        `${kind === 'floor' ? '' : dots.join('')}</g>`
      )
    })
  return (
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Microseconds by tokens">${grid.join('')}${ticks.join('')}` +
    `<text class="tick" x="${(left + width - right) / 2}" y="${height - 3}" text-anchor="middle">tokens</text>` +
    `<text class="tick" x="${left + 4}" y="${top - 3}">µs</text>${lines.join('')}</svg>`
  )
}

/** Values whose labels do not touch. */
function apart(values: readonly number[], at: (value: number) => number): number[] {
  const shown: number[] = []
  for (const value of values) if (shown.length === 0 || at(value) - at(shown.at(-1)!) >= 32) shown.push(value)
  return shown
}
