import { columnMultiple } from '../../dsl/format.ts'

/**
 * Packing by whole words: an A fragment is made of 32-bit words of consecutive columns, so a row's words only move.
 * (Asking the layout for each code gives the same, which a test checks, a hundred times slower.)
 */

/** Words of a k-step in a row: 32 bytes. */
const STEP_WORDS = 8
const LANE_WORDS = 4
const STRIP_ROWS = 16

/** Copies each word between row-major [rows, rowWords] and fragment order, calling `move(ordered, rowMajor)`. */
function eachWord(rows: number, rowWords: number, move: (ordered: number, rowMajor: number) => void): void {
  const steps = rowWords / STEP_WORDS
  for (let row = 0; row < rows; row++) {
    const strip = Math.floor(row / STRIP_ROWS)
    const group = row % 8
    const lower = (row % STRIP_ROWS) >> 3
    for (let step = 0; step < steps; step++) {
      const ordered = ((strip * steps + step) * 32 + group * 4) * LANE_WORDS + lower
      const rowMajor = row * rowWords + step * STEP_WORDS
      for (let half = 0; half < 2; half++) {
        for (let t = 0; t < 4; t++) {
          move(ordered + t * LANE_WORDS + 2 * half, rowMajor + 4 * half + t)
        }
      }
    }
  }
}

/** Words of a row-major matrix in the order of `fragmentOrder`, padded with zero rows to whole strips. */
export function orderWords(src: Uint32Array, rows: number, rowWords: number): Uint32Array {
  const dst = new Uint32Array(Math.ceil(rows / STRIP_ROWS) * STRIP_ROWS * rowWords)
  eachWord(rows, rowWords, (ordered, rowMajor) => {
    dst[ordered] = src[rowMajor]!
  })
  return dst
}

/** The inverse of `orderWords`. */
export function unorderWords(src: Uint32Array, rows: number, rowWords: number): Uint32Array {
  const dst = new Uint32Array(rows * rowWords)
  eachWord(rows, rowWords, (ordered, rowMajor) => {
    dst[rowMajor] = src[ordered]!
  })
  return dst
}

/** The memory of an array as words, copied where it does not start at a multiple of 4 bytes. */
export function wordsOf(src: ArrayBufferView): Uint32Array {
  if (src.byteOffset % 4 === 0) return new Uint32Array(src.buffer, src.byteOffset, src.byteLength / 4)
  return new Uint32Array(new Uint8Array(src.buffer, src.byteOffset, src.byteLength).slice().buffer)
}

/** Refuses a matrix that a format cannot pack. */
export function checkMatrix(
  format: { readonly name: string; readonly columns: number; readonly group: number },
  length: number,
  N: number,
  K: number,
): void {
  const multiple = columnMultiple(format)
  if (!(K > 0 && K % multiple === 0)) {
    throw new RangeError(
      `format ${format.name} packs rows of a multiple of ${multiple} columns, and these have ${K}: pad the columns ` +
        'with codes of weight 0, or keep this matrix in another format',
    )
  }
  if (length !== N * K) {
    throw new RangeError(`format ${format.name} expects ${N} × ${K} = ${N * K} codes, got ${length}`)
  }
}
