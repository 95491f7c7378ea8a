import { LayoutError } from './error.ts'

/**
 * An xor of offset bits, CuTe's `Swizzle<B, M, S>`: the `bits` bits that start at bit `base + shift` of an offset are
 * xored onto the `bits` bits that start at bit `base`. It is a bijection and its own inverse, and it leaves aligned
 * runs of 2^base offsets together.
 */
export interface Swizzle {
  readonly bits: number
  readonly base: number
  readonly shift: number
  /** `Sw<3,4,3>`. */
  readonly id: string
  /** The bits that are read: `offset ^ ((offset & mask) >> shift)`. */
  readonly mask: number
}

/** @throws LayoutError unless `1 <= bits <= shift`, `base >= 0` and the bits read lie below bit 31. */
export function xorSwizzle(bits: number, base: number, shift: number): Swizzle {
  const fail = (condition: string) => new LayoutError('swizzle', [bits, base, shift], condition)
  if (![bits, base, shift].every((n) => Number.isInteger(n) && n >= 0)) {
    throw fail('bits, base and shift must be integers and not negative')
  }
  if (bits < 1) throw fail('a swizzle has at least one bit; for none, leave the swizzle out')
  if (shift < bits)
    throw fail(`shift ${shift} is less than ${bits} bits, so bits read and written would overlap`)
  if (base + shift + bits > 31) throw fail('the bits read must lie below bit 31')
  const id = `Sw<${bits},${base},${shift}>`
  return Object.freeze({
    bits,
    base,
    shift,
    id,
    mask: (2 ** bits - 1) * 2 ** (base + shift),
    toString: () => id,
  })
}

/**
 * The swizzle of a shared-memory tile whose rows are `bytes` bytes: 16-byte chunks of eight rows spread over the
 * banks. The three sizes are those that TMA and wgmma descriptors know (SWIZZLE_32B, _64B, _128B); 0 is none.
 *
 * @param elementBits bits of the element that offsets count; 8 means that offsets are bytes.
 */
export function swizzle(bytes: 0 | 32 | 64 | 128, elementBits = 8): Swizzle | undefined {
  if (bytes === 0) return undefined
  const fail = (condition: string) => new LayoutError('swizzle', [bytes, elementBits], condition)
  const bits = [32, 64, 128].indexOf(bytes) + 1
  if (bits === 0) throw fail('the row must have 0, 32, 64 or 128 bytes')
  const base = Math.log2(128 / elementBits)
  if (!Number.isInteger(base) || base < 0) throw fail('element bits must be a power of two up to 128')
  return xorSwizzle(bits, base, 3)
}

/** The swizzled offset, for offsets from 0 to 2^31 − 1. */
export const swizzleOffset = (s: Swizzle, offset: number): number => offset ^ ((offset & s.mask) >> s.shift)
