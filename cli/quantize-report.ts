import type { StepNotes } from '../quantize/layer-run.ts'
import { projectionNames } from '../quantize/layer-state.ts'
import { outlierFactor } from '../quantize/measure.ts'
import type { QuantizeResult } from '../quantize/quantize-checkpoint.ts'
import { formatOf, type Recipe } from '../quantize/recipe.ts'
import { bytesText } from './progress.ts'
import { reportStyle } from './report-style.ts'
import { escapeHtml } from './tune/report/html.ts'

/** What a report tells of. */
export interface QuantizeRun extends QuantizeResult {
  readonly source: string
  readonly folder: string
  readonly recipe: Recipe
  readonly seed: number
  readonly seconds: number
  readonly device: string
  readonly peakBytes: number
}

const columns = [...projectionNames, 'keys', 'values', 'output'] as const
type Column = (typeof columns)[number]

/** A page that needs nothing else: errors of each layer before and after each pass, outliers, and what passes chose. */
export function quantizeReport(run: QuantizeRun): string {
  const { recipe, layers } = run
  const title = `${recipe.name}: ${run.source}`
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title><style>${reportStyle}${style}</style></head><body><main>
<h1>${escapeHtml(title)}</h1>
<p class="facts">${facts(run).map(escapeHtml).join(' · ')}</p>
<h2>Error after each pass</h2>
<p>Squared error relative to the exact values, in percent, averaged over layers. Products: of their outputs, with input
and weights quantized and everything before them exact. Output: of what a layer adds to the hidden states, with
everything quantized. <i>original</i> is plain rounding of the source.</p>
${passTable(run)}
${chart(run)}
<h2>Error of each layer at the end</h2>
${layerTable(run)}
<h2>Outlier channels</h2>
<p>Channels of the inputs of products whose largest magnitude is above ${outlierFactor} times the median: in the source, and at
the end. Given are how many, and how many times the median the loudest is.</p>
${outlierTable(run)}
<h2>Chosen by passes</h2>
${chosenTable(layers)}
</main></body></html>
`
}

const style = `
td, th { padding: 2px 10px; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
td.level { background: color-mix(in oklab, var(--series-2) var(--level), transparent); }
.scroll { overflow-x: auto; }
.card { padding: 8px; margin: 12px 0; }
`

function facts({ recipe, seed, seconds, device, peakBytes, bytes, layers, folder }: QuantizeRun): string[] {
  return [
    folder,
    formatOf(recipe).name,
    bytesText(bytes),
    `${layers.length} layers`,
    `seed ${seed}`,
    `${seconds.toFixed(1)} s on ${device}`,
    `at most ${bytesText(peakBytes)} of matrices`,
    `passes: ${recipe.passes.map(({ pass }) => (typeof pass === 'string' ? pass : pass.name)).join(', ') || 'none'}`,
  ]
}

const errorIn = ({ error }: StepNotes, column: Column): number | undefined =>
  column === 'output'
    ? error?.output
    : column === 'keys' || column === 'values'
      ? error?.[column]
      : error?.products[column]

const percent = (value: number | undefined): string =>
  value === undefined ? '' : (100 * value).toPrecision(3)

const mean = (values: readonly (number | undefined)[]): number | undefined => {
  const found = values.filter((value) => value !== undefined)
  return found.length === 0 ? undefined : found.reduce((a, b) => a + b) / found.length
}

/** Passes, with those steps left out that were not measured. */
const measuredSteps = ({ layers }: QuantizeRun): number[] =>
  (layers[0]?.steps ?? []).flatMap(({ error }, i) => (error ? [i] : []))

function passTable(run: QuantizeRun): string {
  const rows = measuredSteps(run).map((step) => {
    const means = columns.map((column) => mean(run.layers.map(({ steps }) => errorIn(steps[step]!, column))))
    return [run.layers[0]!.steps[step]!.pass, ...means.map(percent)]
  })
  return table(['pass', ...columns], rows)
}

/** The output error of each layer, a line to a pass. */
function chart(run: QuantizeRun): string {
  const steps = measuredSteps(run)
  const lines = steps.map((step) => run.layers.map(({ steps }) => steps[step]!.error!.output))
  const most = Math.max(...lines.flat(), 1e-12)
  const [width, height, left, bottom] = [900, 270, 50, 40]
  const x = (layer: number): number => left + ((width - left - 10) * (layer + 0.5)) / run.layers.length
  const y = (value: number): number => height - bottom - ((height - bottom - 10) * value) / most
  const grid = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const at = y(part * most)
    return `<line class="grid" x1="${left}" x2="${width - 10}" y1="${at}" y2="${at}"/><text class="tick" x="${left - 6}" y="${at + 4}" text-anchor="end">${percent(part * most) || 0}</text>`
  })
  const every = Math.ceil(run.layers.length / 16)
  const layers = run.layers
    .filter((_, i) => i % every === 0)
    .map(
      ({ layer }) =>
        `<text class="tick" x="${x(layer).toFixed(1)}" y="${height - bottom + 14}" text-anchor="middle">${layer}</text>`,
    )
  const drawn = lines.map((values, i) => {
    const points = values.map((value, layer) => `${x(layer).toFixed(1)},${y(value).toFixed(1)}`)
    const color = `var(--series-${(i % 8) + 1})`
    const dots = points.map((point) => {
      const [cx, cy] = point.split(',')
      return `<circle cx="${cx}" cy="${cy}" r="2.5" fill="${color}"/>`
    })
    return `<polyline fill="none" stroke="${color}" stroke-width="1.5" points="${points.join(' ')}"/>${dots.join('')}`
  })
  const legend = steps.map(
    (step, i) =>
      `<span style="color:var(--series-${(i % 8) + 1})">●</span> ${escapeHtml(run.layers[0]!.steps[step]!.pass)}`,
  )
  return `<div class="card"><svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Output error of layers">${grid.join('')}${layers.join('')}${drawn.join('')}<text class="tick" x="${width / 2}" y="${height - 6}" text-anchor="middle">layer; error of its output in percent</text></svg><p class="facts">${legend.join(' &nbsp; ')}</p></div>`
}

function layerTable({ layers }: QuantizeRun): string {
  const measured = layers
    .map(({ steps }) => steps.findLast(({ error }) => error)!)
    .map((step) => columns.map((column) => errorIn(step, column)))
  const worst = columns.map((_, i) => Math.max(...measured.map((row) => row[i] ?? 0), 1e-12))
  const body = measured.map((row, layer) => {
    const cells = row.map((value, i) => {
      const level = value === undefined ? 0 : Math.round((60 * value) / worst[i]!)
      return `<td class="level" style="--level:${level}%">${percent(value)}</td>`
    })
    return `<tr><td>${layer}</td>${cells.join('')}</tr>`
  })
  return `<div class="scroll"><table><tr>${['layer', ...columns].map((name) => `<th>${name}</th>`).join('')}</tr>${body.join('')}</table></div>`
}

function outlierTable({ layers }: QuantizeRun): string {
  const [first] = layers
  if (!first) return ''
  const sites = first.steps.find(({ outliers }) => outliers)!.outliers!.map(({ site }) => site)
  const rows = layers.map(({ layer, steps }) => {
    const seen = steps.filter(({ outliers }) => outliers)
    const [before, after] = [seen[0]!.outliers!, seen.at(-1)!.outliers!]
    const cell = (i: number): string =>
      [before, after].map((all) => `${all[i]!.count} (${all[i]!.factor.toFixed(0)}×)`).join(' → ')
    return [String(layer), ...sites.map((_, i) => cell(i))]
  })
  return table(['layer', ...sites], rows)
}

function chosenTable(layers: QuantizeRun['layers']): string {
  const columns = [
    ...new Set(
      layers.flatMap(({ steps }) =>
        steps.flatMap(({ pass, chosen }) => chosen.map(([what]) => `${pass}: ${what}`)),
      ),
    ),
  ]
  if (columns.length === 0) return '<p>The passes of this recipe choose nothing.</p>'
  const rows = layers.map(({ layer, steps }) => {
    const values = new Map<string, number | string>(
      steps.flatMap(({ pass, chosen }) =>
        chosen.map(([what, value]) => [`${pass}: ${what}`, value] as const),
      ),
    )
    return [
      String(layer),
      ...columns.map((column) => {
        const value = values.get(column)
        return typeof value === 'number' ? String(Number(value.toPrecision(4))) : (value ?? '')
      }),
    ]
  })
  return table(['layer', ...columns], rows)
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (tag: 'td' | 'th', cells: readonly string[]): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`
  return `<div class="scroll"><table>${line('th', head)}${rows.map((row) => line('td', row)).join('')}</table></div>`
}
