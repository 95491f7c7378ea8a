import type { Bounds } from './values.ts'

/**
 * Interval arithmetic on 32-bit integers, so that indices are known not to be negative. An infinite maximum stands for
 * an extent (`blockIdx.x`, a dimension): sums and products of extents are trusted not to overflow, as no tensor has
 * more elements. A finite interval that leaves the type's range may have wrapped, and is forgotten.
 */

const low = -(2 ** 31)

/** The interval, or undefined where a value of the type may have wrapped. */
function checked(min: number, max: number, unsigned: boolean): Bounds | undefined {
  if (Number.isNaN(min) || Number.isNaN(max)) return undefined
  if (max !== Number.POSITIVE_INFINITY && max > (unsigned ? 2 ** 32 - 1 : 2 ** 31 - 1)) return undefined
  if (min < (unsigned ? 0 : low)) return undefined
  return { min, max }
}

/** 0 · ∞ is 0 here: an extent is finite, only unknown. */
const times = (a: number, b: number): number => (a === 0 || b === 0 ? 0 : a * b)

const bitsBelow = (n: number): number => (n >= 2 ** 31 ? 2 ** 32 - 1 : 2 ** (32 - Math.clz32(n)) - 1)

/** Bounds of `a op b`, or undefined if nothing better than the type's own is known. */
export function boundsOfBinary(op: string, a: Bounds, b: Bounds, unsigned: boolean): Bounds | undefined {
  const natural = a.min >= 0 && b.min >= 0
  switch (op) {
    case 'add':
      return checked(a.min + b.min, a.max + b.max, unsigned)
    case 'sub':
      return checked(a.min - b.max, a.max - b.min, unsigned)
    case 'mul': {
      const ends = [times(a.min, b.min), times(a.min, b.max), times(a.max, b.min), times(a.max, b.max)]
      return checked(Math.min(...ends), Math.max(...ends), unsigned)
    }
    case 'div':
      return natural && b.min > 0 ? { min: quotient(a.min, b.max), max: quotient(a.max, b.min) } : undefined
    case 'rem':
      return natural && b.min > 0 ? { min: 0, max: Math.min(a.max, b.max - 1) } : undefined
    case 'min':
      return { min: Math.min(a.min, b.min), max: Math.min(a.max, b.max) }
    case 'max':
      return { min: Math.max(a.min, b.min), max: Math.max(a.max, b.max) }
    case 'and':
      if (natural) return { min: 0, max: Math.min(a.max, b.max) }
      if (b.min >= 0) return { min: 0, max: b.max }
      return a.min >= 0 ? { min: 0, max: a.max } : undefined
    case 'or':
    case 'xor':
      if (!natural || !Number.isFinite(a.max + b.max))
        return natural ? { min: 0, max: Math.max(a.max, b.max) } : undefined
      return { min: 0, max: bitsBelow(Math.max(a.max, b.max)) }
    default:
      return undefined
  }
}

const quotient = (a: number, b: number): number =>
  a === Number.POSITIVE_INFINITY ? a : b === Number.POSITIVE_INFINITY ? 0 : Math.floor(a / b)

/** Bounds of a shift by a static count. */
export function boundsOfShift(
  direction: 'left' | 'right',
  a: Bounds,
  count: number,
  logical: boolean,
  unsigned: boolean,
): Bounds | undefined {
  if (direction === 'left') return boundsOfBinary('mul', a, { min: 2 ** count, max: 2 ** count }, unsigned)
  if (a.min >= 0) {
    return {
      min: Math.floor(a.min / 2 ** count),
      max: a.max === Number.POSITIVE_INFINITY ? a.max : Math.floor(a.max / 2 ** count),
    }
  }
  return logical && count > 0 ? { min: 0, max: 2 ** (32 - count) - 1 } : undefined
}
