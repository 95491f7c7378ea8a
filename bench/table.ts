import type { Row } from './results.ts'

/** Rows as text under their names: numbers right-aligned, each with at most `digits` decimals. */
export function table(rows: readonly Row[], digits = 2): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const text = (value: Row[string] | undefined): string => {
    if (value === undefined || value === null) return ''
    if (typeof value !== 'number') return String(value)
    return Number.isInteger(value) ? String(value) : value.toFixed(digits)
  }
  const columns = names.map((name) => {
    const cells = [name, ...rows.map((row) => text(row[name]))]
    const width = Math.max(...cells.map((cell) => cell.length))
    const numeric = rows.some((row) => typeof row[name] === 'number')
    return cells.map((cell) => (numeric ? cell.padStart(width) : cell.padEnd(width)))
  })
  return [names, ...rows]
    .map((_, i) =>
      columns
        .map((cells) => cells[i])
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
