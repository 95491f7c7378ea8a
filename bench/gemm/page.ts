import { escapeHtml } from '../../cli/tune/report/html.ts'
import type { ResultHeader } from '../results.ts'
import { earlierMark, heatCard } from './heat-map.ts'
import { cellsOf, formatsOf, layerOf, type Shape, shapeName, shapesOf, tokensOf } from './layers.ts'
import { type Line, lineChart, logTicks } from './line-chart.ts'
import { pageStyle } from './page-style.ts'
import { layerBest, type Rival, rivals, rivalsOf } from './rivals.ts'
import type { GemmRow, RivalRow } from './rows.ts'

/** A colour a format, by where it comes; those of the rivals are greys. */
const colors = Array.from({ length: 8 }, (_, i) => `var(--series-${i + 1})`)

/** What the page shows. */
interface Results {
  readonly header: ResultHeader
  readonly rows: readonly GemmRow[]
  readonly rivals: readonly RivalRow[]
  readonly formats: readonly string[]
  readonly shapes: readonly Shape[]
  readonly tokens: readonly number[]
  /** Whether a row comes from a run before the file's last one. */
  isEarlier(row: GemmRow): boolean
}

/** The results as one page of HTML that needs nothing else. */
export function gemmPage(
  header: ResultHeader,
  rows: readonly GemmRow[],
  rivalRows: readonly RivalRow[],
): string {
  const results: Results = {
    header,
    rows,
    rivals: rivalRows,
    formats: formatsOf(rows),
    shapes: shapesOf(rows),
    tokens: tokensOf(rows),
    isEarlier: ({ run }) => run !== undefined && run.date !== header.date,
  }
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Quantized matrix products on ${escapeHtml(header.device)}</title>
<style>${pageStyle}</style>
<body>
<main>
${headSection(results)}
${timeSection(results)}
${shareSection(results)}
<section><h2>Product by product</h2>
<p>Features × columns by tokens. Left: share of the floor in percent, plain launches. Right: how many times as fast as the
closest rival, both launched alike and in the better of the two ways.</p>
<div class="cards">${results.formats.map((format) => heatCard(format, results)).join('\n')}</div></section>
${tableSection(results)}
</main>
</body>
</html>
`
}

/** The lowest and the highest clock that was seen. */
function clocksText({ smClockMHz, smClockMHzAfter = {} }: Results['header']): string {
  const clocks = [smClockMHz, ...Object.values(smClockMHzAfter)].filter((clock) => clock !== null)
  const [low, high] = [Math.min(...clocks), Math.max(...clocks)]
  return clocks.length === 0 ? '' : low === high ? `${low} MHz` : `${low} to ${high} MHz`
}

/** Which runs rows come from that are not of the last one, or nothing where all are. */
function earlierText({ rows, isEarlier }: Results): string {
  const counts = new Map<string, number>()
  for (const row of rows.filter(isEarlier)) {
    const name = runText(row.run!)
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  if (counts.size === 0) return ''
  const runs = [...counts].map(([name, count]) => `${count} of ${escapeHtml(name)}`)
  return `<p>${earlierMark} marks rows of earlier runs: ${runs.join('; ')}.</p>`
}

const runText = ({ date, commit }: NonNullable<GemmRow['run']>): string =>
  `${date.slice(0, 16).replace('T', ' ')} UTC${commit ? `, commit ${commit}` : ''}`

function headSection(results: Results): string {
  const { header, rows, rivals: others, formats, shapes, tokens, isEarlier } = results
  const facts = [
    header.date.slice(0, 10),
    header.commit && `commit ${header.commit}`,
    header.driver && `driver ${header.driver}`,
    clocksText(header),
  ].filter(Boolean)
  const format = formats[0]
  const tiles = tokens.flatMap((count) => {
    const layer = format === undefined ? null : layerOf(rows, format, shapes, count)
    if (!layer || !format) return []
    const cells = cellsOf(shapes, count)
    const ratios = rivalsOf(format).flatMap((rival) => {
      const best = layerBest(rival, cells, others)
      return best
        ? [`<li><b>${(best.usChained / layer.usChained).toFixed(2)}×</b> ${escapeHtml(rival.name)}</li>`]
        : []
    })
    const mark = rows.some((row) => row.format === format && row.tokens === count && isEarlier(row))
      ? earlierMark
      : ''
    return [
      `<div class="tile"><div class="label">${count} ${count === 1 ? 'token' : 'tokens'}${mark}</div>` +
        `<div class="value">${micros(layer.usChained)}</div><ul>${ratios.join('')}</ul></div>`,
    ]
  })
  const sums =
    shapes.length > 1
      ? `the ${shapes.length} products of a layer (${shapes.map(shapeName).join(', ')})`
      : 'the product'
  return `<header><h1>Quantized matrix products on ${escapeHtml(header.device)}</h1>
<p class="facts">${escapeHtml(facts.join(' · '))}</p>
<p>Medians of replays of CUDA graphs, weights rotating through memory that no cache holds, so that the gap between two
launches counts and the host does not. <b>Chained</b> launches begin before their predecessor has ended
(programmatic dependent launch).</p>${earlierText(results)}</header>
<section><h2>${escapeHtml(format ?? '')}: ${escapeHtml(sums)}, chained</h2><div class="tiles">${tiles.join('')}</div></section>`
}

function timeSection(results: Results): string {
  const { rows, formats, shapes, tokens } = results
  const chart = (chained: boolean): string => {
    const own = formats.map(
      (format, i): Line => ({
        name: format,
        color: colors[i % colors.length]!,
        points: tokens.flatMap((count) => {
          const layer = layerOf(rows, format, shapes, count)
          return layer ? [[count, chained ? layer.usChained : layer.us] as const] : []
        }),
      }),
    )
    const lines = [...own, ...rivalLines(results, chained)]
    const values = lines.flatMap(({ points }) => points.map(([, y]) => y))
    if (values.length === 0) return ''
    return lineChart(lines, {
      title: `Microseconds of a layer against tokens, ${chained ? 'chained' : 'plain'} launches`,
      x: tokens,
      xTitle: 'tokens',
      y: { scale: 'log', ticks: logTicks(values), text: micros },
    })
  }
  return `<section><h2>Time of a layer</h2>
<p>Sum over its products, both axes logarithmic. Dashed: other kernels.</p>
<input type="radio" name="launch" id="plain" checked><label for="plain">plain</label>
<input type="radio" name="launch" id="chained"><label for="chained">chained</label>
<figure class="plain">${chart(false)}</figure><figure class="chained">${chart(true)}</figure></section>`
}

/** The rivals that computed every product of a layer. */
function rivalLines({ rivals: rows, shapes, tokens }: Results, chained: boolean): Line[] {
  return Object.values(rivals).flatMap((rival: Rival): Line[] => {
    const points = tokens.flatMap((count) => {
      const best = layerBest(rival, cellsOf(shapes, count), rows)
      return best ? [[count, chained ? best.usChained : best.us] as const] : []
    })
    return points.length > 0 ? [{ name: rival.name, color: 'var(--rival)', dashed: true, points }] : []
  })
}

function shareSection(results: Results): string {
  const isNarrow = (format: string) => format.startsWith('w4')
  const charts = [true, false].flatMap((narrow) => {
    const lines = shareLines(results, (format) => isNarrow(format) === narrow)
    if (lines.every(({ points }) => points.length === 0)) return []
    const name = narrow ? '4-bit weights' : '8- and 16-bit weights'
    const chart = lineChart(lines, {
      title: `Share of the floor against tokens, ${name}`,
      x: results.tokens,
      xTitle: 'tokens',
      y: { scale: 'linear', ticks: [0, 20, 40, 60, 80, 100], text: (value) => `${Math.round(value)} %` },
    })
    return [`<figure><figcaption>${name}</figcaption>${chart}</figure>`]
  })
  if (charts.length === 0) return ''
  return `<section><h2>Share of what the GPU could do</h2>
<p>The least that the layer can take, the longer of moving all bytes once and multiplying at the full rate, by its time
with plain launches.</p>${charts.join('')}</section>`
}

function shareLines(results: Results, includes: (format: string) => boolean): Line[] {
  const { rows, formats, shapes, tokens } = results
  const shares = (format: string, time: (count: number) => number | undefined) =>
    tokens.flatMap((count) => {
      const [us, floor] = [time(count), layerOf(rows, format, shapes, count)?.floorUs]
      return us && floor ? [[count, (100 * floor) / us] as const] : []
    })
  const own = formats.map(
    (format, i): Line => ({
      name: format,
      color: colors[i % colors.length]!,
      points: includes(format) ? shares(format, (count) => layerOf(rows, format, shapes, count)?.us) : [],
    }),
  )
  const others = Object.values(rivals).map(
    (rival: Rival): Line => ({
      name: rival.name,
      color: 'var(--rival)',
      dashed: true,
      points: includes(rival.counterpart)
        ? shares(rival.counterpart, (count) => layerBest(rival, cellsOf(shapes, count), results.rivals)?.us)
        : [],
    }),
  )
  return [...own, ...others]
}

function tableSection({ rows, isEarlier }: Results): string {
  const head = [
    'format',
    'shape',
    'tokens',
    'µs',
    'chained',
    'TB/s',
    'TOPS',
    'floor µs',
    'registers',
    'tile',
    'run',
  ]
  const lines = rows.map(
    ({ format, tokens, us, usChained, tbPerS, tops, floorUs, registers, config, ...row }, i) =>
      [
        escapeHtml(format),
        shapeName(row),
        tokens,
        us?.toFixed(2) ?? escapeHtml(row.error ?? ''),
        usChained?.toFixed(2) ?? '',
        tbPerS?.toFixed(2) ?? '',
        tops?.toFixed(0) ?? '',
        floorUs?.toFixed(2) ?? '',
        registers ?? '',
        `<code>${escapeHtml(configText(config))}</code>`,
        isEarlier(rows[i]!) ? `${earlierMark} ${escapeHtml(runText(row.run!))}` : '',
      ]
        .map((cell) => `<td>${cell}</td>`)
        .join(''),
  )
  return `<section><details><summary>All ${rows.length} rows</summary><div class="scroll"><table class="all">
<thead><tr>${head.map((name) => `<th>${name}</th>`).join('')}</tr></thead>
<tbody>${lines.map((line) => `<tr>${line}</tr>`).join('\n')}</tbody></table></div></details></section>`
}

const configText = (config: Readonly<Record<string, unknown>>): string =>
  Object.entries(config)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')

/** `5.1 µs`, `38 µs`, `1.08 ms`. */
export function micros(us: number): string {
  if (us >= 1000) return `${Number((us / 1000).toPrecision(3))} ms`
  return `${Number(us.toPrecision(us < 10 ? 2 : 3))} µs`
}
