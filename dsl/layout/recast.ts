import { LayoutError } from './error.ts'
import type { IntTuple } from './int-tuple.ts'
import { isTuple } from './int-tuple.ts'
import type { Layout } from './layout.ts'
import { layout } from './layout.ts'
import type { Swizzle } from './swizzle.ts'
import { xorSwizzle } from './swizzle.ts'

/**
 * The same memory counted in elements of another width: a layout whose offsets count elements of `fromBits` becomes
 * one whose offsets count elements of `toBits`.
 *
 * To wider elements, the narrow ones that share a wide one merge into one coordinate. To narrower elements, the
 * contiguous mode (the first with stride 1) grows so that every part of every wide element has a coordinate.
 *
 * @throws LayoutError if neither width is a multiple of the other, if a wide element would be split between
 *   coordinates or shifted, or if there is no contiguous mode to grow.
 */
export function recast(l: Layout, fromBits: number, toBits: number): Layout {
  const fail: Fail = (condition) => new LayoutError('recast', [l, fromBits, toBits], condition)
  if (![fromBits, toBits].every((n) => Number.isInteger(n) && n > 0))
    throw fail('widths are positive bit counts')
  if (toBits % fromBits === 0) return widen(l, toBits / fromBits, fail)
  if (fromBits % toBits === 0) return narrow(l, fromBits / toBits, fail)
  throw fail('one width must be a multiple of the other')
}

type Fail = (condition: string) => LayoutError
type Pair = { shape: IntTuple; stride: IntTuple }

/** Applies `leaf` to every integer mode, keeping the nesting. */
function mapModes(shape: IntTuple, stride: IntTuple, leaf: (extent: number, stride: number) => Pair): Pair {
  if (!isTuple(shape) || !isTuple(stride)) return leaf(shape as number, stride as number)
  const parts = shape.map((s, i) => mapModes(s, stride[i]!, leaf))
  return { shape: parts.map((p) => p.shape), stride: parts.map((p) => p.stride) }
}

function widen(l: Layout, n: number, fail: Fail): Layout {
  let reach = 0
  const { shape, stride } = mapModes(l.shape, l.stride, (extent, step) => {
    if (extent === 1) return { shape: 1, stride: 0 }
    if (step % n === 0) return { shape: extent, stride: step / n }
    const run = extent * step
    if (n % step !== 0 || (run % n !== 0 && n % run !== 0)) {
      throw fail(`mode ${extent}:${step} does not fall into whole elements of ${n} old ones`)
    }
    reach += Math.min(run, n) - step
    return run <= n ? { shape: 1, stride: 0 } : { shape: run / n, stride: 1 }
  })
  if (reach >= n) throw fail(`its modes overlap inside an element of ${n} old ones`)
  return layout(shape, stride, l.swizzle && scaleSwizzle(l.swizzle, -Math.log2(n), fail))
}

function narrow(l: Layout, n: number, fail: Fail): Layout {
  let grown = false
  const { shape, stride } = mapModes(l.shape, l.stride, (extent, step) => {
    if (grown || step !== 1) return { shape: extent, stride: step * n }
    grown = true
    return { shape: extent * n, stride: 1 }
  })
  if (!grown) throw fail('it has no contiguous mode (stride 1) that could hold the parts of an element')
  return layout(shape, stride, l.swizzle && scaleSwizzle(l.swizzle, Math.log2(n), fail))
}

function scaleSwizzle(s: Swizzle, by: number, fail: Fail): Swizzle {
  if (!Number.isInteger(by)) throw fail('a swizzled layout recasts by powers of two alone')
  if (s.base + by < 0) throw fail(`swizzle ${s.id} moves parts of the wider elements apart`)
  return xorSwizzle(s.bits, s.base + by, s.shift)
}
