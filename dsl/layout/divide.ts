import { complement } from './complement.ts'
import type { Tiler } from './compose.ts'
import { compose, formatTiler } from './compose.ts'
import { during, LayoutError } from './error.ts'
import type { Layout } from './layout.ts'
import { concat, isLayout, layout, mode, modesOf, swizzled } from './layout.ts'

/**
 * Splits `l` in two modes: the elements that `tiler` picks (the tile), and the repetitions of the tile that make up
 * the rest; CuTe's `logical_divide`. A list of tilers splits each of the first modes that way, and modes after them
 * stay: `((TileM,RestM),(TileN,RestN),L,...)`.
 *
 * @throws LayoutError if the tiles do not fill `l` exactly, or where `compose` or `complement` would.
 */
export function divide(l: Layout, tiler: Tiler): Layout {
  return during('divide', [l, formatTiler(tiler)], () => divided(l, tiler))
}

function divided(l: Layout, tiler: Tiler): Layout {
  if (typeof tiler === 'number') return divided(l, layout(tiler, 1))
  if (isLayout(tiler)) return compose(l, concat(tiler, complement(tiler, l.size)))
  checkRank(l, tiler)
  const parts = modesOf(swizzled(l, undefined)).map((m, i) => (i < tiler.length ? divided(m, tiler[i]!) : m))
  return swizzled(concat(...parts), l.swizzle)
}

/**
 * The same split with the tile in one mode and the rest in the other: `((TileM,TileN),(RestM,RestN,L,...))`, so that
 * `mode(result, 0)` is a tile and `result(0, [i, j])` the offset of tile `(i, j)`.
 */
export function zippedDivide(l: Layout, tiler: Tiler): Layout {
  return during('zippedDivide', [l, formatTiler(tiler)], () => {
    const { tile, rest } = split(swizzled(l, undefined), tiler)
    return swizzled(concat(tile, rest), l.swizzle)
  })
}

/** The same split with the rest unpacked: `((TileM,TileN),RestM,RestN,L,...)`. */
export function tiledDivide(l: Layout, tiler: Tiler): Layout {
  return during('tiledDivide', [l, formatTiler(tiler)], () => {
    const { tile, rest } = split(swizzled(l, undefined), tiler)
    return swizzled(concat(tile, ...modesOf(rest)), l.swizzle)
  })
}

function split(l: Layout, tiler: Tiler): { tile: Layout; rest: Layout } {
  if (typeof tiler === 'number' || isLayout(tiler)) {
    const both = divided(l, tiler)
    return { tile: mode(both, 0), rest: mode(both, 1) }
  }
  checkRank(l, tiler)
  const modes = modesOf(l)
  const parts = tiler.map((t, i) => split(modes[i]!, t))
  return {
    tile: concat(...parts.map((p) => p.tile)),
    rest: concat(...parts.map((p) => p.rest), ...modes.slice(tiler.length)),
  }
}

function checkRank(l: Layout, tiler: readonly Tiler[]): void {
  if (tiler.length > 0 && tiler.length <= l.rank) return
  throw new LayoutError(
    'divide',
    [l],
    `a list of ${tiler.length} tilers does not fit a layout of rank ${l.rank}`,
  )
}
