import { escapeHtml } from '../../cli/tune/report/html.ts'
import { lineChart, logTicks } from '../gemm/line-chart.ts'
import { pageStyle } from '../gemm/page-style.ts'
import type { ResultHeader, Row } from '../results.ts'

const colors = ['var(--series-1)', 'var(--series-3)', 'var(--series-2)']
const parts = ['median', '90 %', '99 %'] as const
const measures = {
  'TTFT ms': 'Milliseconds from when a request should have been sent to its first token',
  'TPOT ms': 'Milliseconds from token to token after the first',
  'E2E ms': 'Milliseconds from when a request should have been sent to its last token',
}

/** Latencies at rates of requests as one page of HTML that needs nothing else. */
export function serveLatencyPage(header: ResultHeader, rows: readonly Row[]): string {
  const rates = rows.map(({ rate }) => Number(rate))
  const figures = Object.entries(measures).map(([measure, title]) => {
    const lines = parts.map((part, i) => ({
      name: part,
      color: colors[i]!,
      points: rows.flatMap((row): [number, number][] => {
        const value = row[`${measure}, ${part}`]
        return typeof value === 'number' ? [[Number(row.rate), value]] : []
      }),
    }))
    const values = lines
      .flatMap(({ points }) => points.map(([, value]) => value))
      .filter((value) => value > 0)
    if (values.length === 0) return ''
    const chart = lineChart(lines, {
      title,
      x: rates,
      xTitle: 'requests a second',
      y: { scale: 'log', ticks: logTicks(values), text: (value) => String(Number(value.toPrecision(3))) },
    })
    return `<figure><figcaption>${escapeHtml(title)}</figcaption>${chart}</figure>`
  })
  const names = Object.keys(rows[0] ?? {})
  const cell = (value: Row[string] | undefined) =>
    typeof value === 'number' ? String(Number(value.toPrecision(4))) : escapeHtml(String(value ?? ''))
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Latency under load on ${escapeHtml(header.device)}</title>
<style>${pageStyle}</style>
<body>
<main>
<h1>Latency under load on ${escapeHtml(header.device)}</h1>
<p class="facts">${escapeHtml([header.date.slice(0, 10), header.commit && `commit ${header.commit}`, header.command].filter(Boolean).join(' · '))}</p>
<p>Requests come at random moments at a rate, whether the server keeps up or not.</p>
${figures.join('\n')}
<h2>All figures</h2>
<div class="scroll"><table class="all"><tr>${names.map((name) => `<th>${escapeHtml(name)}</th>`).join('')}</tr>
${rows.map((row) => `<tr>${names.map((name) => `<td>${cell(row[name])}</td>`).join('')}</tr>`).join('\n')}</table></div>
</main>
</body>
</html>
`
}
