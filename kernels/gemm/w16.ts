import type { WeightFormat } from '../../dsl/format.ts'
import { halves } from '../../dsl/half.ts'
import { type DType, type Elem, f32, type In, kernel, staticAssert, type u32 } from '../../dsl/index.ts'
import { w16 } from '../formats/w16.ts'
import { type ActivatedOutput, type Activation, finishOf, type Output } from './epilogue.ts'
import { type GemmConfig, gemm } from './mma.ts'
import { activatedOptions, gemmOptions } from './options.ts'
import { gemmWgmma } from './wgmma.ts'
import type { WgmmaConfig } from './wgmma-product.ts'

export type Gemm16Config = (GemmConfig | WgmmaConfig) & {
  /** Element type of the activations. */
  readonly dtype: 'f16' | 'bf16'
  /** Element type of the output: `dtype`, or 'f32'. */
  readonly out: DType
}

interface Gemm16Arguments {
  w: In<u32, 'Strips Units Words', 'w16'>
  x: In<Elem<'dtype'>, 'M K'>
  bias?: In<Elem<'dtype'>, 'N'>
}

/** Weights beside 16-bit activations, whose products are sums of f32, on either path. */
export function multiply(
  a: Omit<Gemm16Arguments, 'w'> & { w: In<u32, 'Strips Units Words', string> } & (Output | ActivatedOutput),
  c: Gemm16Config,
  format: WeightFormat,
  activation?: Activation,
): void {
  const parts = {
    ...finishOf(a, activation),
    format,
    zero: 'register' as const,
    x: c.dtype,
    rowWords: () => [],
  }
  if (c.path === 'wgmma') {
    gemmWgmma(a, c, {
      ...parts,
      rows: (_n, count) => Array(count).fill(() => 0),
      tokens: [],
      finish: (sum) => f32(sum),
    })
    return
  }
  // A second warp along K would change the order of the additions.
  staticAssert(c.warpsK === 1, `${format.name} takes one warp along K: f32 sums must keep their order`)
  gemm(a, c, { ...parts, feature: () => 0, token: () => 0, finish: (sums) => sums })
}

/**
 * 16-bit weights and activations: out[m, n] = Σₖ w·x (+ bias[n] + residual[m, n]), summed in f32 along K in the order of
 * the columns, 16 of them to an MMA. A row of the result does not depend on the tile or on M.
 *
 * `residual` may be `out`.
 */
export const gemm16 = kernel(
  import.meta.url,
  gemmOptions,
  function gemm16(a: Gemm16Arguments & Output, c: Gemm16Config) {
    multiply(a, c, w16)
  },
)

/** silu(gate) · up of the rows of `gemm16`, which lie as `gateUpOrder` says, in f32. */
export const gemm16SiluMul = kernel(
  import.meta.url,
  activatedOptions,
  function gemm16SiluMul(a: Gemm16Arguments & ActivatedOutput, c: Gemm16Config) {
    multiply(a, c, w16, 'silu-mul')
  },
)

export interface Product16 {
  readonly M: number
  readonly N: number
  readonly K: number
  readonly dtype: 'f16' | 'bf16'
  /** Bits of `dtype`: weights [N, K], activations [M, K], bias [N], residual [M, N]. */
  readonly w: Uint16Array
  readonly x: Uint16Array
  readonly bias?: Uint16Array | undefined
  readonly residual?: Uint16Array | undefined
}

/** The product in float64, and beside each element the sum of the magnitudes of its terms, which bounds its error. */
export function gemm16Reference(p: Product16): { value: Float64Array; magnitude: Float64Array } {
  const { M, N, K } = p
  const of = (bits: Uint16Array): Float64Array => Float64Array.from(bits, halves[p.dtype].value)
  const [w, x] = [of(p.w), of(p.x)]
  const value = new Float64Array(M * N)
  const magnitude = new Float64Array(M * N)
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      const at = m * N + n
      const add = (term: number): void => {
        value[at]! += term
        magnitude[at]! += Math.abs(term)
      }
      for (let k = 0; k < K; k++) add(w[n * K + k]! * x[m * K + k]!)
      if (p.bias) add(halves[p.dtype].value(p.bias[n]!))
      if (p.residual) add(halves[p.dtype].value(p.residual[at]!))
    }
  }
  return { value, magnitude }
}
