import { type DType, type Elem, f32, type In, kernel, staticAssert, type u32 } from '../../dsl/index.ts'
import { weightFormats } from '../formats/index.ts'
import type { W4A16Parts } from '../formats/w4a16-group.ts'
import { type ActivatedOutput, type Activation, finishOf, type Output } from './epilogue.ts'
import { type GemmConfig, gemm } from './mma.ts'
import { activatedOptions, gemmOptions } from './options.ts'
import { gemm16Reference, type Product16 } from './w16.ts'
import { gemmWgmma, type WgmmaConfig } from './wgmma.ts'

/** The formats with groups, by the columns of a group. */
export type W4A16Name = 'w4a16-g128' | 'w4a16-g64' | 'w4a16-g32'

export type GemmW4A16Config = (GemmConfig | WgmmaConfig) & {
  readonly format: W4A16Name
  /** Element type of the output: `dtype`, or 'f32'. */
  readonly out: DType
}

interface W4A16Arguments {
  w: In<u32, 'Strips Units Words', 'w4a16-group'>
  x: In<Elem<'dtype'>, 'M K'>
  bias?: In<Elem<'dtype'>, 'N'>
}

/** W4A16 on either path. */
function multiply(
  a: W4A16Arguments & (Output | ActivatedOutput),
  c: GemmW4A16Config,
  activation?: Activation,
): void {
  const parts = {
    ...finishOf(a, activation),
    format: weightFormats[c.format],
    zero: 'register' as const,
    x: c.dtype as 'f16' | 'bf16',
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
  staticAssert(c.warpsK === 1, 'W4A16 takes one warp along K: f32 sums must keep their order')
  gemm(a, c, { ...parts, feature: () => 0, token: () => 0, finish: (sums) => sums })
}

/**
 * 4-bit weights with a scale and a zero point for each group, beside 16-bit activations:
 * out[m, n] = Σₖ w·x (+ bias[n] + residual[m, n]) with w = s·(q − z) rounded to the activations' type, summed in f32 along K
 * in the order of the columns, 16 of them to an MMA. A row of the result does not depend on the tile or on M.
 *
 * `residual` may be `out`.
 */
export const gemmW4A16 = kernel(
  import.meta.url,
  gemmOptions,
  function gemmW4A16(a: W4A16Arguments & Output, c: GemmW4A16Config) {
    multiply(a, c)
  },
)

/** silu(gate) · up of the rows of `gemmW4A16`, which lie as `gateUpOrder` says, in f32. */
export const gemmW4A16SiluMul = kernel(
  import.meta.url,
  activatedOptions,
  function gemmW4A16SiluMul(a: W4A16Arguments & ActivatedOutput, c: GemmW4A16Config) {
    multiply(a, c, 'silu-mul')
  },
)

/** The bits of the weights that the kernel multiplies, [N, K], in the activations' type. */
export function dequantizeW4A16(
  format: W4A16Name,
  parts: W4A16Parts,
  { N, K, dtype }: Pick<Product16, 'N' | 'K' | 'dtype'>,
): Uint16Array {
  const w = new Uint16Array(N * K)
  for (let n = 0; n < N; n++)
    for (let k = 0; k < K; k++)
      w[n * K + k] = weightFormats[format].operand(parts, { n, k, K }, 'register', dtype)
  return w
}

/** The product in float64 of exactly the weights that the kernel multiplies: see `gemm16Reference`. */
export const gemmW4A16Reference = (
  format: W4A16Name,
  parts: W4A16Parts,
  p: Omit<Product16, 'w'>,
): { value: Float64Array; magnitude: Float64Array } =>
  gemm16Reference({ ...p, w: dequantizeW4A16(format, parts, p) })
