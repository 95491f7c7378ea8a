import { e4m3Bits, e4m3Value } from '../../dsl/float8.ts'
import { type OperandType, unitColumns, unitRows, unitWords, type WeightFormat } from '../../dsl/format.ts'
import { bf16FromF32, f16FromF32, halves } from '../../dsl/half.ts'
import { type WeightFormatName, weightFormats } from '../../kernels/formats/index.ts'
import { FP8_STEP } from '../../kernels/formats/w4a8-fp8.ts'
import { activationType } from '../../kernels/gemm/operands.ts'
import { uniform } from '../uniform.ts'

/** Units of packed weights that are drawn; a matrix of any shape is a run of them, over and over. */
const units = 61
/** Elements of activations that are drawn. A prime, so that the rows of no matrix repeat. */
const activations = 262_139
/** Rows of scales and zero points that are drawn: more than any vocabulary has. */
const rows = 262_144

/** A sum of products, and the sum of the magnitudes of its terms where it is not exact. */
export interface SumOfProducts {
  readonly sum: number
  readonly magnitude: number
}

/**
 * Random operands on the host, from which matrices of every shape are cut, and what their elements are worth.
 *
 * The weights of [N, K] are units number `first`, `first` + 1, … of the pool, in the order of the packed tensor; the
 * activations of [M, K] are its elements from 0 on, row by row.
 */
export class GemmPool {
  readonly format: WeightFormat
  /** The 16-bit type of outputs, and of activations where they are not quantized. */
  readonly dtype: 'f16' | 'bf16'
  readonly activation: OperandType
  /** Whether sums of products are integers. */
  readonly exact: boolean
  /** The packed units, one after the other. */
  readonly words: Uint32Array
  readonly units = units
  readonly unitBytes: number
  /** Elements of activations as the device has them. */
  readonly x: Int8Array | Uint8Array | Uint16Array
  /** f16 scale and zero point of a row of weights, f32 scale of a token. */
  readonly scale: Uint16Array
  readonly zero: Uint8Array
  readonly xScale: Float32Array
  /** What the weights of the units are worth beside the activations: [unit][row][column]; zero points not subtracted. */
  readonly #weights: Int16Array | Float32Array
  readonly #tokens: Int8Array | Float32Array
  /** What `product` has computed for this many columns. */
  #columns = 0
  readonly #rows = new Map<number, Int8Array | Float32Array>()
  readonly #sums = new Map<number, SumOfProducts>()

  constructor(format: WeightFormatName, dtype: 'f16' | 'bf16' = 'f16', seed = 1) {
    this.format = weightFormats[format]
    this.dtype = dtype
    this.activation = activationType(format, dtype)
    this.exact = this.activation === 'i8'
    const random = uniform(seed)
    const parts = randomParts(this.format, dtype, random, unitRows * units)
    this.words = this.format.pack(parts as never, unitRows * units, unitColumns)
    this.unitBytes = 4 * unitWords(this.format)
    this.scale = f16FromF32(Float32Array.from({ length: rows }, () => 0.001 + 0.01 * random()))
    this.xScale = Float32Array.from({ length: rows }, () => 0.001 + 0.01 * random())
    this.zero = Uint8Array.from({ length: rows }, () => Math.floor(16 * random()))
    const drawn = Float32Array.from({ length: activations }, () => normal(random))
    if (this.activation === 'i8') {
      this.x = Int8Array.from(drawn, code)
      this.#tokens = this.x
    } else if (this.activation === 'e4m3') {
      this.x = Uint8Array.from(drawn, (value) => e4m3Bits(36 * value))
      this.#tokens = Float32Array.from(this.x, e4m3Value)
    } else {
      this.x = (dtype === 'f16' ? f16FromF32 : bf16FromF32)(drawn)
      this.#tokens = Float32Array.from(this.x, halves[dtype].value)
    }
    const count = unitRows * units * unitColumns
    this.#weights = this.exact ? new Int16Array(count) : new Float32Array(count)
    const noZero = new Uint8Array(unitRows * units)
    for (let i = 0, n = 0; n < unitRows * units; n++)
      for (let k = 0; k < unitColumns; k++, i++) {
        const value = this.format.operand(
          ('zero' in parts ? parts : { ...parts, zero: noZero }) as never,
          { n, k, K: unitColumns },
          'register',
          this.activation,
        )
        this.#weights[i] = this.#worth(value)
      }
  }

  /** What a kernel adds up for an operand: for signed nibbles as subnormal floats, in steps of the smallest. */
  #worth(operand: number): number {
    if (this.exact) return operand
    if (this.activation !== 'e4m3') return halves[this.dtype].value(operand)
    return this.format.bits === 4 ? e4m3Value(operand) / FP8_STEP : e4m3Value(operand)
  }

  /** The activations of token m, as numbers. */
  token(m: number, K: number): Int8Array | Float32Array {
    const result = this.exact ? new Int8Array(K) : new Float32Array(K)
    for (let k = 0, at = (m * K) % activations; k < K; k++) {
      result[k] = this.#tokens[at]!
      at = at + 1 === activations ? 0 : at + 1
    }
    return result
  }

  /** Σₖ w·x of row n and token m, zero points not subtracted, and the sum of the magnitudes of its terms. */
  product(n: number, m: number, K: number): SumOfProducts {
    if (this.#columns !== K) {
      this.#columns = K
      this.#rows.clear()
      this.#sums.clear()
    }
    const at = m * rows + n
    let sum = this.#sums.get(at)
    if (!sum) {
      let x = this.#rows.get(m)
      if (!x) {
        x = this.token(m, K)
        this.#rows.set(m, x)
      }
      sum = this.#sum(n, x)
      this.#sums.set(at, sum)
    }
    return sum
  }

  #sum(n: number, x: Int8Array | Float32Array): SumOfProducts {
    const K = x.length
    const perStrip = Math.ceil(K / unitColumns)
    const row = n % unitRows
    const strip = Math.floor(n / unitRows)
    const weights = this.#weights
    let sum = 0
    let magnitude = 0
    for (let u = 0; u < perStrip; u++) {
      const from = (((strip * perStrip + u) % units) * unitRows + row) * unitColumns
      const first = u * unitColumns
      const count = Math.min(unitColumns, K - first)
      for (let k = 0; k < count; k++) sum += weights[from + k]! * x[first + k]!
      if (!this.exact)
        for (let k = 0; k < count; k++) magnitude += Math.abs(weights[from + k]! * x[first + k]!)
    }
    return { sum, magnitude }
  }
}

/** About a normal number. */
const normal = (random: () => number): number =>
  (random() + random() + random() + random() - 2) * Math.sqrt(3)

/** The 8-bit code of a normal number, and one drawn so. */
const code = (value: number): number => Math.max(-127, Math.min(127, Math.round(36 * value)))
const bell = (random: () => number): number => code(normal(random))

/** Codes of every value and parameters that a format can pack, for a matrix of one unit's columns. */
function randomParts(
  format: WeightFormat,
  dtype: 'f16' | 'bf16',
  random: () => number,
  N: number,
): Record<string, unknown> {
  const integer = (low: number, high: number) => low + Math.floor((high - low + 1) * random())
  const length = N * unitColumns
  const integers = (count: number, low: number, high: number) =>
    Uint8Array.from({ length: count }, () => integer(low, high))
  const halfs = (count: number, sample: () => number) =>
    f16FromF32(Float32Array.from({ length: count }, sample))
  const around = () => random() + random() - 1
  if (format.bits === 16)
    return { codes: Uint16Array.from({ length }, () => halves[dtype].bits(0.04 * around())) }
  // As of trained weights: the power that products draw, and so the clock, depends on the data.
  if (format.bits === 8)
    return format.activations.includes('i8')
      ? { codes: Int8Array.from({ length }, () => bell(random)) }
      : { codes: Uint8Array.from({ length }, () => e4m3Bits(8 * around())) }
  const codes = integers(length, 0, 15)
  if (format.group === 0) return { codes }
  const groups = length / format.group
  if (!format.activations.includes('i8'))
    return { codes, scale: halfs(groups, () => 0.002 + 0.004 * random()), zero: integers(groups, 0, 15) }
  const groupScale = integers(groups, 1, 16)
  // 128 + min and 15 times the scale together stay in a byte.
  return {
    codes,
    groupScale,
    groupMin: Int8Array.from(groupScale, (scale) => integer(-128, 127 - 15 * scale)),
  }
}
