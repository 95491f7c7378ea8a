import { f16Value, halves } from '../../dsl/half.ts'
import type { WeightFormatName } from '../../kernels/formats/index.ts'
import type { GemmShape } from '../../kernels/gemm/mma-tiles.ts'
import { WrongResult } from '../../runtime/tune/bench.ts'
import { uniform } from '../uniform.ts'
import type { GemmPool } from './gemm-pool.ts'

/** Positions of a product that are computed again on the host, unless told otherwise. */
const defaultPositions = 4096
/** Tokens that they lie in: each is read from the device as a whole. */
const tokens = 16

/** Some elements of a product, and what they must be. */
export interface Sample {
  /** Tokens, ascending; the first and the last among them. */
  readonly rows: readonly number[]
  /** Features of each, likewise. */
  readonly columns: readonly number[]
  readonly dtype: 'f16' | 'bf16'
  /** [row, column] bits of `dtype`, and how far a value may be off; 0 for integers, whose results are exact. */
  readonly expected: Uint16Array
  readonly tolerance: Float32Array
}

/** Computes a sample on the host; `sums` are those of the rows of activations, for formats with zero points. */
export function sampleProduct(
  pool: GemmPool,
  format: WeightFormatName,
  { M, N, K }: GemmShape,
  sums: Int32Array | undefined,
  positions = defaultPositions,
): Sample {
  const { bits } = halves[pool.dtype]
  const rounding = pool.dtype === 'f16' ? 2 ** -10 : 2 ** -7
  // Mostly the same elements for every M: the pool remembers their sums.
  const rows = chosen(Math.min(M, tokens), M, lowNumbers(uniform(K)))
  const columns = chosen(Math.min(N, Math.ceil(positions / rows.length)), N, numbersBelow(N, uniform(N + K)))
  const expected = new Uint16Array(rows.length * columns.length)
  const tolerance = new Float32Array(expected.length)
  rows.forEach((m, i) => {
    columns.forEach((n, j) => {
      const at = i * columns.length + j
      const { sum, magnitude } = pool.product(n, m, K)
      const scale = f16Value(pool.scale[n]!) * pool.xScale[m]!
      if (pool.exact) {
        const exact = format === 'w4a8' ? sum - pool.zero[n]! * sums![m]! : sum
        const scaled = Math.fround(Math.fround(exact) * f16Value(pool.scale[n]!))
        expected[at] = bits(Math.fround(scaled * pool.xScale[m]!))
      } else if (pool.activation === 'e4m3') {
        expected[at] = bits(sum * scale)
        // Tensor cores keep about 14 bits of sums of 8-bit floats; what is wrong is off by far more.
        tolerance[at] = magnitude * scale * 2 ** -8 + 2 ** -24
      } else {
        expected[at] = bits(sum)
        // K f32 additions round by half a unit in the last place each, and the result once to 16 bits.
        tolerance[at] = magnitude * K * 2 ** -24 + Math.abs(sum) * rounding + 2 ** -24
      }
    })
  })
  return { rows, columns, dtype: pool.dtype, expected, tolerance }
}

/** Throws `WrongResult` for the first element that is not what it must be. `out` are whole rows of the sample. */
export function checkSample(
  { rows, columns, dtype, expected, tolerance }: Sample,
  out: Uint16Array,
  N: number,
): void {
  const { value } = halves[dtype]
  rows.forEach((m, i) => {
    columns.forEach((n, j) => {
      const at = i * columns.length + j
      const got = out[i * N + n]!
      const off = Math.abs(value(got) - value(expected[at]!))
      if (got === expected[at] || off <= tolerance[at]!) return
      throw new WrongResult(`out[${m}, ${n}] is ${value(got)} and must be ${value(expected[at]!)}`)
    })
  })
}

/** `count` of the numbers below `end`, ascending, the first and the last always, and others as they are drawn. */
function chosen(count: number, end: number, draw: () => number): number[] {
  const numbers = new Set([0, end - 1])
  while (numbers.size < count) {
    const number = draw()
    if (number < end) numbers.add(number)
  }
  return [...numbers].sort((a, b) => a - b)
}

const numbersBelow = (end: number, random: () => number) => (): number => Math.floor(end * random())

/** Numbers of which as many lie between 8 and 16 as between 1024 and 2048, so that some are below any end. */
const lowNumbers = (random: () => number) => (): number => Math.floor(2 ** (13 * random())) - 1
