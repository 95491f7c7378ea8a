import { reportStyle } from '../report-style.ts'
import { escapeHtml } from '../tune/report/html.ts'
import { type ComparedModel, compareHead, compareRows } from './compared.ts'

const style = `
td, th { padding: 2px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left; }
.scroll { overflow-x: auto; }
.card { padding: 8px; margin: 12px 0; }
`

/** A page that needs nothing else: the table of a comparison, and perplexity and divergence against size. */
export function compareReport(
  models: readonly ComparedModel[],
  facts: { readonly text: string; readonly window: number; readonly tokens: number; readonly device: string },
): string {
  const line = (tag: string, cells: readonly string[]): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`
  const title = `${models.length} models on ${facts.text}`
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title><style>${reportStyle}${style}</style></head><body><main>
<h1>${escapeHtml(title)}</h1>
<p class="facts">${facts.tokens} tokens · windows of ${facts.window} · ${escapeHtml(facts.device)}</p>
<div class="scroll"><table>${line('th', compareHead)}${compareRows(models)
    .map((row) => line('td', row))
    .join('')}</table></div>
<h2>Perplexity against size</h2>
${scatter(models, 'perplexity', (each) => each.perplexity)}
<h2>Divergence from the first model against size</h2>
${scatter(models, 'nats', (each) => each.divergence)}
</main></body></html>
`
}

/** Each model by the bytes of its weights, and what was measured. */
function scatter(
  models: readonly ComparedModel[],
  unit: string,
  of: (model: ComparedModel) => number,
): string {
  const [width, height, left, bottom] = [900, 260, 60, 34]
  const sizes = models.map(({ weightBytes }) => weightBytes / 2 ** 20)
  const values = models.map(of)
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const room = (high - low || Math.abs(high) || 1) * 0.1
  const widest = Math.max(...sizes) * 1.1
  const x = (size: number): number => left + ((width - left - 200) * size) / widest
  const y = (value: number): number =>
    height - bottom - ((height - bottom - 14) * (value - low + room)) / (high - low + 2 * room)
  const ticks = [low, (low + high) / 2, high].map(
    (value) =>
      `<line class="grid" x1="${left}" x2="${width - 10}" y1="${y(value)}" y2="${y(value)}"/>` +
      `<text class="tick" x="${left - 6}" y="${y(value) + 4}" text-anchor="end">${value.toPrecision(4)}</text>`,
  )
  const points = models.map(({ model }, i) => {
    const color = `var(--series-${(i % 8) + 1})`
    const [cx, cy] = [x(sizes[i]!), y(values[i]!)]
    return `<circle cx="${cx}" cy="${cy}" r="5" fill="${color}"><title>${escapeHtml(model)}: ${values[i]!.toPrecision(5)} ${unit}</title></circle><text x="${cx + 9}" y="${cy + 4}" fill="${color}">${escapeHtml(model)}</text>`
  })
  return `<div class="card"><svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${unit} against size">${ticks.join('')}${points.join('')}<text class="tick" x="${width / 2}" y="${height - 8}" text-anchor="middle">MiB of weights, from 0 to ${widest.toPrecision(3)}; up: ${unit}</text></svg></div>`
}
