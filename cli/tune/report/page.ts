import { targets } from '../../../codegen/target.ts'
import { gemmSpace } from '../../../kernels/gemm/space.ts'
import { ceilings } from '../../../runtime/tune/roofline.ts'
import { median } from '../../../runtime/tune/statistics.ts'
import type { FormatResult } from '../gemm.ts'
import type { Rival } from '../rivals.ts'
import { type WinnerRow, winnersOf } from '../winners.ts'
import { heatMap } from './heat-map.ts'
import { escapeHtml, short } from './html.ts'
import { programTable } from './programs.ts'
import { rooflinePlot } from './roofline.ts'
import { shapeCharts } from './shapes.ts'
import { pageScript, pageStyle } from './style.ts'

/** What tuning has found, as one page of HTML that needs nothing else. */
export function reportHtml(results: readonly FormatResult[], rivals: readonly Rival[]): string {
  const { device, records } = results[0]!
  const [{ driver, clocks, date } = {}] = [...records].sort((a, b) => (a.date < b.date ? 1 : -1))
  const facts = [
    driver ? `driver ${driver}` : '',
    clocks ? `${clocks.sm} MHz, memory ${clocks.memory} MHz` : '',
    (date ?? new Date().toISOString()).slice(0, 10),
  ]
  const tabs = results.map(
    ({ format }, i) =>
      `<button type="button" data-tab="${i}" aria-pressed="${i === 0}">${escapeHtml(format)}</button>`,
  )
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tuned matrix products on ${escapeHtml(device.description)}</title>
<style>${pageStyle}</style>
<body>
<main>
<h1>Tuned matrix products on ${escapeHtml(device.description)}</h1>
<p class="facts">${facts.filter(Boolean).map(escapeHtml).join(' · ')}</p>
${results.length > 1 ? `<nav>${tabs.join('')}</nav>` : ''}
${results.map((result, i) => `<section data-format="${i}"${i > 0 ? ' hidden' : ''}>${formatSection(result, rivals)}</section>`).join('\n')}
</main>
${results.length > 1 ? `<script>${pageScript}</script>` : ''}
</body>
</html>
`
}

function formatSection(result: FormatResult, rivals: readonly Rival[]): string {
  const { format, records, device, status, failures } = result
  const winners = winnersOf(records)
  if (winners.length === 0) return '<p>No configuration could be measured.</p>'
  const ceiling = ceilings[device.slug]
  const estimated =
    status === 'unmeasured'
      ? '<p class="warning">These are no measurements: without a GPU, times are estimated from what the emulator counts.</p>'
      : ''
  return `${estimated}${tiles(result, winners, rivals)}
<h2>Roofline</h2>
<p>Each dot is the fastest configuration of a product for a number of tokens. ${ceiling ? 'The line is what memory and matrix units allow.' : 'The ceilings of this GPU are not known.'}</p>
<figure>${rooflinePlot(winners, format, ceiling)}</figure>
<h2>What matters</h2>
<p>How many times as slow as the shape’s best, on average over all shapes, by the two axes that explain most of the
differences. ★ counts the shapes at which such a configuration is the best.</p>
<div class="card">${heatMap(records)}</div>
<h2>Product by product</h2>
<p>Features × columns. Both axes are logarithmic.</p>
${shapeCharts(winners, format, rivals, ceiling)}
<h2>Configurations</h2>
<div class="card">${programTable(records, failures)}</div>
<h2>What was not tried</h2>
<p>Rules of the tuning space, and how many configurations each has left out, whatever the shape.</p>
<div class="card">${pruningTable(result)}</div>`
}

/** The findings in a few numbers. */
function tiles(
  { records, programs, seconds }: FormatResult,
  winners: readonly WinnerRow[],
  rivals: readonly Rival[],
): string {
  const shares = winners.flatMap(({ ofCeiling }) => ofCeiling ?? [])
  const ratios = winners.flatMap(({ N, K, M, us }) => {
    const same = rivals.filter((rival) => rival.N === N && rival.K === K && rival.M === M)
    return same.length > 0 ? [Math.min(...same.map((rival) => rival.us)) / us] : []
  })
  const list: [label: string, value: string][] = [
    ['shapes', String(winners.length)],
    ['programs', String(programs)],
    ['times taken', String(records.length)],
    ['tuned in', `${short(seconds)} s`],
    ['most TOP/s', short(Math.max(...winners.map((row) => row.teraopsPerSecond)))],
    ['most TB/s', short(Math.max(...winners.map((row) => row.terabytesPerSecond)))],
  ]
  if (shares.length > 0) list.push(['of the ceiling', `${Math.round(100 * median(shares))} %`])
  if (ratios.length > 0) list.push(['speed of rivals', `${short(median(ratios))}×`])
  return `<div class="tiles">${list
    .map(
      ([label, value]) =>
        `<div class="tile"><div class="label">${label}</div><div class="value">${value}</div></div>`,
    )
    .join('')}</div>`
}

function pruningTable({ format, device }: FormatResult): string {
  const target = targets[device.target as keyof typeof targets]
  const { all, removed } = gemmSpace(format).pruned(target)
  const rows = removed
    .filter(({ count }) => count > 0)
    .map(({ why, count }) => `<tr><td>${escapeHtml(why)}</td><td>${count}</td></tr>`)
  const left = all - removed.reduce((sum, { count }) => sum + count, 0)
  return (
    `<table class="all"><thead><tr><th>rule</th><th>left out</th></tr></thead><tbody>${rows.join('')}` +
    `<tr><td><b>tried</b></td><td><b>${left}</b> of ${all}</td></tr></tbody></table>`
  )
}
