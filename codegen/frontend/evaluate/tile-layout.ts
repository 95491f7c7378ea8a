import type { DType } from '../../../dsl/dtype.ts'
import { dtypeBytes } from '../../../dsl/dtype.ts'
import type { Layout } from '../../../dsl/layout/index.ts'
import { swizzledTile } from '../../../dsl/layout/index.ts'

/** What vector accesses need to know of a tile's layout, in elements of its last dimension. */
export interface Neighbours {
  /** From a multiple of it on, so many elements lie side by side; infinite if whole rows do. */
  readonly contiguous: number
  /** A power of two by which every such start is aligned, 16 at most. */
  readonly aligned: number
}

/** Looks at the offsets along the last dimension, and at the strides of the others. */
export function neighboursOf(layout: Layout, shape: readonly number[]): Neighbours {
  const last = shape.at(-1)!
  const zeros = shape.slice(0, -1).map(() => 0)
  let side = 1
  const start = layout(...zeros, 0)
  while (side < last && layout(...zeros, side) === start + side) side++
  const whole = side === last
  const bounded = layout.swizzle ? Math.min(side, 2 ** layout.swizzle.base) : side
  const contiguous = whole && bounded === side ? Number.POSITIVE_INFINITY : powerOfTwoIn(bounded)
  const limits = [...leadingStrides(layout), ...(contiguous < last ? [contiguous] : [])]
  return { contiguous, aligned: Math.min(16, ...limits.map(powerOfTwoIn)) }
}

function leadingStrides(layout: Layout): number[] {
  const leaves = (t: unknown): number[] => (Array.isArray(t) ? t.flatMap(leaves) : [t as number])
  return Array.isArray(layout.stride) ? leaves(layout.stride.slice(0, -1)) : []
}

/** The largest power of two that divides a number, 2^30 at most (and for 0). */
export function powerOfTwoIn(n: number): number {
  let p = 1
  while (p < 2 ** 30 && n % (p * 2) === 0) p *= 2
  return p
}

/** The bytes of a row of a `swizzledTile`, over which its chunks are swizzled; undefined for other layouts. */
export function swizzleOf(layout: Layout, shape: readonly number[], dtype: DType): 32 | 64 | 128 | undefined {
  if (!layout.swizzle || shape.length < 2 || shape.at(-2)! % 8 !== 0) return undefined
  const bytes = shape.at(-1)! * dtypeBytes[dtype]
  if (bytes !== 32 && bytes !== 64 && bytes !== 128) return undefined
  return layout.id === swizzledTile(shape, dtype).id ? bytes : undefined
}
