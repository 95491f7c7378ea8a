import { tableText } from '../cli/table.ts'
import type { Row } from './results.ts'

/** Rows as text under their names: numbers right-aligned, each with at most `digits` decimals. */
export function table(rows: readonly Row[], digits = 2): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const cells = rows.map((row) => names.map((name) => row[name]))
  return tableText(names, cells, digits)
}
