import type { ZeroHandling } from '../dsl/format.ts'
import {
  blockDim,
  blockIdx,
  ceilDiv,
  copyAsync,
  type Elem,
  type f16,
  f32,
  type In,
  type i8,
  i32,
  idiv,
  kernel,
  type Out,
  shared,
  threadIdx,
  type u8,
  u32,
  unroll,
} from '../dsl/index.ts'
import { loadFloatPair, loadPair, replicateByte } from '../dsl/std/index.ts'
import { w4a8 } from './formats/w4a8.ts'
import { w4a8g128 } from './formats/w4a8-g128.ts'
import { featureRow, type GemmConfig, gemm, gemmBlock, gemmGrid } from './gemm.ts'
import { type ScaledProduct, scaledProduct } from './gemm-reference.ts'

export interface GemmW4A8Config extends GemmConfig {
  readonly zero: ZeroHandling
}

/** The arguments that both W4A8 kernels have: `x = xScale · codes`, and `xSum` the exact sum of a row's codes. */
interface W4A8Arguments {
  w: In<u32, 'NTiles KUnits 128', 'mma-w4'>
  scale: In<f16, 'N'>
  x: In<i8, 'M K'>
  xScale: In<f32, 'M'>
  xSum: In<i32, 'M'>
  bias?: In<Elem<'dtype'>, 'N'>
  residual?: In<Elem<'dtype'>, 'M N'>
  out: Out<Elem<'dtype'>, 'M N'>
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

/**
 * Per-channel W4A8: out[m, n] = (Σₖ q·x − z[n] · Σx) · scale[n] · xScale[m] (+ bias[n] + residual[m, n], in f32).
 *
 * `residual` may be `out`. The result does not depend on the tile or on M.
 */
export const gemmW4A8 = kernel(
  import.meta.url,
  { grid: gemmGrid, block: gemmBlock },
  function gemmW4A8(a: W4A8Arguments & { zero: In<u8, 'N'> }, c: GemmW4A8Config) {
    gemm(a, c, {
      format: w4a8,
      zero: c.zero,
      x: 'i8',
      out: c.dtype,
      loadGroups() {},
      rowParameters(feature) {
        if (c.zero === 'epilogue') return { scale: 1, offset: 0 }
        const n = Math.min(blockIdx.y * c.tileN + feature, c.N - 1)
        return { scale: 1, offset: replicateByte(u32(a.zero.at(n))) }
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
  },
)

/**
 * W4A8 with groups of 128 columns: w8 = q · groupScale[g, n] + groupMin[g, n] (see the format), and
 * out[m, n] = (Σₖ w8·x) · scale[n] · xScale[m] (+ bias[n] + residual[m, n], in f32).
 *
 * With zero 'epilogue', q · groupScale + groupMin must stay within a signed byte for every q from 0 to 15 that occurs.
 * `residual` may be `out`. The result does not depend on the tile or on M.
 */
export const gemmW4A8Group = kernel(
  import.meta.url,
  { grid: gemmGrid, block: gemmBlock },
  function gemmW4A8Group(
    a: W4A8Arguments & { groupScale: In<u8, 'G N'>; groupMin: In<i8, 'G N'> },
    c: GemmW4A8Config,
  ) {
    const groups = c.tileK / w4a8g128.group
    const scales = shared<u8>('u8', [c.stages, groups, c.tileN])
    const mins = shared<i8>('i8', [c.stages, groups, c.tileN])
    gemm(a, c, {
      format: w4a8g128,
      zero: c.zero,
      x: 'i8',
      out: c.dtype,
      loadGroups(step, stage, feature) {
        const parts = c.tileN / 16
        for (const turn of unroll(ceilDiv(groups * parts, blockDim.x))) {
          const copy = threadIdx.x + turn * blockDim.x
          const group = idiv(copy, parts)
          const first = (copy % parts) * 16
          if (copy < groups * parts) {
            const from = [step * groups + group, feature + first]
            const valid = featureRow(c).covered || feature + first < c.N
            copyAsync(scales, [stage, group, first], a.groupScale, from, 16, valid)
            copyAsync(mins, [stage, group, first], a.groupMin, from, 16, valid)
          }
        }
      },
      rowParameters(feature, group, stage) {
        const min = i32(mins.at(stage, group, feature))
        const byte = c.zero === 'register' ? min & 255 : min + 128
        return { scale: u32(scales.at(stage, group, feature)), offset: replicateByte(u32(byte)) }
      },
      feature: (n) => loadFloatPair(a.scale, [], n, featureRow(c)),
      token: (m) => ({ scale: a.xScale.at(m), sum: c.zero === 'epilogue' ? a.xSum.at(m) : 0 }),
      finish: (sums, scale, token) => {
        const correction = c.zero === 'epilogue' ? 128 : 0
        return scaled(sums, [correction, correction], scale, token)
      },
    })
  },
)

/** `gemmW4A8` on the host, bit for bit: codes [N, K] and zero points [N]. */
export function gemmW4A8Reference(codes: Uint8Array, zero: Uint8Array, p: ScaledProduct): Uint16Array {
  const weights = Int8Array.from(codes, (q, i) =>
    w4a8.operand(q, { scale: 1, offset: zero[Math.floor(i / p.K)]! }, 'register'),
  )
  return scaledProduct(weights, p)
}

/** `gemmW4A8Group` on the host, bit for bit: codes [N, K], group scales and minima [K / 128, N]. */
export function gemmW4A8GroupReference(
  codes: Uint8Array,
  groupScale: Uint8Array,
  groupMin: Int8Array,
  p: ScaledProduct,
): Uint16Array {
  const weights = Int8Array.from(codes, (q, i) => {
    const at = Math.floor((i % p.K) / w4a8g128.group) * p.N + Math.floor(i / p.K)
    return w4a8g128.operand(q, { scale: groupScale[at]!, offset: groupMin[at]! }, 'register')
  })
  return scaledProduct(weights, p)
}
