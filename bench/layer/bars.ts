import { escapeHtml, px } from '../../cli/tune/report/html.ts'
import { micros } from '../gemm/page.ts'
import { groupColor, groupOf, kernelGroups } from './groups.ts'
import { type StepRows, totalUs } from './rows.ts'

const width = 980
const left = 84
const right = 250
const barHeight = 22
const rowHeight = 34

/** Microseconds of each group of kernels in a step. */
export function groupTimes({ kernels }: StepRows): number[] {
  const times = new Array<number>(kernelGroups.length).fill(0)
  for (const row of kernels) times[groupOf(row.kernel)]! += totalUs(row)
  return times
}

/**
 * A bar a step, as long as its kernels take alone, in units of the step's floor; a mark where the whole step ends. Of
 * steps without a floor there is none.
 */
export function stepBars(steps: readonly StepRows[], title: string): string {
  const shown = steps.filter(({ step }) => step?.floorUs)
  if (shown.length === 0) return ''
  const units = shown.map((each) => {
    const floor = each.step!.floorUs!
    return { each, floor, parts: groupTimes(each).map((us) => us / floor), whole: each.step!.us / floor }
  })
  const most = Math.max(...units.map(({ parts, whole }) => Math.max(whole, sum(parts))))
  const end = Math.ceil(most * 2) / 2
  const along = (value: number) => left + ((width - left - right) * value) / end
  const bottom = 8 + rowHeight * shown.length
  const ticks = Array.from({ length: 2 * end + 1 }, (_, i) => i / 2).filter(
    (tick) => end <= 4 || Number.isInteger(tick),
  )
  const grid = ticks.map(
    (tick) =>
      `<line class="${tick === 1 ? 'floor' : 'grid'}" x1="${px(along(tick))}" x2="${px(along(tick))}" y1="4" y2="${bottom}"/>` +
      `<text class="tick" x="${px(along(tick))}" y="${bottom + 16}" text-anchor="middle">${tick}×</text>`,
  )
  const bars = units.map(({ each, floor, parts, whole }, row) => {
    const y = 8 + rowHeight * row
    let from = 0
    const rects = parts.map((part, group) => {
      const at = from
      from += part
      const share = `${Math.round((100 * part) / whole)} % of the step`
      return (
        `<rect x="${px(along(at))}" y="${y}" width="${px(along(at + part) - along(at))}" height="${barHeight}" ` +
        `style="fill:${groupColor(group)}"><title>${escapeHtml(kernelGroups[group]!.name)}: ${micros(part * floor)}, ` +
        `${share}</title></rect>`
      )
    })
    const text = `${micros(whole * floor)}, ${Math.round((1e6 * each.batch) / each.step!.us)} tokens/s`
    return (
      `<text class="tick" x="${left - 8}" y="${y + 15}" text-anchor="end">${each.batch}${each.spread === 0 ? '' : ` ± ${Math.round(100 * each.spread)} %`}</text>` +
      `${rects.join('')}<path class="whole" d="M${px(along(whole))} ${y - 4}V${y + barHeight + 4}"/>` +
      `<text class="figure" x="${px(along(Math.max(whole, from)) + 8)}" y="${y + 15}">${text}</text>`
    )
  })
  return (
    `<svg viewBox="0 0 ${width} ${bottom + 24}" role="img" aria-label="${escapeHtml(title)}">` +
    `${grid.join('')}${bars.join('')}</svg>`
  )
}

/** The colours of the groups. */
export const groupLegend = (): string =>
  `<div class="legend">${kernelGroups
    .map(({ name }, i) => `<span><i style="background:${groupColor(i)}"></i>${escapeHtml(name)}</span>`)
    .join('')}</div>`

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
