import type { WeightFormatName } from '../../../kernels/formats/index.ts'
import { gemmWork } from '../../../models/tune/gemm-work.ts'
import { type Ceilings, opsPerSecond } from '../../../runtime/tune/roofline.ts'
import type { WinnerRow } from '../winners.ts'
import { escapeHtml, logScale, powers, px, short } from './html.ts'

const size = { width: 980, height: 430, left: 58, right: 24, top: 18, bottom: 46 } as const

/** Winners by operations for each byte and operations a second, under the roof that memory and matrix units make. */
export function rooflinePlot(
  rows: readonly WinnerRow[],
  format: WeightFormatName,
  ceiling: Ceilings | undefined,
): string {
  const points = rows.map((row) => {
    const { bytes, ops } = gemmWork(format, row)
    return { row, intensity: ops / bytes, rate: row.teraopsPerSecond }
  })
  if (points.length === 0) return ''
  const { unit } = gemmWork(format, points[0]!.row)
  const roof = ceiling ? opsPerSecond(unit, ceiling) / 1e12 : undefined
  const memory = ceiling ? ceiling.bytesPerSecond / 1e12 : undefined
  const intensities = points.map(({ intensity }) => intensity)
  const rates = points.map(({ rate }) => rate)
  const xs = powers(4, Math.min(...intensities), Math.max(...intensities, roof && memory ? roof / memory : 0))
  const ys = powers(4, Math.min(...rates), Math.max(...rates, roof ?? 0))
  const { width, height, left, right, top, bottom } = size
  const x = logScale([xs[0]!, xs.at(-1)!], [left, width - right])
  const y = logScale([ys[0]!, ys.at(-1)!], [height - bottom, top])
  const tokens = [...new Set(points.map(({ row }) => row.M))].sort((a, b) => a - b)

  const grid = [
    ...ys.map(
      (tick) =>
        `<line class="grid" x1="${left}" x2="${width - right}" y1="${px(y(tick))}" y2="${px(y(tick))}"/>` +
        `<text class="tick" x="${left - 8}" y="${px(y(tick) + 4)}" text-anchor="end">${short(tick)}</text>`,
    ),
    ...xs.map(
      (tick) =>
        `<line class="grid" y1="${top}" y2="${height - bottom}" x1="${px(x(tick))}" x2="${px(x(tick))}"/>` +
        `<text class="tick" x="${px(x(tick))}" y="${height - bottom + 18}" text-anchor="middle">${short(tick)}</text>`,
    ),
  ]
  const dots = points.map(({ row, intensity, rate }) => {
    const share = row.ofCeiling === null ? '' : `, ${Math.round(100 * row.ofCeiling)} % of the ceiling`
    const title = `${row.N}×${row.K}, ${row.M} tokens: ${short(row.us)} µs, ${short(rate)} TOP/s, ${short(row.terabytesPerSecond)} TB/s${share}`
    return (
      `<circle cx="${px(x(intensity))}" cy="${px(y(rate))}" r="4.5" style="--mix:${shade(tokens, row.M)}%">` +
      `<title>${escapeHtml(title)}</title></circle>`
    )
  })
  return (
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Roofline">${grid.join('')}` +
    `${roof && memory ? roofLine({ roof, memory, x, y, xs, ys }) : ''}<g class="dots">${dots.join('')}</g>` +
    `<text class="tick" x="${(left + width - right) / 2}" y="${height - 8}" text-anchor="middle">operations a byte</text>` +
    `<text class="tick" x="${left}" y="${top - 6}">TOP/s</text></svg>${legend(tokens)}`
  )
}

interface Roof {
  readonly roof: number
  readonly memory: number
  readonly x: (value: number) => number
  readonly y: (value: number) => number
  readonly xs: readonly number[]
  readonly ys: readonly number[]
}

/** From where memory's line enters the plot up to the ridge, and on level. */
function roofLine({ roof, memory, x, y, xs, ys }: Roof): string {
  const start = Math.max(xs[0]!, ys[0]! / memory)
  const ridge = roof / memory
  const path = `M${px(x(start))} ${px(y(start * memory))}L${px(x(ridge))} ${px(y(roof))}H${px(x(xs.at(-1)!))}`
  const middle = Math.sqrt(start * ridge)
  const angle = (Math.atan2(y(ridge * memory) - y(start * memory), x(ridge) - x(start)) * 180) / Math.PI
  const [mx, my] = [x(middle), y(middle * memory)]
  return (
    `<path class="roof" d="${path}"/>` +
    `<text class="roof-name" x="${px(mx)}" y="${px(my - 8)}" transform="rotate(${px(angle)} ${px(mx)} ${px(my - 8)})" ` +
    `text-anchor="middle">${short(memory)} TB/s from memory</text>` +
    `<text class="roof-name" x="${px(x(xs.at(-1)!) - 6)}" y="${px(y(roof) - 7)}" text-anchor="end">${short(roof)} TOP/s</text>`
  )
}

/** How much of the second colour a number of tokens has: by its place among all. */
const shade = (tokens: readonly number[], M: number): number =>
  Math.round((100 * tokens.indexOf(M)) / Math.max(1, tokens.length - 1))

const legend = (tokens: readonly number[]): string =>
  `<div class="legend"><span>tokens</span>${tokens
    .map((M) => `<span><i style="--mix:${shade(tokens, M)}%"></i>${M}</span>`)
    .join('')}</div>`
