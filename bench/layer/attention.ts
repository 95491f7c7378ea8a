import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { escapeHtml } from '../../cli/tune/report/html.ts'
import { packageRoot } from '../../runtime/package-root.ts'

/** A line of the results of `npm run bench:attention`, as far as the page shows it. */
const attentionRow = z.object({
  kernel: z.string(),
  kv: z.string(),
  batch: z.number(),
  context: z.number(),
  queries: z.number().default(1),
  even: z.boolean().default(true),
  us: z.number().nullable(),
  floorUs: z.number().nullable().default(null),
  tbPerS: z.number().nullable().default(null),
  tflops: z.number().nullable().default(null),
})

export type AttentionRow = z.infer<typeof attentionRow>

/** Attention as it was measured on a GPU; nothing where it was not, or where the file is of another version. */
export function readAttentionRows(gpu: string): AttentionRow[] {
  const path = join(packageRoot(), 'bench', 'results', gpu, 'attention.json')
  if (!existsSync(path)) return []
  const parsed = z.object({ rows: z.array(attentionRow) }).safeParse(JSON.parse(readFileSync(path, 'utf8')))
  return parsed.success ? parsed.data.rows : []
}

const columns = [
  'kernel',
  'cache',
  'sequences',
  'context',
  'queries',
  'µs',
  'floor µs',
  'floor %',
  'TB/s',
  'TFLOPS',
]

/** Attention by shape, each cell of the floor's share coloured by it; empty without rows. */
export function attentionSection(rows: readonly AttentionRow[]): string {
  const shown = rows.filter(({ us }) => us !== null)
  if (shown.length === 0) return ''
  const line = (row: AttentionRow): string => {
    const us = row.us!
    const share = row.floorUs === null ? null : row.floorUs / us
    const cells = [
      escapeHtml(row.kernel),
      escapeHtml(row.kv),
      row.batch,
      `${row.context}${row.even ? '' : ' uneven'}`,
      row.queries,
      us.toFixed(1),
      row.floorUs?.toFixed(1) ?? '',
      '',
      row.tbPerS?.toFixed(2) ?? '',
      row.tflops?.toFixed(0) ?? '',
    ].map((cell) => `<td>${cell}</td>`)
    if (share !== null)
      cells[7] = `<td class="share" style="--level:${Math.round(100 * share)}%">${Math.round(100 * share)}</td>`
    return `<tr>${cells.join('')}</tr>`
  }
  return `<section><h2>Attention</h2>
<p>Each launch alone, keys and values rotating through memory that no cache holds. The floor reads every key and value once.</p>
<div class="card"><div class="scroll"><table class="all heat-rows">
<thead><tr>${columns.map((name) => `<th>${name}</th>`).join('')}</tr></thead>
<tbody>${shown.map(line).join('\n')}</tbody></table></div></div></section>`
}
