import { isTuple } from './int-tuple.ts'
import type { Layout } from './layout.ts'
import { concat, layout, modesOf, swizzled } from './layout.ts'
import { coalesceModes, flatModes, tupleOfModes } from './modes.ts'

/** The simplest layout that is the same function of a flat index: same size, depth at most one, fewest modes. */
export function coalesce(l: Layout): Layout {
  const { shape, stride } = tupleOfModes(coalesceModes(flatModes(l.shape, l.stride)))
  return layout(shape, stride, l.swizzle)
}

/** Coalesces each mode on its own, so the rank, and the meaning of one integer per mode, stay. */
export function coalesceModewise(l: Layout): Layout {
  if (!isTuple(l.shape)) return coalesce(l)
  const modes = modesOf(swizzled(l, undefined)).map(coalesce)
  return swizzled(concat(...modes), l.swizzle)
}

/** The layout without nesting: one mode per integer of the shape. */
export function flatten(l: Layout): Layout {
  const modes = flatModes(l.shape, l.stride)
  return layout(
    modes.map((m) => m.extent),
    modes.map((m) => m.stride),
    l.swizzle,
  )
}
