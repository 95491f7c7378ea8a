/** What a table may hold; nothing is drawn as an empty cell. */
export type TableCell = string | number | boolean | null | undefined

/**
 * Rows as text in columns, those with numbers to the right.
 *
 * @param digits decimals of numbers that are no integers; all of them unless given.
 */
export function tableText(
  head: readonly string[],
  rows: readonly (readonly TableCell[])[],
  digits?: number,
): string {
  const text = (cell: TableCell): string =>
    typeof cell === 'number' && !Number.isInteger(cell) && digits !== undefined
      ? cell.toFixed(digits)
      : String(cell ?? '')
  const columns = head.map((name, column) => {
    const cells = [name, ...rows.map((row) => text(row[column]))]
    const width = Math.max(...cells.map((cell) => cell.length))
    const isNumber = rows.some((row) => typeof row[column] === 'number')
    return cells.map((cell) => (isNumber ? cell.padStart(width) : cell.padEnd(width)))
  })
  return [head, ...rows]
    .map((_, i) =>
      columns
        .map((cells) => cells[i])
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
