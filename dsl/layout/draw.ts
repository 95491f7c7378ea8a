import { LayoutError } from './error.ts'
import { isTuple, productOf } from './int-tuple.ts'
import type { Layout } from './layout.ts'

/** A text table for terminals and documents, or a self-contained SVG image. */
export type DrawAs = 'text' | 'svg'

/** A table of labels; `shade` picks one of eight colours of a cell, -1 none. */
interface Grid {
  readonly title: string
  readonly rows: number
  readonly columns: number
  label(row: number, column: number): string
  shade(row: number, column: number): number
}

const cellLimit = 65_536

/**
 * Draws the offset at each coordinate: mode 0 down, mode 1 across, a table per index of the modes after them. A
 * layout of one mode is one row. SVG cells of equal colour have the same offset modulo 8.
 *
 * @throws LayoutError if the layout has more than 65536 coordinates.
 */
export function draw(l: Layout, as: DrawAs = 'text'): string {
  if (l.size > cellLimit) throw new LayoutError('draw', [l], `${l.size} cells are more than ${cellLimit}`)
  return render(as, slices(l))
}

/**
 * Draws who owns each element of a tile: `l` is a (lane, value) layout whose offsets are `row + rows * column`, as
 * the fragments of MMA atoms are. `T5V2` is value 2 of lane 5, a dot an element that nobody owns.
 *
 * @throws LayoutError if `l` has not two modes, reaches beyond the tile, or gives an element to two owners.
 */
export function drawOwners(l: Layout, rows: number, columns: number, as: DrawAs = 'text'): string {
  const fail = (condition: string) => new LayoutError('drawOwners', [l, rows, columns], condition)
  if (l.rank !== 2) throw fail('the layout must have two modes, (lane, value)')
  if (rows * columns > cellLimit) throw fail(`${rows * columns} cells are more than ${cellLimit}`)
  if (l.cosize > rows * columns) throw fail(`it reaches offset ${l.cosize - 1}, beyond the tile`)
  const owners = new Map<number, { lane: number; value: number }>()
  const lanes = modeSize(l, 0)
  for (let i = 0; i < l.size; i++) {
    const owner = { lane: i % lanes, value: Math.floor(i / lanes) }
    const offset = l(i)
    if (owners.has(offset)) throw fail(`two owners have the element at offset ${offset}`)
    owners.set(offset, owner)
  }
  const at = (row: number, column: number) => owners.get(row + rows * column)
  const label = (row: number, column: number) => {
    const owner = at(row, column)
    return owner ? `T${owner.lane}V${owner.value}` : '.'
  }
  const shade = (row: number, column: number) => (at(row, column)?.lane ?? -1) % 8
  return render(as, [{ title: `${l.id}, (lane, value) of each element`, rows, columns, label, shade }])
}

/** Coordinates of mode `i`; 1 beyond the last. */
function modeSize(l: Layout, i: number): number {
  const modes = isTuple(l.shape) ? l.shape : [l.shape]
  return productOf(modes[i] ?? 1)
}

function slices(l: Layout): Grid[] {
  const rows = l.rank === 1 ? 1 : modeSize(l, 0)
  const columns = l.rank === 1 ? l.size : modeSize(l, 1)
  const count = l.size / (rows * columns)
  return Array.from({ length: count }, (_, s) => {
    const offset = (row: number, column: number) => l(row + rows * (column + columns * s))
    return {
      title: count === 1 ? l.id : `${l.id}, slice ${s}`,
      rows,
      columns,
      label: (row: number, column: number) => `${offset(row, column)}`,
      shade: (row: number, column: number) => offset(row, column) % 8,
    }
  })
}

function render(as: DrawAs, grids: readonly Grid[]): string {
  return as === 'svg' ? renderSvg(grids) : grids.map(renderText).join('\n\n')
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

function renderText(g: Grid): string {
  const labels = range(g.rows).map((r) => range(g.columns).map((c) => g.label(r, c)))
  const width = Math.max(`${g.columns - 1}`.length, ...labels.flat().map((text) => text.length))
  const side = `${g.rows - 1}`.length
  const line = (head: string, cells: readonly string[]) =>
    `${head.padStart(side)} | ${cells.map((text) => text.padStart(width)).join(' ')}`
  const header = line('', range(g.columns).map(String))
  const rule = `${'-'.repeat(side + 1)}+${'-'.repeat(header.length - side - 2)}`
  return [g.title, header, rule, ...labels.map((cells, r) => line(`${r}`, cells))].join('\n')
}

const palette = ['#fde2e2', '#fdeccf', '#fbf7c5', '#dff3d3', '#d3f0ee', '#d8e6fb', '#e5dcf8', '#f8dcf0']

function renderSvg(grids: readonly Grid[]): string {
  const longest = Math.max(
    ...grids.map((g) => range(g.rows * g.columns).reduce((n, i) => longer(g, i, n), 0)),
  )
  const width = 7 * longest + 10
  const height = 22
  const margin = 28
  const cells: string[] = []
  const labels: string[] = []
  const heads: string[] = []
  let top = 0
  let right = 0
  const text = (x: number, y: number, value: string) => `<text x="${x}" y="${y}">${escapeXml(value)}</text>`
  for (const g of grids) {
    heads.push(text(margin + 3.5 * g.title.length, top + 16, g.title))
    const y0 = top + 44
    for (const c of range(g.columns)) heads.push(text(margin + (c + 0.5) * width, y0 - 7, `${c}`))
    for (const r of range(g.rows)) {
      heads.push(text(margin / 2, y0 + r * height + 15, `${r}`))
      for (const c of range(g.columns)) {
        const shade = g.shade(r, c)
        const [x, y] = [margin + c * width, y0 + r * height]
        const fill = shade < 0 ? '#fff' : palette[shade]
        cells.push(`<path d="M${x} ${y}h${width}v${height}h-${width}z" fill="${fill}"/>`)
        labels.push(text(x + width / 2, y + 15, g.label(r, c)))
      }
    }
    top = y0 + g.rows * height + 8
    right = Math.max(right, margin + g.columns * width + 8, margin + 8 * g.title.length)
  }
  const size = `width="${right}" height="${top}" viewBox="0 0 ${right} ${top}"`
  const font = 'font-family="monospace" font-size="11" text-anchor="middle"'
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${font}>`,
    `<rect width="${right}" height="${top}" fill="#fff"/>`,
    `<g stroke="#999">${cells.join('')}</g>`,
    `<g>${labels.join('')}</g>`,
    `<g fill="#666">${heads.join('')}</g>`,
    '</svg>\n',
  ].join('\n')
}

const longer = (g: Grid, i: number, n: number): number =>
  Math.max(n, g.label(i % g.rows, Math.floor(i / g.rows)).length)

const escapeXml = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
