import { packedShape, unitColumns, unitRows } from '../dsl/format.ts'
import {
  blockIdx,
  ceilDiv,
  type Elem,
  each,
  f32,
  type In,
  type InOut,
  type i32,
  kernel,
  loadWords,
  type Out,
  packF16,
  storeWords,
  threadIdx,
  u32,
  unroll,
} from '../dsl/index.ts'
import { weightFormats } from './formats/index.ts'
import type { HalfType } from './half-rows.ts'

/** The largest finite f16. */
const F16_LARGEST = 65504
/** Threads that hold the fragments of a unit: a warpgroup. */
const THREADS = 128
const { loads } = weightFormats.w16

/**
 * Device: two 16-bit floats as two of another type. A magnitude beyond f16 sets `large`: several threads may, to the same.
 */
function converted(word: u32, from: HalfType, to: HalfType, large: InOut<i32, '1'>): u32 {
  if (from === to) return word
  const low = f32.bits(word << 16)
  const high = f32.bits(word & 0xffff0000)
  const most = Math.max(Math.abs(low), Math.abs(high))
  if (most > F16_LARGEST) large.put(1, 0)
  return u32.bits(packF16(low, high))
}

export interface PackHalfConfig {
  /** Columns, a multiple of 16. */
  readonly K: number
  readonly from: 'f16' | 'bf16'
  /** The same, or f16. */
  readonly to: 'f16' | 'bf16'
}

/** Rows of 16-bit floats into the units of `w16`, rows and columns past the matrix as zeros. One CTA for each unit. */
export const packHalf = kernel(
  import.meta.url,
  {
    grid: (d, c: PackHalfConfig) => [ceilDiv(c.K, unitColumns), ceilDiv(d.N!, unitRows)],
    block: [THREADS],
  },
  function packHalf(
    a: {
      src: In<Elem<'from'>, 'N K'>
      /** Set to 1 where a value is too large for f16. */
      large: InOut<i32, '1'>
      out: Out<u32, 'Strips Units 4096'>
    },
    c: PackHalfConfig,
  ) {
    const unit = blockIdx.x
    const strip = blockIdx.y
    const rows = a.src.dim('N')
    const thread = threadIdx.x
    // Row g of the warp's sixteen, and the first of the two pairs of columns that a lane has of a k-step.
    const row = strip * unitRows + (thread >> 5) * 16 + ((thread & 31) >> 2)
    const lane = thread & 3
    for (const load of unroll(loads)) {
      const words = each(4, (word) => {
        const n = row + 8 * (word & 1)
        const k = unit * unitColumns + load * 16 + 2 * (lane + 4 * (word >> 1))
        let value = u32(0)
        if (n < rows && k < c.K) value = converted(loadWords(a.src, [n, k], 1)[0]!, c.from, c.to, a.large)
        return value
      })
      storeWords(a.out, [strip, unit, load * 4 * THREADS + 4 * thread], words)
    }
  },
)

/** Words of a thread of `convertHalf`. */
const CONVERTED = 4

export interface ConvertHalfConfig {
  /** Columns, a multiple of 8. */
  readonly K: number
  readonly from: 'bf16'
  readonly to: 'f16'
}

/** Rows of 16-bit floats in another type. One CTA for each row. */
export const convertHalf = kernel(
  import.meta.url,
  { grid: (d) => [d.N!], block: [THREADS] },
  function convertHalf(
    a: {
      src: In<Elem<'from'>, 'N K'>
      /** Set to 1 where a value is too large for f16. */
      large: InOut<i32, '1'>
      out: Out<Elem<'to'>, 'N K'>
    },
    c: ConvertHalfConfig,
  ) {
    for (const turn of unroll(ceilDiv(c.K, 2 * CONVERTED * THREADS))) {
      const k = 2 * CONVERTED * (turn * THREADS + threadIdx.x)
      if (k < c.K) {
        const words = loadWords(a.src, [blockIdx.x, k], CONVERTED)
        storeWords(
          a.out,
          [blockIdx.x, k],
          words.map((word) => converted(word, c.from, c.to, a.large)),
        )
      }
    }
  },
)

/** The words that `packHalf` writes for a matrix of 16-bit floats of the type that is packed. */
export const packHalfReference = (codes: Uint16Array, N: number, K: number): Uint32Array =>
  weightFormats.w16.pack({ codes }, N, K)

/** The shape of what `packHalf` writes. */
export const packedHalfShape = (N: number, K: number): [number, number, number] =>
  packedShape(weightFormats.w16, N, K)
