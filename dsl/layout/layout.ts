import type { DrawAs } from './draw.ts'
import { draw } from './draw.ts'
import { LayoutError } from './error.ts'
import type { Coord, IntTuple } from './int-tuple.ts'
import { compactStride, congruent, formatTuple, frozen, isTuple, leaves, productOf } from './int-tuple.ts'
import { flatModes } from './modes.ts'
import type { Arithmetic } from './plan.ts'
import { applyLayout, foldTerms, inRange, misfit, offsetPlan, outside } from './plan.ts'
import type { Swizzle } from './swizzle.ts'
import { swizzleOffset } from './swizzle.ts'

/**
 * A function from coordinates to offsets: a nested shape, a stride of the same nesting, and an optional xor swizzle
 * of the sum. Call it with one coordinate per mode (each an integer, or a list for a nested mode) or with a single
 * flat index over all modes, first mode fastest. Layouts are immutable, and equal ones have equal ids.
 */
export interface Layout {
  (...coords: Coord<number>[]): number
  readonly shape: IntTuple
  readonly stride: IntTuple
  readonly swizzle: Swizzle | undefined
  /** `((8,2),4):((1,16),8)`, or `Sw<3,4,3>o(8,128):(128,1)`; `parseLayout` reads it back. */
  readonly id: string
  /** Modes at the top level; 1 for a bare extent. */
  readonly rank: number
  /** Coordinates. */
  readonly size: number
  /** One more than the largest offset; with a swizzle, rounded up to the run of offsets that it permutes. */
  readonly cosize: number
  /** The offset of coordinates that are numbers or values of `arithmetic`; see `applyLayout`. */
  apply<T>(coords: readonly Coord<T | number>[], arithmetic: Arithmetic<T>): T
  /** A table of offsets as text or as SVG; see `draw`. */
  draw(as?: DrawAs): string
  toString(): string
  /** The id, so that a layout among a kernel's constants takes part in JSON and in cache keys. */
  toJSON(): string
}

/**
 * A layout from its shape and stride. Without a stride it is compact with the first mode fastest (column-major).
 *
 * @throws LayoutError if an extent is not a positive integer, a stride is not an integer from 0, the two nest
 *   differently, or the offsets exceed 2^53 (2^31 with a swizzle).
 */
export function layout(shape: IntTuple, stride?: IntTuple, swizzle?: Swizzle): Layout {
  const fail = (condition: string) => {
    const operands = [formatTuple(shape), ...(stride === undefined ? [] : [formatTuple(stride)])]
    return new LayoutError('layout', operands, condition)
  }
  const strides = stride ?? compactStride(shape)
  const bad = leaves(shape).find((n) => !Number.isInteger(n) || n < 1)
  if (bad !== undefined) throw fail(`extent ${bad} is not a positive integer`)
  if (hasEmpty(shape)) throw fail('a shape has at least one extent at every level')
  if (!congruent(shape, strides)) throw fail('shape and stride must nest alike')
  const badStride = leaves(strides).find((n) => !Number.isInteger(n) || n < 0)
  if (badStride !== undefined) throw fail(`stride ${badStride} is not an integer from 0`)
  return build(frozen(shape), frozen(strides), swizzle, fail)
}

/** The compact layout of a shape whose last mode varies fastest, as in a C array. */
export function rowMajor(shape: readonly IntTuple[]): Layout {
  const reversed = compactStride([...shape].reverse().map(reverse))
  return layout(shape, reverse(reversed))
}

const hasEmpty = (t: IntTuple): boolean => isTuple(t) && (t.length === 0 || t.some(hasEmpty))

const reverse = (t: IntTuple): IntTuple => (isTuple(t) ? [...t].reverse().map(reverse) : t)

/** The same shape and stride under another swizzle, or none. */
export const swizzled = (l: Layout, swizzle: Swizzle | undefined): Layout =>
  layout(l.shape, l.stride, swizzle)

/** Mode `i` on its own: the offsets when all other coordinates are 0. */
export function mode(l: Layout, i: number): Layout {
  if (!inRange(i, l.rank)) throw new LayoutError('mode', [l, i], `the layout has modes 0 to ${l.rank - 1}`)
  if (!isTuple(l.shape) || !isTuple(l.stride)) return l
  return layout(l.shape[i]!, l.stride[i]!, l.swizzle)
}

/** All modes of a layout, each on its own. */
export const modesOf = (l: Layout): Layout[] => Array.from({ length: l.rank }, (_, i) => mode(l, i))

/** A layout whose modes are the given layouts. */
export function concat(...layouts: readonly Layout[]): Layout {
  if (layouts.some((l) => l.swizzle)) {
    throw new LayoutError('concat', layouts, 'swizzled layouts do not add up; join first, then swizzle')
  }
  return layout(
    layouts.map((l) => l.shape),
    layouts.map((l) => l.stride),
  )
}

const brand = Symbol('layout')

export const isLayout = (value: unknown): value is Layout => typeof value === 'function' && brand in value

function build(
  shape: IntTuple,
  stride: IntTuple,
  swizzle: Swizzle | undefined,
  fail: (condition: string) => LayoutError,
): Layout {
  const size = productOf(shape)
  const last = flatModes(shape, stride).reduce((sum, m) => sum + (m.extent - 1) * m.stride, 0)
  if (!Number.isSafeInteger(size) || !Number.isSafeInteger(last)) throw fail('its offsets exceed 2^53')
  if (swizzle && last >= 2 ** 31) throw fail('offsets under a swizzle must stay below 2^31')
  const id = `${swizzle ? `${swizzle.id}o` : ''}${formatTuple(shape)}:${formatTuple(stride)}`
  const extents = isTuple(shape) ? shape.map(productOf) : [size]
  const plan = offsetPlan({ shape, stride, swizzle })
  const whole = offsetPlan({ shape: [shape], stride: [stride], swizzle }).modes

  const offset = (...coords: Coord<number>[]): number => {
    const terms = coords.length === 1 ? whole : plan.modes
    const limits = coords.length === 1 ? [size] : extents
    if (coords.length !== limits.length) throw misfit(value, coords)
    let sum = 0
    for (let i = 0; i < coords.length; i++) {
      const coord = coords[i]!
      if (typeof coord !== 'number') return applyLayout(value, coords, numbers)
      if (!inRange(coord, limits[i]!)) throw outside(value, coord, limits[i]!)
      sum += foldTerms(terms[i]!, coord)
    }
    return swizzle ? swizzleOffset(swizzle, sum) : sum
  }
  const value: Layout = Object.defineProperties(offset, {
    shape: { value: shape, enumerable: true },
    stride: { value: stride, enumerable: true },
    swizzle: { value: swizzle, enumerable: true },
    id: { value: id, enumerable: true },
    rank: { value: extents.length },
    size: { value: size },
    cosize: { value: swizzle ? swizzledCosize(last, swizzle) : last + 1 },
    apply: {
      value: <T>(coords: readonly Coord<T | number>[], ar: Arithmetic<T>) => applyLayout(value, coords, ar),
    },
    draw: { value: (as?: DrawAs) => draw(value, as) },
    toString: { value: () => id },
    toJSON: { value: () => id },
    [Symbol.for('nodejs.util.inspect.custom')]: { value: () => id },
    [brand]: { value: true },
  }) as unknown as Layout
  return Object.freeze(value)
}

function swizzledCosize(last: number, s: Swizzle): number {
  if (last < 2 ** (s.base + s.shift)) return last + 1
  const run = 2 ** (s.base + s.bits)
  return Math.ceil((last + 1) / run) * run
}

const numbers: Arithmetic<number> = {
  constant: (value) => value,
  add: (a, b) => a + b,
  mul: (a, by) => a * by,
  div: (a, by) => Math.floor(a / by),
  mod: (a, by) => a % by,
  and: (a, mask) => a & mask,
  shiftRight: (a, bits) => a >>> bits,
  xor: (a, b) => a ^ b,
}
