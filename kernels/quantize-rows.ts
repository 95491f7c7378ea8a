import { E4M3_LARGEST, e4m3Bits } from '../dsl/float8.ts'
import { f16Bits, f16Value } from '../dsl/half.ts'
import {
  blockIdx,
  dp4a,
  type Elem,
  type e4m3,
  each,
  f16,
  f32,
  fma,
  type In,
  i8,
  i32,
  kernel,
  type Out,
  packFp8,
  permuteBytes,
  storeWords,
  threadIdx,
  u32,
  unroll,
} from '../dsl/index.ts'
import { roundHalfEven } from '../dsl/math.ts'
import {
  blockMax,
  blockMaxI32ByLanes,
  blockSum,
  blockSumI32ByLanes,
  columnOf,
  hasColumns,
  packBytes,
  pairwise,
  type RowShare,
  storeRow,
  turnsOf,
} from '../dsl/std/index.ts'
import { loadFloats, overlapLaunches, type RowConfig, rowOptions, rowShare } from './half-rows.ts'

/** Where quantized activations go: codes, one scale per row, and the exact sum of a row's codes. */
export interface QuantizedRows {
  readonly q: Out<i8, string>
  readonly scale: Out<f32, 'T'>
  readonly sum: Out<i32, 'T'>
}

/** Device: clamp(rni(value / scale), −127, 127). */
export const rowCode = (value: f32, scale: f32): i32 =>
  Math.max(Math.min(i32.round(value / scale), 127), -127)

/** `rowCode` on the host, of f32 values. */
export const rowCodeReference = (value: number, scale: number): number =>
  Math.max(-127, Math.min(127, roundHalfEven(Math.fround(value / scale))))

/** Rows whose largest magnitude is below this count as zeros: their scales would be no normal floats. */
const LEAST = 2 ** -100
/** Magnitudes beyond f32 count as the largest float, so that no scale is NaN. */
const MOST = 3.4e38

/** Added to a float below 2^22 it leaves the nearest even integer in the low bits, in two's complement. */
export const ROUNDING = 12582912

/** Device: what the values of a row are multiplied by before they are rounded to codes. */
export const inverseOf = (largest: f32): f32 => (largest >= LEAST ? 127 / largest : f32(1))

/** Device: the largest magnitude of a row, of the calling thread's share. Holds a barrier. */
export function largestMagnitude(values: readonly f32[]): f32 {
  const magnitudes = values.map((value) => Math.abs(value))
  // As integers the bits of floats that are not negative have the floats' order.
  const bits = i32.bits(pairwise(magnitudes, (a, b) => Math.max(a, b)))
  return Math.min(f32.bits(blockMaxI32ByLanes(bits)), MOST)
}

/**
 * Device: stores the codes of the calling thread's share of a row, symmetric, one scale per row:
 *
 *   scale = max|x| / 127 (1 for a row of zeros)      q = rni(x · (127 / max|x|))      sum = Σ q
 *
 * Returns the sum of the share's codes. The product of x is rounded once, to the integer.
 */
export function storeCodes(
  q: Out<i8, string>,
  row: i32,
  share: RowShare,
  values: readonly f32[],
  largest: f32,
): i32 {
  const inverse = inverseOf(largest)
  const sums: i32[] = []
  for (const turn of unroll(turnsOf(share))) {
    const words = each(share.vec / 4, (i) => {
      const [b0, b1, b2, b3] = values
        .slice(turn * share.vec + 4 * i, turn * share.vec + 4 * i + 4)
        .map((value) => i32.bits(fma(value, inverse, f32(ROUNDING))))
      return packBytes(b0!, b1!, b2!, b3!)
    })
    sums.push(words.reduce((sum: i32, word) => dp4a(word, u32(0x01010101), sum, 'i8', 'i8'), i32(0)))
    if (hasColumns(share, turn)) storeWords(q, [row, columnOf(share, turn)], words)
  }
  return sums.reduce((total, sum) => total + sum)
}

/** Device: the scale of a row, as `storeCodes` says, of values that lack a factor of the row. */
export const scaleOf = (largest: f32, factor: f32): f32 =>
  largest >= LEAST ? (largest * factor) / 127 : f32(1)

/**
 * Device: quantizes the calling thread's share of a row to 8 bits: `storeCodes`, scale and sum.
 *
 * The sum is of the codes, not of x: the GEMM's zero-point correction then cancels exactly what the products carry,
 * which cuts the error of activation quantization about threefold against summing x.
 */
export function storeQuantized(out: QuantizedRows, row: i32, share: RowShare, values: readonly f32[]): void {
  const largest = largestMagnitude(values)
  const sum = blockSumI32ByLanes(storeCodes(out.q, row, share, values, largest))
  if (threadIdx.x === 0) {
    out.scale.put(scaleOf(largest, f32(1)), row)
    out.sum.put(sum, row)
  }
}

export interface QuantizeRowsConfig extends RowConfig {
  /** Columns, a multiple of 8. */
  readonly H: number
}

/** Quantizes each row of a matrix to 8 bits. */
export const quantizeRows = kernel(
  import.meta.url,
  rowOptions((c: QuantizeRowsConfig) => c.H, 'quantized'),
  function quantizeRows(
    a: { x: In<Elem<'dtype'>, 'T H'>; q: Out<i8, 'T H'>; scale: Out<f32, 'T'>; sum: Out<i32, 'T'> },
    c: QuantizeRowsConfig,
  ) {
    const share = rowShare(c.H)
    overlapLaunches()
    storeQuantized(a, blockIdx.x, share, loadFloats(a.x, [blockIdx.x], share, c.dtype))
  },
)

/**
 * Quantizes each row of a matrix to 8 bits as QServe does, for checkpoints that were made with its correction of zero
 * points (`gemmW4A8Scaled`):
 *
 *   scale = f16(max|x| / 127)      q = clamp(rni(x · (127 / max|x|)), −127, 127)      inputSum = f16(Σ x)
 *
 * The sum is of x and not of its codes; what f16 cannot hold becomes ±65504. A row of zeros gets scale 1 and codes 0.
 */
export const quantizeRowsSumming = kernel(
  import.meta.url,
  rowOptions((c: QuantizeRowsConfig) => c.H, 'quantized'),
  function quantizeRowsSumming(
    a: { x: In<Elem<'dtype'>, 'T H'>; q: Out<i8, 'T H'>; scale: Out<f32, 'T'>; inputSum: Out<f32, 'T'> },
    c: QuantizeRowsConfig,
  ) {
    const share = rowShare(c.H)
    overlapLaunches()
    const row = blockIdx.x
    const values = loadFloats(a.x, [row], share, c.dtype)
    const largest = blockMax(values.map((value) => Math.abs(value)).reduce((m, value) => Math.max(m, value)))
    const inverse = largest > 0 ? 127 / largest : f32(1)
    const codes = values.map((value) => Math.max(Math.min(i32.round(value * inverse), 127), -127))
    storeRow(
      a.q,
      [row],
      share,
      codes.map((code) => i8.sat(code)),
    )
    const sum = blockSum(values.reduce((total, value) => total + value))
    if (threadIdx.x === 0) {
      a.scale.put(largest > 0 ? toF16(largest / 127) : f32(1), row)
      a.inputSum.put(toF16(sum), row)
    }
  },
)

/** The largest finite f16. */
const F16_LARGEST = 65504

/** Device: rounds to an f16, saturating. */
const toF16 = (value: f32): f32 => f32(f16(Math.max(Math.min(value, F16_LARGEST), -F16_LARGEST)))

/** Where rows quantized to 8-bit floats go: e4m3 codes and one scale per row. */
export interface Fp8Rows {
  readonly q: Out<e4m3, string>
  readonly scale: Out<f32, 'T'>
}

/**
 * Device: quantizes the calling thread's share of a row to e4m3, one scale per row:
 *
 *   scale = max|x| / 448 (1 for a row of zeros)      q = e4m3(x · (448 / max|x|)), to nearest even
 */
function storeFp8(out: Fp8Rows, row: i32, share: RowShare, values: readonly f32[]): void {
  const largest = largestMagnitude(values)
  const inverse = largest >= LEAST ? E4M3_LARGEST / largest : f32(1)
  const scaled = values.map((value) => value * inverse)
  for (const turn of unroll(turnsOf(share))) {
    const words = each(share.vec / 4, (i) => {
      const [b0, b1, b2, b3] = scaled.slice(turn * share.vec + 4 * i, turn * share.vec + 4 * i + 4)
      return permuteBytes(packFp8('e4m3', b0!, b1!), packFp8('e4m3', b2!, b3!), 0x5410)
    })
    if (hasColumns(share, turn)) storeWords(out.q, [row, columnOf(share, turn)], words)
  }
  if (threadIdx.x === 0) out.scale.put(largest >= LEAST ? largest / E4M3_LARGEST : f32(1), row)
}

/** Quantizes each row of a matrix to e4m3; from sm_89 on. */
export const quantizeRowsFp8 = kernel(
  import.meta.url,
  rowOptions((c: QuantizeRowsConfig) => c.H, 'quantized'),
  function quantizeRowsFp8(
    a: { x: In<Elem<'dtype'>, 'T H'>; q: Out<e4m3, 'T H'>; scale: Out<f32, 'T'> },
    c: QuantizeRowsConfig,
  ) {
    const share = rowShare(c.H)
    overlapLaunches()
    storeFp8(a, blockIdx.x, share, loadFloats(a.x, [blockIdx.x], share, c.dtype))
  },
)

/**
 * Quantizes rows of width `H` as `quantizeRowsSumming` does: codes and scales bit for bit, and sums within the rounding of
 * f32 additions and of f16.
 */
export function quantizeRowsSummingReference(
  x: Float64Array,
  H: number,
): { q: Int8Array; scale: Float32Array; inputSum: Float64Array } {
  const rows = x.length / H
  const q = new Int8Array(x.length)
  const scale = new Float32Array(rows)
  const inputSum = new Float64Array(rows)
  for (let row = 0; row < rows; row++) {
    const values = x.subarray(row * H, (row + 1) * H)
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    const inverse = largest > 0 ? Math.fround(127 / largest) : 1
    scale[row] = largest > 0 ? f16Value(f16Bits(Math.min(F16_LARGEST, largest / 127))) : 1
    const sum = values.reduce((total, value) => total + value, 0)
    inputSum[row] = Math.max(-F16_LARGEST, Math.min(F16_LARGEST, sum))
    values.forEach((value, i) => {
      q[row * H + i] = Math.max(-127, Math.min(127, roundHalfEven(Math.fround(value * inverse))))
    })
  }
  return { q, scale, inputSum }
}

/** Quantizes rows of width `H` to e4m3: what the kernel gives, with the same roundings. */
export function quantizeRowsFp8Reference(x: Float64Array, H: number): { q: Uint8Array; scale: Float32Array } {
  const scale = new Float32Array(x.length / H)
  const q = new Uint8Array(x.length)
  for (let row = 0; row < scale.length; row++) {
    let largest = 0
    for (let i = 0; i < H; i++) largest = Math.max(largest, Math.abs(x[row * H + i]!))
    const inverse = largest >= LEAST ? Math.fround(E4M3_LARGEST / largest) : 1
    scale[row] = largest >= LEAST ? largest / E4M3_LARGEST : 1
    for (let i = 0; i < H; i++) q[row * H + i] = e4m3Bits(Math.fround(x[row * H + i]! * inverse))
  }
  return { q, scale }
}

/**
 * Quantizes rows of width `H`, bit for bit as the kernel. `factors` are what the scales of rows are multiplied by, for
 * values that lack a factor of their row.
 */
export function quantizeRowsReference(
  x: Float64Array,
  H: number,
  factors?: ArrayLike<number>,
): { q: Int8Array; scale: Float32Array; sum: Int32Array } {
  const { fround } = Math
  const rows = x.length / H
  const q = new Int8Array(x.length)
  const scale = new Float32Array(rows)
  const sum = new Int32Array(rows)
  for (let row = 0; row < rows; row++) {
    let largest = 0
    for (let i = 0; i < H; i++) largest = Math.max(largest, Math.abs(x[row * H + i]!))
    largest = fround(Math.min(largest, MOST))
    const inverse = largest >= LEAST ? fround(127 / largest) : 1
    scale[row] = largest >= LEAST ? fround(largest * (factors?.[row] ?? 1)) / 127 : 1
    for (let i = 0; i < H; i++) {
      // The product of two f32 is exact here.
      q[row * H + i] = roundHalfEven(fround(x[row * H + i]!) * inverse)
      sum[row]! += q[row * H + i]!
    }
  }
  return { q, scale, sum }
}
