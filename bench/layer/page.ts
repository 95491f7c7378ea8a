import { escapeHtml } from '../../cli/tune/report/html.ts'
import type { Ceilings } from '../../runtime/tune/roofline.ts'
import { micros } from '../gemm/page.ts'
import { pageStyle } from '../gemm/page-style.ts'
import type { ResultHeader } from '../results.ts'
import { groupLegend, stepBars } from './bars.ts'
import { contextText, formatText, titleOf } from './report.ts'
import { layerRoofline } from './roofline.ts'
import { type LayerRow, type StepRows, stepsOf, totalUs } from './rows.ts'

const style = `
svg rect { stroke: var(--card); stroke-width: 1; }
svg .floor { stroke: var(--ink); stroke-dasharray: 4 4; }
svg .whole { stroke: var(--ink); stroke-width: 2.5; fill: none; }
svg .figure { fill: var(--ink); font-variant-numeric: tabular-nums; }
svg .roof { stroke: var(--soft); stroke-width: 1.6; fill: none; }
.heat-rows .share { background: color-mix(in srgb, var(--share) calc(var(--level) * 0.75), var(--card)); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 12.5px; color: var(--soft); padding: 6px 12px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.all td:not(:first-child), .all th:not(:first-child) { text-align: right; }
`

/** The results as one page of HTML that needs nothing else; `sections` come between the charts and the tables. */
export function layerPage(
  header: ResultHeader,
  rows: readonly LayerRow[],
  ceiling: Ceilings | undefined,
  sections: readonly string[] = [],
): string {
  const steps = stepsOf(rows)
  const device = escapeHtml(header.device)
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Decode steps on ${device}</title>
<style>${pageStyle}${style}</style>
<body>
<main>
${headSection(header, steps)}
<section><h2>Where the time goes</h2>
<p>A bar is what the kernels of a step take alone, launch after launch without overlap, in multiples of the step's floor: the
least that each kernel could take at the rates of memory and matrix units, added up (dashed, at 1×). The black mark is the
step as it runs, as one graph.</p>
${barFigures(steps)}</section>
${rooflineSection(rows, ceiling)}
${sections.join('\n')}
<section><h2>Kernel by kernel</h2>
<p>µs: a launch alone. In step: by how much a step without the kernel is shorter, for each launch; its sum is the share.</p>
${steps.map(stepTable).join('\n')}</section>
</main>
</body>
</html>
`
}

function headSection(header: ResultHeader, steps: readonly StepRows[]): string {
  const facts = [
    header.date.slice(0, 10),
    header.commit && `commit ${header.commit}`,
    header.driver && `driver ${header.driver}`,
    header.smClockMHz && `${header.smClockMHz} MHz`,
  ].filter(Boolean)
  const tiles = steps.flatMap((step) => {
    const whole = step.step
    if (!whole) return []
    const floor = whole.floorUs ? [`<li><b>${(whole.us / whole.floorUs).toFixed(2)}×</b> the floor</li>`] : []
    const rate = `<li><b>${Math.round((1e6 * step.batch) / whole.us)}</b> tokens/s</li>`
    return [
      `<div class="tile"><div class="label">${step.batch} × ${contextText(step)}</div>` +
        `<div class="value">${micros(whole.us)}</div><ul>${floor.join('')}${rate}</ul></div>`,
    ]
  })
  return `<header><h1>Decode steps on ${escapeHtml(header.device)}</h1>
<p class="facts">${escapeHtml(facts.join(' · '))}</p>
<p>Whole steps of a model of random weights, from token ids to sampled ids, each as one CUDA graph: sequences × mean tokens of
context. Launches begin before their predecessor has ended where they can (programmatic dependent launch).</p>
<div class="tiles">${tiles.join('')}</div></header>`
}

function barFigures(steps: readonly StepRows[]): string {
  const contexts = [...new Set(steps.map(({ context }) => context))].sort((a, b) => a - b)
  const formats = [...new Set(steps.map(formatText))]
  const figures = formats.flatMap((format) =>
    contexts.flatMap((context) => {
      const shown = steps.filter((step) => formatText(step) === format && step.context === context)
      const title = `${format}, context ${context}: sequences`
      const chart = stepBars(shown, title)
      return chart ? [`<figure><figcaption>${escapeHtml(title)}</figcaption>${chart}</figure>`] : []
    }),
  )
  return figures.length > 0 ? `${groupLegend()}${figures.join('\n')}` : ''
}

function rooflineSection(rows: readonly LayerRow[], ceiling: Ceilings | undefined): string {
  const plot = ceiling && layerRoofline(rows, ceiling)
  return plot
    ? `<section><h2>Roofline</h2><p>Kernels that multiply, each alone. Attention does its sums in 8-bit integers.</p>
${groupLegend()}<figure>${plot}</figure></section>`
    : ''
}

const columns = [
  'kernel',
  'launches',
  'µs',
  'MB',
  'TB/s',
  'floor µs',
  'µs / floor',
  'total µs',
  'in step µs',
  'share %',
]

function stepTable(step: StepRows): string {
  const whole = step.step?.us
  const line = (row: LayerRow): string => {
    const { kernel, launches, us, marginalUs, bytes, floorUs } = row
    const cells = [
      escapeHtml(kernel),
      launches,
      us.toFixed(2),
      (bytes / 1e6).toFixed(2),
      (bytes / us / 1e6).toFixed(2),
      floorUs?.toFixed(2) ?? '',
      floorUs ? (us / floorUs).toFixed(2) : '',
      totalUs(row).toFixed(1),
      marginalUs?.toFixed(2) ?? '',
      whole ? ((100 * launches * (marginalUs ?? us)) / whole).toFixed(1) : '',
    ]
    return `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`
  }
  const rows = [...step.kernels, step.layers, step.step].filter((row) => row !== undefined)
  const run = step.step?.run
  const earlier = run ? ` (run of ${run.date.slice(0, 10)}${run.commit ? `, commit ${run.commit}` : ''})` : ''
  return `<details><summary>${escapeHtml(titleOf(step) + earlier)}</summary><div class="scroll"><table class="all">
<thead><tr>${columns.map((name) => `<th>${name}</th>`).join('')}</tr></thead>
<tbody>${rows.map(line).join('\n')}</tbody></table></div></details>`
}
