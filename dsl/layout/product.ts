import { gaps } from './complement.ts'
import { compose } from './compose.ts'
import { during, LayoutError } from './error.ts'
import { isTuple } from './int-tuple.ts'
import type { Layout } from './layout.ts'
import { concat, layout, modesOf, swizzled } from './layout.ts'
import { coalesceModes, tupleOfModes } from './modes.ts'

/**
 * Repeats `tile` in the arrangement that `tiling` gives: mode 0 of the result is `tile`, mode 1 has the coordinates of
 * `tiling` and leads to distinct copies; CuTe's `logical_product`. A swizzle of `tile` stays on the result, and so does
 * padding between its rows.
 *
 * @throws LayoutError where `complement` of the tile or `compose` with it would, or if `tiling` is swizzled.
 */
export function product(tile: Layout, tiling: Layout): Layout {
  return during('product', [tile, tiling], () => {
    const bare = swizzled(tile, undefined)
    return swizzled(concat(bare, compose(repetitions(bare, tiling.cosize), tiling)), tile.swizzle)
  })
}

/**
 * The product with equal modes brought together: mode `i` of the result runs through mode `i` of the tile and then
 * through mode `i` of the tiling, so a tile stays a contiguous block of rows and columns.
 *
 * @throws LayoutError as `product`, or if the ranks differ.
 */
export function blockedProduct(tile: Layout, tiling: Layout): Layout {
  return during('blockedProduct', [tile, tiling], () => {
    if (tile.rank !== tiling.rank) {
      throw new LayoutError('blockedProduct', [], `the ranks differ: ${tile.rank} and ${tiling.rank}`)
    }
    const bare = swizzled(tile, undefined)
    const arranged = compose(repetitions(bare, tiling.cosize), tiling)
    const copies = isTuple(tiling.shape) ? modesOf(arranged) : [arranged]
    return swizzled(concat(...modesOf(bare).map((m, i) => concat(m, copies[i]!))), tile.swizzle)
  })
}

/** A layout of at least `copies` offsets at which a copy of the tile meets no other, holes of the tile first. */
function repetitions(tile: Layout, copies: number): Layout {
  const { modes, span } = gaps(tile)
  const inside = modes.reduce((n, m) => n * m.extent, 1)
  const beyond = { extent: Math.ceil(copies / inside), stride: span }
  const { shape, stride } = tupleOfModes(coalesceModes([...modes, beyond]))
  return layout(shape, stride)
}
