import {
  type DType,
  type Elem,
  type f16,
  f32,
  type In,
  type i8,
  kernel,
  load,
  type u32,
} from '../../dsl/index.ts'
import { loadFloatPair } from '../../dsl/std/index.ts'
import { w8a8 } from '../formats/w8a8.ts'
import { type OfExpert, ofExpert } from '../group-tiles.ts'
import { type ActivatedOutput, type Activation, finishOf, type Output } from './epilogue.ts'
import { featureRow, type GemmConfig, gemm } from './mma.ts'
import { activatedOptions, gemmOptions } from './options.ts'
import { type ScaledProduct, scaledProduct } from './reference.ts'
import { gemmWgmma } from './wgmma.ts'
import type { WgmmaConfig, WgmmaParts } from './wgmma-product.ts'

/** The parts of W8A8 that do not depend on the path. */
const w8a8Common = (c: { readonly dtype: DType }) => ({
  format: w8a8,
  zero: 'register' as const,
  x: 'i8' as const,
  out: c.dtype,
  rowWords: () => [],
})

/** The parts of W8A8 on `wgmma`, of one matrix or of one for each expert. */
export const w8a8Parts = (
  a: { scale: OfExpert<f16>; xScale: In<f32, 'M'> },
  c: Pick<WgmmaConfig, 'dtype'>,
): WgmmaParts<f32> => ({
  ...w8a8Common(c),
  rows: (n, count, expert) => load(ofExpert(a.scale, expert), [n], count).map((scale) => () => f32(scale)),
  tokens: [a.xScale],
  finish: (sum, scale, [xScale]) => f32(sum) * scale * f32.bits(xScale!),
})

interface W8A8Arguments {
  w: In<u32, 'Strips Units Words', 'w8a8'>
  scale: In<f16, 'N'>
  x: In<i8, 'M K'>
  xScale: In<f32, 'M'>
  bias?: In<Elem<'dtype'>, 'N'>
}

/** W8A8 on either path. */
function multiply(
  a: W8A8Arguments & (Output | ActivatedOutput),
  c: GemmConfig | WgmmaConfig,
  activation?: Activation,
): void {
  const finish = finishOf(a, activation)
  if (c.path === 'wgmma') {
    gemmWgmma(a, c, { ...w8a8Parts(a, c), ...finish })
    return
  }
  gemm(a, c, {
    ...w8a8Common(c),
    ...finish,
    feature: (n) => loadFloatPair(a.scale, [], n, featureRow(c)),
    token: (m) => a.xScale.at(m),
    finish: (sums, scale, xScale) => [f32(sums[0]) * scale[0] * xScale, f32(sums[1]) * scale[1] * xScale],
  })
}

/**
 * W8A8: out[m, n] = (Σₖ q·x) · scale[n] · xScale[m] (+ bias[n] + residual[m, n], in f32).
 *
 * `residual` may be `out`. The result does not depend on the tile or on M.
 */
export const gemmW8A8 = kernel(
  import.meta.url,
  gemmOptions,
  function gemmW8A8(a: W8A8Arguments & Output, c: GemmConfig | WgmmaConfig) {
    multiply(a, c)
  },
)

/** silu(gate) · up of the rows of `gemmW8A8`, which lie as `gateUpOrder` says, in f32. */
export const gemmW8A8SiluMul = kernel(
  import.meta.url,
  activatedOptions,
  function gemmW8A8SiluMul(a: W8A8Arguments & ActivatedOutput, c: GemmConfig | WgmmaConfig) {
    multiply(a, c, 'silu-mul')
  },
)

/** `gemmW8A8` on the host, bit for bit: codes [N, K]. */
export const gemmW8A8Reference = (codes: Int8Array, p: ScaledProduct): Uint16Array => scaledProduct(codes, p)
