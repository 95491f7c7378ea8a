import type { Config } from '../../../codegen/program.ts'
import { canonicalJson } from '../../../runtime/canonical-json.ts'
import { dimsKey, type TuneRecord } from '../../../runtime/tune/records.ts'
import type { FormatResult } from '../gemm.ts'
import { escapeHtml, short } from './html.ts'

/** Registers, spills and shared memory of the configurations, those that win most first. */
export function programTable(records: readonly TuneRecord[], failures: FormatResult['failures']): string {
  const best = new Map<string, TuneRecord>()
  for (const record of records) {
    const other = best.get(dimsKey(record.key))
    if (!other || record.us < other.us) best.set(dimsKey(record.key), record)
  }
  const rows = new Map<string, { record: TuneRecord; wins: number; close: number; measured: number }>()
  for (const record of records) {
    const name = canonicalJson(record.config)
    const row = rows.get(name) ?? { record, wins: 0, close: 0, measured: 0 }
    const winner = best.get(dimsKey(record.key))!
    row.measured++
    if (winner === record) row.wins++
    if (record.us <= 1.03 * winner.us) row.close++
    rows.set(name, row)
  }
  const sorted = [...rows.values()].sort((a, b) => b.wins - a.wins || b.close - a.close)
  const axes = axesOf(sorted.map(({ record }) => record.config))
  const head = ['best at', 'within 3 %', 'measured at', 'registers', 'spills', 'shared memory', ...axes]
  const body = sorted.map(({ record, wins, close, measured }) => {
    const cells = [
      wins > 0 ? `<b>${wins}</b>` : '0',
      String(close),
      String(measured),
      record.registers === null ? '–' : String(record.registers),
      record.spills === null ? '–' : record.spills === 0 ? '0' : `<b class="slower">${record.spills} B</b>`,
      `${short(record.shared / 1024)} KiB`,
      ...axes.map((axis) => escapeHtml(String(record.config[axis] ?? '–'))),
    ]
    return { wins, html: `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>` }
  })
  const table = (rows: typeof body) =>
    `<div class="scroll"><table class="all"><thead><tr>${head.map((name) => `<th>${escapeHtml(name)}</th>`).join('')}</tr></thead>` +
    `<tbody>${rows.map(({ html }) => html).join('')}</tbody></table></div>`
  const others = body.filter(({ wins }) => wins === 0)
  const rest =
    others.length > 0
      ? `<details><summary>${others.length} more, which win nowhere</summary>${table(others)}</details>`
      : ''
  return `${table(body.filter(({ wins }) => wins > 0))}${rest}${failureTable(failures)}`
}

function failureTable(failures: FormatResult['failures']): string {
  if (failures.length === 0) return ''
  const rows = failures.map(
    ({ config, failure, reason, key }) =>
      `<tr><td>${failure}</td><td>${key ? escapeHtml(dimsKey(key)) : 'everywhere'}</td>` +
      `<td><code>${escapeHtml(JSON.stringify(config))}</code></td><td>${escapeHtml(reason)}</td></tr>`,
  )
  return (
    `<details><summary>${failures.length} configurations failed</summary><div class="scroll"><table class="all">` +
    `<thead><tr><th>how</th><th>at</th><th>configuration</th><th>reason</th></tr></thead>` +
    `<tbody>${rows.join('')}</tbody></table></div></details>`
  )
}

/** The axes on which configurations differ. */
function axesOf(configs: readonly Config[]): string[] {
  const names = new Set(configs.flatMap((config) => Object.keys(config)))
  return [...names].filter((name) => new Set(configs.map((config) => config[name])).size > 1)
}
