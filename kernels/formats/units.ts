import {
  columnMultiple,
  packedShape,
  unitColumns,
  unitGroups,
  unitRows,
  unitWords,
  type WeightFormat,
} from '../../dsl/format.ts'

/**
 * Packing by whole words: an A register is made of 32-bit words of consecutive columns, so a row's words only move, and
 * join where a code has fewer bits than an operand. (Asking the layout for each code gives the same, which a test checks,
 * a hundred times slower.)
 */

type Shape = Pick<WeightFormat, 'name' | 'bits' | 'loads' | 'steps' | 'group' | 'groupWords'>

/** Words of a row in a k-step: 32 bytes. */
const STEP_WORDS = 8
const LOAD_WORDS = 512

/** Refuses a matrix that a format cannot pack. */
export function checkMatrix(format: Shape, codes: number, N: number, K: number): void {
  const multiple = columnMultiple(format)
  if (!(K > 0 && K % multiple === 0))
    throw new RangeError(
      `format ${format.name} packs rows of a multiple of ${multiple} columns, and these have ${K}: pad the weights and ` +
        'the activations with columns of 0, or keep this matrix in another format',
    )
  if (codes !== N * K)
    throw new RangeError(`format ${format.name} expects ${N} × ${K} = ${N * K} codes, got ${codes}`)
}

/** Refuses parameters of another count than one for each group of each row. */
export function checkGroups(format: Shape, name: string, count: number, N: number, K: number): void {
  const expected = (N * K) / format.group
  if (count !== expected)
    throw new RangeError(
      `format ${format.name} expects ${N} × ${K / format.group} = ${expected} of ${name}, got ${count}`,
    )
}

/** The memory of an array as words, copied where it does not start at a multiple of 4 bytes. */
export function wordsOf(src: ArrayBufferView): Uint32Array {
  if (src.byteOffset % 4 === 0) return new Uint32Array(src.buffer, src.byteOffset, src.byteLength / 4)
  return new Uint32Array(new Uint8Array(src.buffer, src.byteOffset, src.byteLength).slice().buffer)
}

/** Writes the operand words of row `n`, `columns` long, into `dst`; or reads them back. */
type RowMove = (row: Uint32Array, n: number) => void

/**
 * Packs the codes of all rows into units. `read` writes a row's *operand words* into its argument: the words of the A
 * operand if each element held its code, `STEP_WORDS` to a k-step, which has the whole units' length and comes as zeros
 * past K. Codes of fewer bits than an element join from the k-steps of a load, the first lowest.
 */
export function packUnits(format: Shape, N: number, K: number, read: RowMove): Uint32Array {
  const { bits, loads, steps } = format
  const [strips, units] = packedShape(format, N, K)
  const words = unitWords(format)
  const joined = steps / loads
  const dst = new Uint32Array(strips * units * words)
  const row = new Uint32Array(units * steps * STEP_WORDS)
  for (let n = 0; n < N; n++) {
    read(row, n)
    let to = rowStart(n, units * words)
    let from = 0
    for (let unit = 0; unit < units; unit++, to += words) {
      for (let load = 0; load < loads; load++, from += joined * STEP_WORDS) {
        const first = to + load * LOAD_WORDS
        for (let i = 0; i < STEP_WORDS; i++) {
          let word = row[from + i]!
          for (let s = 1; s < joined; s++) word |= row[from + s * STEP_WORDS + i]! << (s * bits)
          dst[first + (i & 3) * 4 + (i >> 2) * 2] = word
        }
      }
    }
  }
  return dst
}

/** The inverse of `packUnits`: calls `write` with the operand words of each row; `mask` keeps those of one k-step. */
export function unpackUnits(
  format: Shape,
  src: Uint32Array,
  N: number,
  K: number,
  mask: number,
  write: RowMove,
): void {
  const { bits, loads, steps } = format
  const [, units] = packedShape(format, N, K)
  const words = unitWords(format)
  const joined = steps / loads
  const row = new Uint32Array(units * steps * STEP_WORDS)
  for (let n = 0; n < N; n++) {
    let from = rowStart(n, units * words)
    let to = 0
    for (let unit = 0; unit < units; unit++, from += words) {
      for (let load = 0; load < loads; load++, to += joined * STEP_WORDS) {
        const first = from + load * LOAD_WORDS
        for (let i = 0; i < STEP_WORDS; i++) {
          const word = src[first + (i & 3) * 4 + (i >> 2) * 2]!
          for (let s = 0; s < joined; s++) row[to + s * STEP_WORDS + i] = (word >>> (s * bits)) & mask
        }
      }
    }
    write(row, n)
  }
}

/** Packs codes that are operands as they are: a k-step to a load. */
export function packWhole(
  format: Shape,
  codes: ArrayBufferView & { length: number },
  N: number,
  K: number,
): Uint32Array {
  checkMatrix(format, codes.length, N, K)
  const words = wordsOf(codes)
  const rowWords = words.length / N
  return packUnits(format, N, K, (row, n) => row.set(words.subarray(n * rowWords, (n + 1) * rowWords)))
}

/** The inverse of `packWhole`. */
export function unpackWhole(format: Shape, words: Uint32Array, N: number, K: number): ArrayBuffer {
  const rowWords = (K * format.bits) / 32
  const codes = new Uint32Array(N * rowWords)
  unpackUnits(format, words, N, K, -1, (row, n) => codes.set(row.subarray(0, rowWords), n * rowWords))
  return codes.buffer
}

/** Where the first word of row `n` lies in its strip's first unit: that of lane 4 · (n % 8) of its warp, lower rows next. */
function rowStart(n: number, stripWords: number): number {
  const inWarp = n % 16
  const thread = ((n % unitRows) >> 4) * 32 + (inWarp & 7) * 4
  return Math.floor(n / unitRows) * stripWords + thread * 4 + (inWarp >> 3)
}

/** Calls `visit` for each group of each row with the word of its parameters in the units and whether the row is lower. */
export function eachGroup(
  format: Shape,
  N: number,
  K: number,
  visit: (word: number, lower: boolean, index: number) => void,
): void {
  const { group, groupWords, loads } = format
  const [, units] = packedShape(format, N, K)
  const words = unitWords(format)
  const perUnit = unitGroups(format)
  const groups = K / group
  for (let n = 0; n < N; n++) {
    const inWarp = n % 16
    const pair = ((n % unitRows) >> 4) * 8 + (inWarp & 7)
    const strip = Math.floor(n / unitRows) * units * words
    for (let g = 0; g < groups; g++) {
      const unit = strip + Math.floor((g * group) / unitColumns) * words
      visit(unit + loads * LOAD_WORDS + ((g % perUnit) * 32 + pair) * groupWords, inWarp >= 8, n * groups + g)
    }
  }
}
