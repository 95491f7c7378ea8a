import {
  type DType,
  type Elem,
  type f16,
  f32,
  type In,
  type i8,
  kernel,
  load,
  type Out,
  type u32,
} from '../dsl/index.ts'
import { loadFloatPair } from '../dsl/std/index.ts'
import { w8a8 } from './formats/w8a8.ts'
import { featureRow, type GemmConfig, gemm } from './gemm.ts'
import { gemmOptions } from './gemm-options.ts'
import { type ScaledProduct, scaledProduct } from './gemm-reference.ts'
import { gemmWgmma, type WgmmaConfig, type WgmmaParts } from './gemm-wgmma.ts'
import { type OfExpert, ofExpert } from './group-tiles.ts'

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

/**
 * W8A8: out[m, n] = (Σₖ q·x) · scale[n] · xScale[m] (+ bias[n] + residual[m, n], in f32).
 *
 * `residual` may be `out`. The result does not depend on the tile or on M.
 */
export const gemmW8A8 = kernel(
  import.meta.url,
  gemmOptions,
  function gemmW8A8(
    a: {
      w: In<u32, 'Strips Units Words', 'w8a8'>
      scale: In<f16, 'N'>
      x: In<i8, 'M K'>
      xScale: In<f32, 'M'>
      bias?: In<Elem<'dtype'>, 'N'>
      residual?: In<Elem<'dtype'>, 'M N'>
      out: Out<Elem<'dtype'>, 'M N'>
    },
    c: GemmConfig | WgmmaConfig,
  ) {
    if (c.path === 'wgmma') {
      gemmWgmma(a, c, w8a8Parts(a, c))
      return
    }
    gemm(a, c, {
      ...w8a8Common(c),
      feature: (n) => loadFloatPair(a.scale, [], n, featureRow(c)),
      token: (m) => a.xScale.at(m),
      finish: (sums, scale, xScale) => [f32(sums[0]) * scale[0] * xScale, f32(sums[1]) * scale[1] * xScale],
    })
  },
)

/** `gemmW8A8` on the host, bit for bit: codes [N, K]. */
export const gemmW8A8Reference = (codes: Int8Array, p: ScaledProduct): Uint16Array => scaledProduct(codes, p)
