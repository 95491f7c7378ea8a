import { e4m3Bits } from '../../dsl/float8.ts'
import type { WeightFormat, WeightParts } from '../../dsl/format.ts'
import { bf16FromF32, f16FromF32 } from '../../dsl/half.ts'
import { weightFormats } from '../../kernels/formats/index.ts'
import { activationType } from '../../kernels/gemm-operands.ts'
import type { HostArray } from '../../runtime/tensor.ts'
import { rng } from '../../test/support/rng.ts'
import { type BenchFormat, randomParts } from './weights.ts'

/** Rows of weights that are drawn: three strips; a matrix repeats them. */
export const drawnRows = 192
/** A prime, so that the activations of no two tokens are the same. */
const drawnActivations = 262_139
/** Output features and tokens have their own scales, which repeat: primes again. */
const drawnScales = 1021

/** What the arguments of a product are filled with, over and over, by name. */
export interface HostOperands {
  /** The weights of `drawnRows` rows. */
  readonly parts: WeightParts
  /** Packed. */
  readonly w: Uint32Array
  readonly x: HostArray
  /** f16 bits. */
  readonly scale: Uint16Array
  readonly xScale: Float32Array
  /** Zero points, as many as there are rows drawn. */
  readonly zero: Uint8Array
  /** NaN in any float of 16 bits: what is left of it was not written. */
  readonly out: Uint16Array
}

const known = new Map<string, HostOperands>()

/** Random operands of a format for rows of K columns; the same each time. */
export function hostOperands(format: BenchFormat, K: number): HostOperands {
  const key = `${format.name} ${K}`
  let operands = known.get(key)
  if (!operands) {
    operands = draw(format, K)
    known.set(key, operands)
  }
  return operands
}

function draw(format: BenchFormat, K: number): HostOperands {
  const random = rng(K)
  const parts = randomParts(format, drawnRows, K, random)
  const packer: WeightFormat = weightFormats[format.weights]
  return {
    parts,
    w: packer.pack(parts, drawnRows, K),
    x: activations(format),
    scale: f16FromF32(
      Float32Array.from({ length: drawnScales }, () => 0.02 * (0.1 + Math.abs(random.normal()))),
    ),
    xScale: Float32Array.from({ length: drawnScales }, () => 0.001 + 0.001 * random.uniform()),
    zero: (parts as { zero?: Uint8Array }).zero ?? new Uint8Array(),
    out: Uint16Array.of(0xffff),
  }
}

const drawn = new Map<string, HostArray>()

/** Activations as a model has them: bell-shaped. */
function activations({ weights, dtype }: BenchFormat): HostArray {
  const type = activationType(weights, dtype)
  let values = drawn.get(type)
  if (!values) {
    const random = rng(5)
    const normals = Float32Array.from({ length: drawnActivations }, () => random.normal())
    if (type === 'i8')
      values = Int8Array.from(normals, (v) => Math.max(-127, Math.min(127, Math.round(36 * v))))
    else if (type === 'e4m3') values = Uint8Array.from(normals, (v) => e4m3Bits(100 * v))
    else values = type === 'bf16' ? bf16FromF32(normals) : f16FromF32(normals)
    drawn.set(type, values)
  }
  return values
}

/** The sum of each row [M, K] of codes that repeat. */
export function rowSums(codes: Int8Array, M: number, K: number): Int32Array {
  const { length } = codes
  const before = new Float64Array(length + 1)
  for (let i = 0; i < length; i++) before[i + 1] = before[i]! + codes[i]!
  const upTo = (end: number) => Math.floor(end / length) * before[length]! + before[end % length]!
  return Int32Array.from({ length: M }, (_, m) => upTo((m + 1) * K) - upTo(m * K))
}

/** Row `m` of a matrix of K columns that a block fills, over and over. */
export function repeatedRow<A extends HostArray>(block: A, m: number, K: number): A {
  const row = block.slice(0, 0).constructor as new (length: number) => A
  const values = new row(K)
  for (let k = 0; k < K; k++) values[k] = block[(m * K + k) % block.length]!
  return values
}
