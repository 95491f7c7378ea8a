import type { TuneRecord } from '../../../runtime/tune/records.ts'
import { escapeHtml, short } from './html.ts'
import { crossings, type Influence, influences } from './influence.ts'

/** The two axes that matter most, crossed, and how much each axis explains. */
export function heatMap(records: readonly TuneRecord[]): string {
  const axes = influences(records)
  const [first, second] = axes
  if (!first) return '<p>There is one configuration only, and nothing to compare.</p>'
  return `<div class="split">${second ? matrix(records, first, second) : ''}${bars(axes)}</div>`
}

function matrix(records: readonly TuneRecord[], rows: Influence, columns: Influence): string {
  const cells = crossings(records, columns.axis, rows.axis)
  const worst = Math.max(...cells.map(({ slowness }) => slowness), 1.01)
  const cell = (x: unknown, y: unknown): string => {
    const at = cells.find((each) => each.x === x && each.y === y)
    if (!at) return '<td class="none">·</td>'
    // The best are full of colour, the slowest have none.
    const level = Math.round(100 * (1 - Math.log(at.slowness) / Math.log(worst)))
    const title = `${columns.axis} ${x}, ${rows.axis} ${y}: ${short(at.slowness)} times the best on average over ${at.count} times, the best at ${at.wins} shapes`
    const wins = at.wins > 0 ? `<small>${at.wins}★</small>` : ''
    return `<td style="--level:${level}%" title="${escapeHtml(title)}">${short(at.slowness)}×${wins}</td>`
  }
  const head = columns.values.map((value) => `<th scope="col">${escapeHtml(String(value))}</th>`).join('')
  const body = rows.values.map(
    (y) =>
      `<tr><th scope="row">${escapeHtml(String(y))}</th>${columns.values.map((x) => cell(x, y)).join('')}</tr>`,
  )
  return (
    `<div class="scroll"><table class="heat"><caption><b>${escapeHtml(rows.axis)}</b> (down) by ` +
    `<b>${escapeHtml(columns.axis)}</b> (across)</caption><thead><tr><td></td>${head}</tr></thead>` +
    `<tbody>${body.join('')}</tbody></table></div>`
  )
}

function bars(axes: readonly Influence[]): string {
  const rows = axes.map(({ axis, explained, values }) => {
    const percent = Math.round(100 * explained)
    return (
      `<div class="bar"><span>${escapeHtml(axis)}</span><i style="--level:${percent}%"></i>` +
      `<b>${percent} %</b><small>${values.length} values</small></div>`
    )
  })
  return `<div class="bars"><h3>Differences explained by each axis</h3>${rows.join('')}</div>`
}
