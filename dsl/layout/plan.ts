import { LayoutError } from './error.ts'
import type { Coord, IntTuple } from './int-tuple.ts'
import { isTuple, productOf } from './int-tuple.ts'
import { coalesceModes, flatModes } from './modes.ts'
import type { Swizzle } from './swizzle.ts'
import { swizzleOffset } from './swizzle.ts'

/** One summand of an offset: `(coordinate / divisor % modulus) * stride`. */
export interface Term {
  readonly divisor: number
  readonly modulus: number
  readonly stride: number
  /** False for the last digit of a coordinate: an in-range coordinate needs no `% modulus` there. */
  readonly wraps: boolean
}

/** How an offset follows from one coordinate per mode: the sum of all terms, then the swizzle. */
export interface OffsetPlan {
  readonly modes: readonly (readonly Term[])[]
  readonly swizzle: { readonly mask: number; readonly shift: number } | undefined
}

/** The parts of a layout that decide its offsets. */
export interface Offsets {
  readonly shape: IntTuple
  readonly stride: IntTuple
  readonly swizzle: Swizzle | undefined
}

/**
 * What evaluating a layout needs of a value. Coordinates are never negative and second operands are constants, so
 * `div`, `mod` and `shiftRight` may be unsigned and `mul` by a power of two a shift.
 */
export interface Arithmetic<T> {
  constant(value: number): T
  add(a: T, b: T): T
  mul(a: T, by: number): T
  div(a: T, by: number): T
  mod(a: T, by: number): T
  and(a: T, mask: number): T
  shiftRight(a: T, bits: number): T
  xor(a: T, b: T): T
}

/** The terms of one integer coordinate of a (nested) mode. */
function termsOf(shape: IntTuple, stride: IntTuple): Term[] {
  const modes = coalesceModes(flatModes(shape, stride))
  let divisor = 1
  const terms = modes.map((m, i) => {
    const term = { divisor, modulus: m.extent, stride: m.stride, wraps: i < modes.length - 1 }
    divisor *= m.extent
    return term
  })
  return terms.filter((t) => t.stride !== 0)
}

/** The plan for one integer coordinate per mode; a layout of a bare extent has one mode. */
export function offsetPlan(l: Offsets): OffsetPlan {
  const modes =
    isTuple(l.shape) && isTuple(l.stride)
      ? l.shape.map((s, i) => termsOf(s, (l.stride as readonly IntTuple[])[i]!))
      : [termsOf(l.shape, l.stride)]
  return { modes, swizzle: l.swizzle && { mask: l.swizzle.mask, shift: l.swizzle.shift } }
}

/**
 * The offset of a coordinate whose parts are numbers (folded here, and checked against the shape) or values of some
 * other kind, such as registers of a kernel (combined by `arithmetic`, and trusted to be in range).
 *
 * @param coords one coordinate per mode; or one for the whole, a flat index over all modes with the first fastest.
 * @throws LayoutError if the coordinate does not fit the shape.
 */
export function applyLayout<T>(
  l: Offsets,
  coords: readonly Coord<T | number>[],
  arithmetic: Arithmetic<T>,
): T {
  let base = 0
  let sum: T | undefined
  const visit = (shape: IntTuple, stride: IntTuple, coord: Coord<T | number>): void => {
    if (Array.isArray(coord)) {
      if (!isTuple(shape) || !isTuple(stride) || coord.length !== shape.length) throw misfit(l, coords)
      for (const [i, c] of coord.entries()) visit(shape[i]!, stride[i]!, c)
      return
    }
    const terms = termsOf(shape, stride)
    if (typeof coord === 'number') {
      if (!inRange(coord, productOf(shape))) throw outside(l, coord, productOf(shape))
      base += foldTerms(terms, coord)
      return
    }
    for (const term of terms) {
      const part = emitTerm(term, coord as T, arithmetic)
      sum = sum === undefined ? part : arithmetic.add(sum, part)
    }
  }
  const perMode = isTuple(l.shape) && coords.length === l.shape.length
  visit(l.shape, l.stride, perMode || coords.length !== 1 ? coords : coords[0]!)
  if (sum === undefined) return arithmetic.constant(l.swizzle ? swizzleOffset(l.swizzle, base) : base)
  const offset = base === 0 ? sum : arithmetic.add(sum, arithmetic.constant(base))
  if (!l.swizzle) return offset
  const read = arithmetic.and(offset, l.swizzle.mask)
  return arithmetic.xor(offset, arithmetic.shiftRight(read, l.swizzle.shift))
}

export const inRange = (coord: number, extent: number): boolean =>
  Number.isInteger(coord) && coord >= 0 && coord < extent

export function foldTerms(terms: readonly Term[], coord: number): number {
  let offset = 0
  for (const t of terms) {
    const digit = t.divisor === 1 ? coord : Math.floor(coord / t.divisor)
    offset += (t.wraps ? digit % t.modulus : digit) * t.stride
  }
  return offset
}

export const outside = (l: Offsets, coord: number, extent: number): LayoutError =>
  new LayoutError(
    'offset',
    [formatOffsets(l)],
    `coordinate ${coord} is not an integer from 0 to ${extent - 1}`,
  )

export const misfit = (l: Offsets, coords: readonly unknown[]): LayoutError =>
  new LayoutError(
    'offset',
    [formatOffsets(l)],
    `a coordinate with ${coords.length} parts does not fit the shape; give one per mode or one flat index`,
  )

const formatOffsets = (l: Offsets): string => ('id' in l ? String(l.id) : 'layout')

const isPowerOfTwo = (n: number): boolean => Number.isInteger(Math.log2(n))

/**
 * One term in as few operations as shifts and masks allow: a digit that starts at a power of two is masked in place,
 * and one multiplication or shift then moves it to its stride (none if it lies there already).
 */
function emitTerm<T>(t: Term, coord: T, ar: Arithmetic<T>): T {
  const scaled = (value: T, by: number): T => (by === 1 ? value : ar.mul(value, by))
  const shifted = (value: T, by: number): T => (by === 1 ? value : ar.shiftRight(value, Math.log2(by)))
  if (!isPowerOfTwo(t.divisor)) {
    const digit = ar.div(coord, t.divisor)
    return scaled(t.wraps ? ar.mod(digit, t.modulus) : digit, t.stride)
  }
  if (t.divisor === 1 && !t.wraps) return scaled(coord, t.stride)
  if (!isPowerOfTwo(t.modulus)) {
    const digit = shifted(coord, t.divisor)
    return scaled(t.wraps ? ar.mod(digit, t.modulus) : digit, t.stride)
  }
  const inPlace = t.stride % t.divisor === 0
  if (!t.wraps && !inPlace) return scaled(shifted(coord, t.divisor), t.stride)
  const mask = (t.modulus - 1) * t.divisor
  if (inPlace) return scaled(ar.and(coord, mask), t.stride / t.divisor)
  const masked = ar.and(coord, mask)
  if (t.divisor % t.stride === 0) return shifted(masked, t.divisor / t.stride)
  return scaled(shifted(masked, t.divisor), t.stride)
}
