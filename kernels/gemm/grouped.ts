import type { ZeroHandling } from '../../dsl/format.ts'
import {
  type Elem,
  type f16,
  type f32,
  type In,
  type i8,
  type i32,
  kernel,
  type Out,
  type u8,
  type u32,
} from '../../dsl/index.ts'
import type { Dims } from '../../dsl/kernel.ts'
import { mostGroupTiles } from '../group-tiles.ts'
import type { ScaledProduct } from './reference.ts'
import { type W4A8GroupName, w4a8GroupParts, w4a8Parts } from './w4a8.ts'
import { w8a8Parts } from './w8a8.ts'
import { gemmWgmma, wgmmaGrid } from './wgmma.ts'
import { type WgmmaTiles, wgmmaCluster, wgmmaThreads } from './wgmma-plan.ts'
import type { WgmmaConfig } from './wgmma-product.ts'

/**
 * Products of a mixture of experts: out[m] is that of token m and the weights of its expert, as the product of the expert
 * alone gives it, bit for bit. Tokens are sorted by expert; `tiles` and `tileCount` are what `groupTiles` makes of the
 * experts' numbers of tokens, for tiles of `tokens`. One launch serves all experts, whatever the routing.
 */
export type GroupedConfig = Omit<WgmmaConfig, 'residual'>

interface GroupedArguments {
  scale: In<f16, 'Experts N'>
  x: In<i8, 'M K'>
  xScale: In<f32, 'M'>
  tiles: In<i32, 'Tiles 4'>
  tileCount: In<i32, '1'>
  bias?: In<Elem<'dtype'>, 'Experts N'>
  out: Out<Elem<'dtype'>, 'M N'>
}

const groupedOptions = {
  grid(d: Dims, t: WgmmaTiles): [number, number] {
    const most = mostGroupTiles(d.M!, d.Experts!, t.tokens)
    if (d.Tiles! < most) {
      throw new RangeError(
        `a list of ${d.Tiles} tiles is too short for ${d.M} tokens of ${d.Experts} experts by ${t.tokens}: ` +
          `give it room for ${most}`,
      )
    }
    return wgmmaGrid({ N: d.N!, M: most * t.tokens }, t)
  },
  block: (t: WgmmaTiles): [number] => [wgmmaThreads(t)],
  cluster: wgmmaCluster,
  blocksPerMultiprocessor: (t: WgmmaTiles): number => t.ctasPerMultiprocessor,
} as const

/** W4A8 with one scale a row, for each expert: see `gemmW4A8`. */
export const gemmW4A8Grouped = kernel(
  import.meta.url,
  groupedOptions,
  function gemmW4A8Grouped(
    a: GroupedArguments & {
      w: In<u32, 'Experts Strips Units Words', 'w4a8'>
      zero: In<u8, 'Experts N'>
      xSum: In<i32, 'M'>
    },
    c: GroupedConfig & { readonly zero: ZeroHandling },
  ) {
    gemmWgmma(a, { ...c, residual: false }, { ...w4a8Parts(a, c), list: a })
  },
)

/** W4A8 with groups of columns, for each expert: see `gemmW4A8Group`. */
export const gemmW4A8GroupGrouped = kernel(
  import.meta.url,
  groupedOptions,
  function gemmW4A8GroupGrouped(
    a: GroupedArguments & { w: In<u32, 'Experts Strips Units Words', 'w4a8-group'>; xSum: In<i32, 'M'> },
    c: GroupedConfig & { readonly zero: ZeroHandling; readonly format: W4A8GroupName },
  ) {
    gemmWgmma(a, { ...c, residual: false }, { ...w4a8GroupParts(a, c), list: a })
  },
)

/** W8A8, for each expert: see `gemmW8A8`. */
export const gemmW8A8Grouped = kernel(
  import.meta.url,
  groupedOptions,
  function gemmW8A8Grouped(
    a: GroupedArguments & { w: In<u32, 'Experts Strips Units Words', 'w8a8'> },
    c: GroupedConfig,
  ) {
    gemmWgmma(a, { ...c, residual: false }, { ...w8a8Parts(a, c), list: a })
  },
)

/** The operands of all experts; scales and bias [Experts, N]. */
export type GroupedProduct = Omit<ScaledProduct, 'residual'>

/** A grouped product on the host: that of each expert by `reference`, for experts with `counts` tokens. */
export function groupedReference(
  counts: readonly number[],
  p: GroupedProduct,
  reference: (expert: number, own: ScaledProduct) => Uint16Array,
): Uint16Array {
  const { N, K } = p
  const out = new Uint16Array(p.M * N)
  let first = 0
  for (const [expert, M] of counts.entries()) {
    const rows = [expert * N, (expert + 1) * N] as const
    const own = reference(expert, {
      ...p,
      M,
      x: p.x.subarray(first * K, (first + M) * K),
      xScale: p.xScale.subarray(first, first + M),
      scale: p.scale.subarray(...rows),
      bias: p.bias?.subarray(...rows),
    })
    out.set(own, first * N)
    first += M
  }
  return out
}
