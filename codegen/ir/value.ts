import { bf16Bits, bf16Value, f16Bits, f16Value } from '../../dsl/half.ts'
import type { Immediate, Operand, ValueType } from './op.ts'

/** Facts about the types of registers, and immediates in their normal form. */

/** Bits that a value of the type carries; an 8-bit value sits in the low half of a 16-bit register. */
export const valueBits: Readonly<Record<ValueType, number>> = {
  bool: 1,
  i8: 8,
  u8: 8,
  f16: 16,
  bf16: 16,
  i32: 32,
  u32: 32,
  f32: 32,
  f16x2: 32,
  bf16x2: 32,
  address: 64,
  u64: 64,
}

export const isInteger = (type: ValueType): boolean => type === 'i32' || type === 'u32'

/** Whether two types have the same width, so that a `bitcast` goes between them. */
export const sameWidth = (a: ValueType, b: ValueType): boolean => valueBits[a] === valueBits[b]

/** Whether PTX has the same registers for both types, so that a `bitcast` between them changes nothing. */
export const sameClass = (a: ValueType, b: ValueType): boolean =>
  sameWidth(a, b) && (a === 'f32') === (b === 'f32')

/**
 * The value in the type's normal form: integers wrapped to their width, floats rounded to nearest even, `bool` 0 or 1.
 * A packed pair is given and kept as its 32 bits, lower half first; an `address` is a byte offset.
 */
export function normalize(type: ValueType, value: number): number {
  switch (type) {
    case 'bool':
      return value ? 1 : 0
    case 'i8':
      return (value << 24) >> 24
    case 'u8':
      return value & 0xff
    case 'i32':
      return value | 0
    case 'u32':
    case 'f16x2':
    case 'bf16x2':
      return value >>> 0
    case 'f32':
      return Math.fround(value)
    case 'f16':
      return f16Value(f16Bits(value))
    case 'bf16':
      return bf16Value(bf16Bits(value))
    case 'address':
    case 'u64':
      return value
  }
}

export function immediate(type: ValueType, value: number): Immediate {
  return { kind: 'immediate', type, value: normalize(type, value) }
}

const f32View = new Float32Array(1)
const u32View = new Uint32Array(f32View.buffer)

/** The bits of a value in its normal form, as an unsigned number of the type's width. */
export function bitsOf(type: ValueType, value: number): number {
  switch (type) {
    case 'f32':
      f32View[0] = value
      return u32View[0]!
    case 'f16':
      return f16Bits(value)
    case 'bf16':
      return bf16Bits(value)
    case 'i8':
      return value & 0xff
    case 'address':
    case 'u64':
      return value
    default:
      return value >>> 0
  }
}

/** The value of a type whose bits are given: the inverse of `bitsOf`. */
export function valueOfBits(type: ValueType, bits: number): number {
  switch (type) {
    case 'f32':
      u32View[0] = bits
      return f32View[0]!
    case 'f16':
      return f16Value(bits)
    case 'bf16':
      return bf16Value(bits)
    default:
      return normalize(type, bits)
  }
}

/** Whether two operands are the same register, or immediates of the same type and bits. */
export function sameOperand(a: Operand, b: Operand): boolean {
  if (a === b) return true
  if (a.kind === 'register') return b.kind === 'register' && a.id === b.id
  return b.kind === 'immediate' && a.type === b.type && Object.is(a.value, b.value)
}
