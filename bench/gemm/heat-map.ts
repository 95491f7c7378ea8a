import { escapeHtml } from '../../cli/tune/report/html.ts'
import { type Shape, shapeName } from './layers.ts'
import { bestOf, rivalsOf } from './rivals.ts'
import type { GemmRow, RivalRow } from './rows.ts'

/** What stands behind a figure of an earlier run. */
export const earlierMark = '<sup title="of an earlier run">†</sup>'

interface HeatSource {
  readonly rows: readonly GemmRow[]
  readonly rivals: readonly RivalRow[]
  readonly shapes: readonly Shape[]
  readonly tokens: readonly number[]
  isEarlier(row: GemmRow): boolean
}

/** Two tables of one format whose cells are coloured by value: share of the floor, and speed against the closest rival. */
export function heatCard(format: string, { rows, rivals, shapes, tokens, isEarlier }: HeatSource): string {
  const at = (shape: Shape, count: number) =>
    rows.find(
      (row) => row.format === format && row.n === shape.n && row.k === shape.k && row.tokens === count,
    )
  const rival = rivalsOf(format).find((each) => rivals.some(each.is))
  const shares = heatTable('share of the floor', shapes, tokens, (shape, count) => {
    const row = at(shape, count)
    if (!row?.us || !row.floorUs) return null
    const share = row.floorUs / row.us
    return {
      text: `${Math.round(100 * share)}`,
      style: `--level:${percent(share)}`,
      kind: 'share',
      isEarlier: isEarlier(row),
    }
  })
  const ratios =
    rival &&
    heatTable(`times as fast as ${rival.name}`, shapes, tokens, (shape, count) => {
      const row = at(shape, count)
      const best = row?.us ? bestOf(rival, { ...shape, tokens: count }, rivals) : null
      if (!row?.us || !best) return null
      const ratio = Math.max(best.us / row.us, best.usChained / (row.usChained ?? row.us))
      // Twice as fast and half as fast have the full colour.
      const level = Math.min(1, Math.abs(Math.log2(ratio)))
      return {
        text: ratio.toFixed(2),
        style: `--level:${percent(level)}`,
        kind: ratio >= 1 ? 'faster' : 'slower',
        isEarlier: isEarlier(row),
      }
    })
  return `<div class="card"><h3>${escapeHtml(format)}</h3><div class="pair">${shares}${ratios ?? ''}</div></div>`
}

interface HeatCell {
  readonly text: string
  readonly style: string
  readonly kind: 'share' | 'faster' | 'slower'
  readonly isEarlier: boolean
}

function heatTable(
  caption: string,
  shapes: readonly Shape[],
  tokens: readonly number[],
  cell: (shape: Shape, tokens: number) => HeatCell | null,
): string {
  const lines = shapes.map((shape) => {
    const cells = tokens.map((count) => {
      const heat = cell(shape, count)
      if (!heat) return '<td></td>'
      const mark = heat.isEarlier ? earlierMark : ''
      return `<td class="${heat.kind}" style="${heat.style}">${heat.text}${mark}</td>`
    })
    return `<tr><th>${shapeName(shape).replace('x', '×')}</th>${cells.join('')}</tr>`
  })
  const head = tokens.map((count) => `<th>${count}</th>`).join('')
  return `<table class="heat"><caption>${escapeHtml(caption)}</caption>
<thead><tr><th></th>${head}</tr></thead><tbody>${lines.join('\n')}</tbody></table>`
}

const percent = (level: number): string => `${Math.round(100 * Math.min(1, level))}%`
