import type { WeightFormat, WeightParts, ZeroHandling } from '../../dsl/format.ts'
import { f16Value, halves } from '../../dsl/half.ts'

/** The scaled part of a GEMM's reference: everything in the arithmetic of the kernel, one rounding after the other. */
export interface ScaledProduct {
  readonly M: number
  readonly N: number
  readonly K: number
  readonly dtype: 'f16' | 'bf16'
  /** Activations [M, K] and their scales [M]. */
  readonly x: Int8Array
  readonly xScale: Float32Array
  /** Level-1 scales [N] as f16 bits. */
  readonly scale: Uint16Array
  /** [N] and [M, N] as bits of `dtype`. */
  readonly bias?: Uint16Array | undefined
  readonly residual?: Uint16Array | undefined
}

/** The integers that a format makes of its codes, [N, K]. */
export function operands<P extends WeightParts>(
  format: WeightFormat<P>,
  parts: P,
  { N, K }: { readonly N: number; readonly K: number },
  zero: ZeroHandling,
): Int8Array {
  const values = new Int8Array(N * K)
  for (let n = 0; n < N; n++)
    for (let k = 0; k < K; k++) values[n * K + k] = format.operand(parts, { n, k, K }, zero, 'i8')
  return values
}

/** `f32(W·x) · scale · xScale + bias + residual` in f32, [M, N], for integer weights [N, K]; the sums are exact. */
export function scaledValues(weights: Int8Array, p: ScaledProduct): Float32Array {
  const { M, N, K } = p
  const { value } = halves[p.dtype]
  const out = new Float32Array(M * N)
  for (let n = 0; n < N; n++) {
    const scale = f16Value(p.scale[n]!)
    for (let m = 0; m < M; m++) {
      let sum = 0
      for (let k = 0; k < K; k++) sum += weights[n * K + k]! * p.x[m * K + k]!
      let y = Math.fround(Math.fround(Math.fround(sum) * scale) * p.xScale[m]!)
      if (p.bias) y = Math.fround(y + value(p.bias[n]!))
      if (p.residual) y = Math.fround(y + value(p.residual[m * N + n]!))
      out[m * N + n] = y
    }
  }
  return out
}

/** `scaledValues` as bits of `dtype`. */
export const scaledProduct = (weights: Int8Array, p: ScaledProduct): Uint16Array =>
  Uint16Array.from(scaledValues(weights, p), halves[p.dtype].bits)
