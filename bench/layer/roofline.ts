import { escapeHtml, logScale, powers, px, short } from '../../cli/tune/report/html.ts'
import type { Ceilings } from '../../runtime/tune/roofline.ts'
import { groupColor, groupOf } from './groups.ts'
import type { LayerRow } from './rows.ts'

const size = { width: 980, height: 430, left: 58, right: 24, top: 22, bottom: 46 } as const

/** Kernels that multiply, by operations for each byte and operations a second, under the roofs of the GPU. */
export function layerRoofline(rows: readonly LayerRow[], ceiling: Ceilings): string {
  const points = rows.filter(({ ops }) => ops > 0)
  if (points.length === 0) return ''
  const memory = ceiling.bytesPerSecond / 1e12
  const roofs = [
    { name: '8-bit integers', rate: ceiling.int8OpsPerSecond / 1e12 },
    { name: '16-bit floats', rate: ceiling.f16OpsPerSecond / 1e12 },
  ]
  const top = Math.max(...roofs.map(({ rate }) => rate))
  const intensity = ({ ops, bytes }: LayerRow) => ops / bytes
  const rate = ({ ops, us }: LayerRow) => ops / us / 1e6
  const xs = powers(4, Math.min(...points.map(intensity)), Math.max(...points.map(intensity), top / memory))
  const ys = powers(4, Math.min(...points.map(rate)), top)
  const x = logScale([xs[0]!, xs.at(-1)!], [size.left, size.width - size.right])
  const y = logScale([ys[0]!, ys.at(-1)!], [size.height - size.bottom, size.top])
  const right = size.width - size.right
  const low = size.height - size.bottom
  const grid = [
    ...ys.map(
      (tick) =>
        `<line class="grid" x1="${size.left}" x2="${right}" y1="${px(y(tick))}" y2="${px(y(tick))}"/>` +
        `<text class="tick" x="${size.left - 8}" y="${px(y(tick) + 4)}" text-anchor="end">${short(tick)}</text>`,
    ),
    ...xs.map(
      (tick) =>
        `<line class="grid" y1="${size.top}" y2="${low}" x1="${px(x(tick))}" x2="${px(x(tick))}"/>` +
        `<text class="tick" x="${px(x(tick))}" y="${low + 18}" text-anchor="middle">${short(tick)}</text>`,
    ),
  ]
  const start = Math.max(xs[0]!, ys[0]! / memory)
  const roofLines = roofs.map(
    ({ name, rate: height }) =>
      `<path class="roof" d="M${px(x(start))} ${px(y(start * memory))}L${px(x(height / memory))} ${px(y(height))}H${right}"/>` +
      `<text class="tick" x="${right - 6}" y="${px(y(height) - 6)}" text-anchor="end">${short(height)} TOP/s, ${name}</text>`,
  )
  const dots = points.map(
    (row) =>
      `<circle cx="${px(x(intensity(row)))}" cy="${px(y(rate(row)))}" r="4.5" style="--line:${groupColor(groupOf(row.kernel))}">` +
      `<title>${escapeHtml(`${row.kernel}, ${row.batch} × ${row.context}`)}: ${short(row.us)} µs, ` +
      `${short(rate(row))} TOP/s, ${short(row.bytes / row.us / 1e6)} TB/s</title></circle>`,
  )
  return (
    `<svg viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="Roofline">${grid.join('')}` +
    `${roofLines.join('')}${dots.join('')}` +
    `<text class="tick" x="${(size.left + right) / 2}" y="${size.height - 8}" text-anchor="middle">operations a byte</text>` +
    `<text class="tick" x="${size.left}" y="${size.top - 8}">TOP/s; the slope is ${short(memory)} TB/s</text></svg>`
  )
}
