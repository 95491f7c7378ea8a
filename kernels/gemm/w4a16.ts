import { type Elem, type In, kernel, type u32 } from '../../dsl/index.ts'
import { weightFormats } from '../formats/index.ts'
import type { W4A16Parts } from '../formats/w4a16-group.ts'
import type { ActivatedOutput, Output } from './epilogue.ts'
import { activatedOptions, gemmOptions } from './options.ts'
import { type Gemm16Config, gemm16Reference, multiply, type Product16 } from './w16.ts'

/** The formats with groups, by the columns of a group. */
export type W4A16Name = 'w4a16-g128' | 'w4a16-g64' | 'w4a16-g32'

export type GemmW4A16Config = Gemm16Config & { readonly format: W4A16Name }

interface W4A16Arguments {
  w: In<u32, 'Strips Units Words', 'w4a16-group'>
  x: In<Elem<'dtype'>, 'M K'>
  bias?: In<Elem<'dtype'>, 'N'>
}

/**
 * 4-bit weights with a scale and a zero point for each group, beside 16-bit activations:
 * out[m, n] = Σₖ w·x (+ bias[n] + residual[m, n]) with w = s·(q − z) rounded to the activations' type, summed in f32 along K
 * in the order of the columns, 16 of them to an MMA; on `wgmma` in `sumSlices` slices of K. A row of the result does not
 * depend on the tile or on M.
 *
 * `residual` may be `out`.
 */
export const gemmW4A16 = kernel(
  import.meta.url,
  gemmOptions,
  function gemmW4A16(a: W4A16Arguments & Output, c: GemmW4A16Config) {
    multiply(a, c, weightFormats[c.format])
  },
)

/** silu(gate) · up of the rows of `gemmW4A16`, which lie as `gateUpOrder` says, in f32. */
export const gemmW4A16SiluMul = kernel(
  import.meta.url,
  activatedOptions,
  function gemmW4A16SiluMul(a: W4A16Arguments & ActivatedOutput, c: GemmW4A16Config) {
    multiply(a, c, weightFormats[c.format], 'silu-mul')
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
