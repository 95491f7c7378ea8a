import fc from 'fast-check'
import type { Coord, IntTuple, Layout } from '../../dsl/layout/index.ts'
import { LayoutError, layout, swizzled, xorSwizzle } from '../../dsl/layout/index.ts'

/** Layouts for property tests: nested, small enough to enumerate. The seed is fixed so that a failure repeats. */
fc.configureGlobal({ seed: 20_260_411, numRuns: 400 })

/** A shape of up to three levels whose integers come from `extent`. */
function shapes(extent: fc.Arbitrary<number>): fc.Arbitrary<IntTuple> {
  const inner = fc.oneof(extent, fc.array(extent, { minLength: 1, maxLength: 2 }))
  const middle = fc.oneof(extent, fc.array(inner, { minLength: 1, maxLength: 2 }))
  return fc.oneof(
    { arbitrary: extent, weight: 1 },
    { arbitrary: fc.array(middle, { minLength: 1, maxLength: 3 }), weight: 5 },
  )
}

export const leavesOf = (t: IntTuple): number[] => (typeof t === 'number' ? [t] : t.flatMap(leavesOf))

/** A tuple nested like `shape` with the given integers. */
function nestLike(shape: IntTuple, values: readonly number[]): IntTuple {
  let next = 0
  const visit = (t: IntTuple): IntTuple => (typeof t === 'number' ? values[next++]! : t.map(visit))
  return visit(shape)
}

const extents = fc.constantFrom(1, 2, 2, 3, 4, 4, 5, 6, 8)
const strides = fc.constantFrom(0, 1, 1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 48, 64)

/** Any layout of at most 1024 coordinates, strides at random: holes, overlaps and broadcasts included. */
export const anyLayout: fc.Arbitrary<Layout> = shapes(extents)
  .filter((shape) => leavesOf(shape).reduce((a, b) => a * b, 1) <= 1024)
  .chain((shape) => {
    const n = leavesOf(shape).length
    return fc
      .array(strides, { minLength: n, maxLength: n })
      .map((values) => layout(shape, nestLike(shape, values)))
  })

/** A bijection onto 0 ... size − 1: compact strides with the modes in random order. */
export const compactLayout: fc.Arbitrary<Layout> = shapes(extents)
  .filter((shape) => leavesOf(shape).reduce((a, b) => a * b, 1) <= 1024)
  .chain((shape) => {
    const flat = leavesOf(shape)
    return fc
      .shuffledSubarray(
        flat.map((_, i) => i),
        { minLength: flat.length },
      )
      .map((order) => {
        const values: number[] = []
        let step = 1
        for (const i of order) {
          values[i] = step
          step *= flat[i]!
        }
        return layout(shape, nestLike(shape, values))
      })
  })

/** An injective layout: a compact one with some modes left out, so that it has holes. */
export const holeyLayout: fc.Arbitrary<Layout> = compactLayout.chain((l) => {
  const [flat, steps] = [leavesOf(l.shape), leavesOf(l.stride)]
  return fc
    .array(fc.integer({ min: 1, max: 3 }), { minLength: flat.length, maxLength: flat.length })
    .map((gaps) => {
      const order = steps.map((_, i) => i).sort((a, b) => steps[a]! - steps[b]! || flat[a]! - flat[b]!)
      const values: number[] = []
      let span = 1
      for (const i of order) {
        values[i] = span * gaps[i]!
        span = values[i]! * flat[i]!
      }
      return layout(l.shape, nestLike(l.shape, values))
    })
})

export const anySwizzle = fc
  .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 3 }))
  .map(([bits, base, extra]) => xorSwizzle(bits, base, bits + extra))

export const swizzledLayout = fc.tuple(anyLayout, anySwizzle).map(([l, s]) => swizzled(l, s))

/** Every offset in the order of the flat index. */
export const offsets = (l: Layout): number[] => Array.from({ length: l.size }, (_, i) => l(i))

/** The offset of a coordinate by the definition: each integer of the coordinate times its stride. */
export function offsetByDefinition(shape: IntTuple, stride: IntTuple, coord: Coord<number>): number {
  if (typeof shape === 'number') return (coord as number) * (stride as number)
  let index = typeof coord === 'number' ? coord : 0
  let offset = 0
  for (const [i, s] of shape.entries()) {
    const size = leavesOf(s).reduce((a, b) => a * b, 1)
    const part = typeof coord === 'number' ? index % size : (coord as readonly Coord<number>[])[i]!
    index = Math.floor(index / size)
    offset += offsetByDefinition(s, (stride as readonly IntTuple[])[i]!, part)
  }
  return offset
}

/** The nested coordinate of a flat index. */
export function coordOf(shape: IntTuple, index: number): Coord<number> {
  if (typeof shape === 'number') return index
  return shape.map((s) => {
    const size = leavesOf(s).reduce((a, b) => a * b, 1)
    const part = coordOf(s, index % size)
    index = Math.floor(index / size)
    return part
  })
}

/** The result, or undefined where the operation refuses its operands; any other error passes through. */
export function attempt<T>(operation: () => T): T | undefined {
  try {
    return operation()
  } catch (error) {
    if (error instanceof LayoutError) return undefined
    throw error
  }
}

/** The condition of the LayoutError that `operation` throws. */
export function refusal(operation: () => unknown): LayoutError {
  try {
    operation()
  } catch (error) {
    if (error instanceof LayoutError) return error
    throw error
  }
  throw new Error('the operation accepted its operands')
}
