/**
 * Where the 16-byte halves of a matrix's rows lie, as offsets from the start of the shared window: two for each row of
 * `rows` rows from row `first` on. `descriptor` as the PTX manual lays it out, `window` the window's address.
 */
export function matrixChunks(descriptor: bigint, window: number, first: number, rows: number): number[] {
  const field = (bit: bigint): number => Number((descriptor >> bit) & 0x3fffn) * 16
  const swizzled = [0, 128, 64, 32][Number((descriptor >> 62n) & 3n)]!
  const start = (field(0n) - window) & 0x3ffff
  const chunks: number[] = []
  for (let row = first; row < first + rows; row++)
    for (const half of [0, 1]) {
      const group = start + (row >> 3) * field(32n)
      if (!swizzled) {
        chunks.push(group + (row & 7) * 16 + half * field(16n))
        continue
      }
      // The window begins at a multiple of every pattern, so offsets swizzle as addresses do.
      const linear = group + (row & 7) * swizzled + half * 16
      chunks.push(linear ^ ((linear >> 3) & (swizzled - 16)))
    }
  return chunks
}
