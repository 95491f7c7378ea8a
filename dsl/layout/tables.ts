import { LayoutError } from './error.ts'
import { isTuple, productOf } from './int-tuple.ts'
import type { Layout } from './layout.ts'
import { foldTerms, offsetPlan } from './plan.ts'

/**
 * One table per mode with `l(i, j, ...) = tables[0][i] + tables[1][j] + ...`: the fast way to walk a whole tensor, as
 * packers do.
 *
 * @throws LayoutError if `l` is swizzled, because its offsets are not such a sum.
 */
export function offsetTables(l: Layout): Float64Array[] {
  if (l.swizzle)
    throw new LayoutError('offsetTables', [l], 'the offsets of a swizzled layout are not a sum over modes')
  const extents = isTuple(l.shape) ? l.shape.map(productOf) : [l.size]
  return offsetPlan(l).modes.map((terms, m) =>
    Float64Array.from({ length: extents[m]! }, (_, i) => foldTerms(terms, i)),
  )
}
