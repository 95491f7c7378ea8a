import { e4m3Value } from '../../dsl/float8.ts'
import type { WeightParts } from '../../dsl/format.ts'
import { f16Value, halves } from '../../dsl/half.ts'
import { type Elem, type e4m3, type f16, f32, type In, kernel, load, type u32 } from '../../dsl/index.ts'
import { fp8 } from '../formats/fp8.ts'
import { FP8_STEP, w4a8fp8 } from '../formats/w4a8-fp8.ts'
import { type ActivatedOutput, type Activation, finishOf, type Output } from './epilogue.ts'
import { activatedOptions, gemmOptions } from './options.ts'
import { gemmWgmma } from './wgmma.ts'
import type { WgmmaConfig } from './wgmma-product.ts'

/** The arguments that the kernels beside e4m3 activations have: `x = xScale · codes`. */
interface Fp8Arguments {
  scale: In<f16, 'N'>
  x: In<e4m3, 'M K'>
  xScale: In<f32, 'M'>
  bias?: In<Elem<'dtype'>, 'N'>
}
interface Fp8Weights {
  w: In<u32, 'Strips Units Words', 'fp8'>
}
interface W4A8Fp8Weights {
  w: In<u32, 'Strips Units Words', 'w4a8-fp8'>
}

/** The parts that both kernels have; `unit` is what the operands leave to the scale. */
const fp8Parts = (a: Fp8Arguments & (Output | ActivatedOutput), unit: number, activation?: Activation) => ({
  ...finishOf(a, activation),
  zero: 'register' as const,
  x: 'e4m3' as const,
  rowWords: () => [],
  rows: (n: number, count: number) => load(a.scale, [n], count).map((scale) => () => f32(scale) * unit),
  tokens: [a.xScale],
  finish: (sum: number, scale: f32, [xScale]: readonly u32[]): f32 => f32(sum) * scale * f32.bits(xScale!),
})

/**
 * 8-bit floats: out[m, n] = (Σₖ w·x) · scale[n] · xScale[m] (+ bias[n] + residual[m, n]), all e4m3, summed by the tensor
 * cores along K in the order of the columns. On sm_90a alone. The result does not depend on the tile or on M.
 *
 * `residual` may be `out`.
 */
export const gemmFp8 = kernel(
  import.meta.url,
  gemmOptions,
  function gemmFp8(a: Fp8Arguments & Output & Fp8Weights, c: WgmmaConfig) {
    gemmWgmma(a, c, { ...fp8Parts(a, 1), format: fp8 })
  },
)

/** silu(gate) · up of the rows of `gemmFp8`, which lie as `gateUpOrder` says, in f32. */
export const gemmFp8SiluMul = kernel(
  import.meta.url,
  activatedOptions,
  function gemmFp8SiluMul(a: Fp8Arguments & ActivatedOutput & Fp8Weights, c: WgmmaConfig) {
    gemmWgmma(a, c, { ...fp8Parts(a, 1, 'silu-mul'), format: fp8 })
  },
)

/** 4-bit weights ±m beside 8-bit floats: out[m, n] = (Σₖ ±m·x) · scale[n] · xScale[m], and otherwise as `gemmFp8`. */
export const gemmW4A8Fp8 = kernel(
  import.meta.url,
  gemmOptions,
  function gemmW4A8Fp8(a: Fp8Arguments & Output & W4A8Fp8Weights, c: WgmmaConfig) {
    gemmWgmma(a, c, { ...fp8Parts(a, 1 / FP8_STEP), format: w4a8fp8 })
  },
)

/** silu(gate) · up of the rows of `gemmW4A8Fp8`, which lie as `gateUpOrder` says, in f32. */
export const gemmW4A8Fp8SiluMul = kernel(
  import.meta.url,
  activatedOptions,
  function gemmW4A8Fp8SiluMul(a: Fp8Arguments & ActivatedOutput & W4A8Fp8Weights, c: WgmmaConfig) {
    gemmWgmma(a, c, { ...fp8Parts(a, 1 / FP8_STEP, 'silu-mul'), format: w4a8fp8 })
  },
)

export interface ProductFp8 {
  readonly M: number
  readonly N: number
  readonly K: number
  readonly dtype: 'f16' | 'bf16'
  /** e4m3 bits of the activations [M, K], and their scales [M]. */
  readonly x: Uint8Array
  readonly xScale: Float32Array
  /** Scales of the weights [N] as f16 bits. */
  readonly scale: Uint16Array
  /** Bits of `dtype`: [N] and [M, N]. */
  readonly bias?: Uint16Array | undefined
  readonly residual?: Uint16Array | undefined
}

/**
 * The product in float64 (`gemmFp8` of format `fp8`, `gemmW4A8Fp8` of `w4a8-fp8`), and beside each element the sum of the
 * magnitudes of its terms, which bounds its error.
 */
export function gemmFp8Reference(
  format: typeof fp8 | typeof w4a8fp8,
  parts: WeightParts & { readonly codes: Uint8Array },
  p: ProductFp8,
): { value: Float64Array; magnitude: Float64Array } {
  const { M, N, K } = p
  const unit = format === w4a8fp8 ? 1 / FP8_STEP : 1
  const { value: half } = halves[p.dtype]
  const x = Float64Array.from(p.x, e4m3Value)
  const value = new Float64Array(M * N)
  const magnitude = new Float64Array(M * N)
  for (let n = 0; n < N; n++) {
    const scale = f16Value(p.scale[n]!) * unit
    const row = Float64Array.from({ length: K }, (_, k) =>
      e4m3Value(format.operand(parts, { n, k, K }, 'register', 'e4m3')),
    )
    for (let m = 0; m < M; m++) {
      const at = m * N + n
      const add = (term: number): void => {
        value[at]! += term
        magnitude[at]! += Math.abs(term)
      }
      for (let k = 0; k < K; k++) add(row[k]! * x[m * K + k]! * scale * p.xScale[m]!)
      if (p.bias) add(half(p.bias[n]!))
      if (p.residual) add(half(p.residual[at]!))
    }
  }
  return { value, magnitude }
}
