import type { ZeroHandling } from '../../dsl/format.ts'
import {
  type Elem,
  type f16,
  f32,
  type In,
  type i8,
  i32,
  kernel,
  load,
  type u8,
  u32,
} from '../../dsl/index.ts'
import { loadFloatPair, loadPair } from '../../dsl/std/index.ts'
import { weightFormats } from '../formats/index.ts'
import { type W4A8Parts, w4a8, zeroWord } from '../formats/w4a8.ts'
import type { W4A8GroupParts } from '../formats/w4a8-group.ts'
import { type OfExpert, ofExpert } from '../group-tiles.ts'
import { type ActivatedOutput, type Activation, finishOf, type Output } from './epilogue.ts'
import { featureRow, type GemmConfig, gemm } from './mma.ts'
import { activatedOptions, gemmOptions } from './options.ts'
import { operands, type ScaledProduct, scaledProduct } from './reference.ts'
import { gemmWgmma } from './wgmma.ts'
import type { WgmmaConfig, WgmmaParts } from './wgmma-product.ts'

export type GemmW4A8Config = (GemmConfig | WgmmaConfig) & { readonly zero: ZeroHandling }

export type GemmW4A8GroupConfig = GemmW4A8Config & { readonly format: W4A8GroupName }

/** The formats with groups, by the columns of a group. */
export type W4A8GroupName = 'w4a8-g128' | 'w4a8-g64' | 'w4a8-g32'

/** The arguments that both W4A8 kernels have: `x = xScale · codes`, and `xSum` the exact sum of a row's codes. */
interface W4A8Arguments {
  scale: In<f16, 'N'>
  x: In<i8, 'M K'>
  xScale: In<f32, 'M'>
  xSum: In<i32, 'M'>
  bias?: In<Elem<'dtype'>, 'N'>
}
interface W4A8Weights {
  w: In<u32, 'Strips Units Words', 'w4a8'>
  zero: In<u8, 'N'>
}
interface W4A8GroupWeights {
  w: In<u32, 'Strips Units Words', 'w4a8-group'>
}

/** What the epilogue needs of a token: its scale, and Σx where a zero point is still to be subtracted. */
interface Token {
  readonly scale: f32
  readonly sum: i32
}

/** `(sum − correction · Σx) · s1 · sₐ` of two features, the sums exact and each product rounded. */
function scaled(
  sums: readonly [i32, i32],
  corrections: readonly [i32, i32],
  scales: readonly [f32, f32],
  token: Token,
): [f32, f32] {
  return [
    f32(sums[0] - corrections[0] * token.sum) * scales[0] * token.scale,
    f32(sums[1] - corrections[1] * token.sum) * scales[1] * token.scale,
  ]
}

interface WgmmaRow {
  readonly scale: f32
  readonly correction: i32
}

type W4A8Tokens = Pick<W4A8Arguments, 'xScale' | 'xSum'>
type W4A8WgmmaConfig = Pick<WgmmaConfig, 'dtype'> & { readonly zero: ZeroHandling }

/** The parts that both kernels have on `wgmma`. */
const w4a8Wgmma = (a: W4A8Tokens, c: W4A8WgmmaConfig) => ({
  zero: c.zero,
  x: 'i8' as const,
  out: c.dtype,
  tokens: c.zero === 'epilogue' ? [a.xScale, a.xSum] : [a.xScale],
  finish(sum: i32, { scale, correction }: WgmmaRow, [xScale, xSum]: readonly u32[]): f32 {
    const exact = c.zero === 'epilogue' ? sum - correction * i32(xSum!) : sum
    return f32(exact) * scale * f32.bits(xScale!)
  },
})

/** The parts of per-channel W4A8 on `wgmma`, of one matrix or of one for each expert. */
export const w4a8Parts = (
  a: W4A8Tokens & { scale: OfExpert<f16>; zero: OfExpert<u8> },
  c: W4A8WgmmaConfig,
): WgmmaParts<WgmmaRow> => ({
  ...w4a8Wgmma(a, c),
  format: w4a8,
  rowWords(upper, lower, expert) {
    if (c.zero === 'epilogue') return []
    const zero = ofExpert(a.zero, expert)
    return [zeroWord(u32(zero.at(upper)), u32(zero.at(lower)))]
  },
  rows(n, count, expert) {
    const zeros = c.zero === 'epilogue' ? load(ofExpert(a.zero, expert), [n], count) : []
    return load(ofExpert(a.scale, expert), [n], count).map((scale, i) => () => ({
      scale: f32(scale),
      correction: c.zero === 'epilogue' ? i32(zeros[i]!) : 0,
    }))
  },
})

/** The parts of W4A8 with groups of columns on `wgmma`. */
export const w4a8GroupParts = (
  a: W4A8Tokens & { scale: OfExpert<f16> },
  c: W4A8WgmmaConfig & { readonly format: W4A8GroupName },
): WgmmaParts<WgmmaRow> => ({
  ...w4a8Wgmma(a, c),
  format: weightFormats[c.format],
  rowWords: () => [],
  rows: (n, count, expert) =>
    load(ofExpert(a.scale, expert), [n], count).map((scale) => () => ({
      scale: f32(scale),
      correction: c.zero === 'epilogue' ? 128 : 0,
    })),
})

/** Per-channel W4A8 on either path. */
function multiplyChannels(
  a: W4A8Arguments & (Output | ActivatedOutput) & W4A8Weights,
  c: GemmW4A8Config,
  activation?: Activation,
): void {
  const finish = finishOf(a, activation)
  if (c.path === 'wgmma') {
    gemmWgmma(a, c, { ...w4a8Parts(a, c), ...finish })
    return
  }
  gemm(a, c, {
    ...finish,
    format: w4a8,
    zero: c.zero,
    x: 'i8',
    rowWords(n) {
      if (c.zero === 'epilogue') return []
      const [upper, lower] = [0, 8].map((half) => u32(a.zero.at(Math.min(n + half, c.N - 1))))
      return [zeroWord(upper!, lower!)]
    },
    feature: (n) => {
      const scale = loadFloatPair(a.scale, [], n, featureRow(c))
      if (c.zero === 'register') return { scale, zero: [0, 0] as const }
      const [first, second] = loadPair(a.zero, [], n, featureRow(c))
      return { scale, zero: [i32(first), i32(second)] as const }
    },
    token: (m) => ({ scale: a.xScale.at(m), sum: c.zero === 'epilogue' ? a.xSum.at(m) : 0 }),
    finish: (sums, { scale, zero }, token) => scaled(sums, zero, scale, token),
  })
}

/** W4A8 with groups on either path. */
function multiplyGroups(
  a: W4A8Arguments & (Output | ActivatedOutput) & W4A8GroupWeights,
  c: GemmW4A8GroupConfig,
  activation?: Activation,
): void {
  const finish = finishOf(a, activation)
  if (c.path === 'wgmma') {
    gemmWgmma(a, c, { ...w4a8GroupParts(a, c), ...finish })
    return
  }
  gemm(a, c, {
    ...finish,
    format: weightFormats[c.format],
    zero: c.zero,
    x: 'i8',
    rowWords: () => [],
    feature: (n) => loadFloatPair(a.scale, [], n, featureRow(c)),
    token: (m) => ({ scale: a.xScale.at(m), sum: c.zero === 'epilogue' ? a.xSum.at(m) : 0 }),
    finish: (sums, scale, token) => {
      const correction = c.zero === 'epilogue' ? 128 : 0
      return scaled(sums, [correction, correction], scale, token)
    },
  })
}

/**
 * Per-channel W4A8: out[m, n] = (Σₖ q·x − z[n] · Σx) · scale[n] · xScale[m] (+ bias[n] + residual[m, n], in f32).
 *
 * `residual` may be `out`. The result does not depend on the tile or on M.
 */
export const gemmW4A8 = kernel(
  import.meta.url,
  gemmOptions,
  function gemmW4A8(a: W4A8Arguments & Output & W4A8Weights, c: GemmW4A8Config) {
    multiplyChannels(a, c)
  },
)

/** silu(gate) · up of the rows of `gemmW4A8`, which lie as `gateUpOrder` says, in f32. */
export const gemmW4A8SiluMul = kernel(
  import.meta.url,
  activatedOptions,
  function gemmW4A8SiluMul(a: W4A8Arguments & ActivatedOutput & W4A8Weights, c: GemmW4A8Config) {
    multiplyChannels(a, c, 'silu-mul')
  },
)

/**
 * W4A8 with groups of columns: w8 = q · groupScale[n, g] + groupMin[n, g] (see the format), and
 * out[m, n] = (Σₖ w8·x) · scale[n] · xScale[m] (+ bias[n] + residual[m, n], in f32).
 *
 * With zero 'epilogue' no sum q · groupScale + groupMin may leave a signed byte. `residual` may be `out`. The result does
 * not depend on the tile or on M.
 */
export const gemmW4A8Group = kernel(
  import.meta.url,
  gemmOptions,
  function gemmW4A8Group(a: W4A8Arguments & Output & W4A8GroupWeights, c: GemmW4A8GroupConfig) {
    multiplyGroups(a, c)
  },
)

/** silu(gate) · up of the rows of `gemmW4A8Group`, which lie as `gateUpOrder` says, in f32. */
export const gemmW4A8GroupSiluMul = kernel(
  import.meta.url,
  activatedOptions,
  function gemmW4A8GroupSiluMul(
    a: W4A8Arguments & ActivatedOutput & W4A8GroupWeights,
    c: GemmW4A8GroupConfig,
  ) {
    multiplyGroups(a, c, 'silu-mul')
  },
)

/** `gemmW4A8` on the host, bit for bit: codes [N, K] and zero points [N]. */
export const gemmW4A8Reference = (parts: W4A8Parts, p: ScaledProduct): Uint16Array =>
  scaledProduct(operands(w4a8, parts, p, 'register'), p)

/** `gemmW4A8Group` on the host, bit for bit. */
export const gemmW4A8GroupReference = (
  format: W4A8GroupName,
  parts: W4A8GroupParts,
  p: ScaledProduct,
): Uint16Array => scaledProduct(operands(weightFormats[format], parts, p, 'register'), p)
