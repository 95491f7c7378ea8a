/**
 * Scalar types of device values: flavoured numbers, so that operators work in the editor and passing an `i32` where an
 * `f32` is due is an error there. What TypeScript cannot see (the type of `a * i`) the compiler's own checker reports.
 */

declare const flavor: unique symbol
type Flavor<Name extends string> = number & { readonly [flavor]?: Name }

export type f32 = Flavor<'f32'>
export type f16 = Flavor<'f16'>
export type bf16 = Flavor<'bf16'>
export type i32 = Flavor<'i32'>
export type u32 = Flavor<'u32'>
/** Storage types: convert with `i32(v)` or `f32(v)` before arithmetic. */
export type i8 = Flavor<'i8'>
export type u8 = Flavor<'u8'>
/** 8-bit floats of 4 and 3, and of 5 and 2 bits of exponent and mantissa. Storage types. */
export type e4m3 = Flavor<'e4m3'>
export type e5m2 = Flavor<'e5m2'>
/** Two 16-bit floats in one 32-bit register, lower half first. `+ - *` and `fma` work lane by lane. */
export type f16x2 = Flavor<'f16x2'>
export type bf16x2 = Flavor<'bf16x2'>

declare const element: unique symbol
/**
 * A value of the element type that the constant `Name` of the configuration spells (`'f16'`, `'bf16'`, …), or, where the
 * configuration leaves `Name` out, the constant `Else`.
 */
export type Elem<Name extends string, Else extends string = Name> = number & {
  readonly [element]?: readonly [Name, Else]
}

export type Scalar = f32 | f16 | bf16 | i32 | u32 | i8 | u8 | f16x2 | bf16x2

/** Names a function that exists on the device only; calling it on the host is an error that says so. */
export function deviceOnly(name: string): never {
  throw new Error(
    `${name} exists only inside a kernel; kernels run through prepare() or launch(), never as JavaScript`,
  )
}

interface Conversion<T> {
  /** Converts by value. Float to integer truncates towards zero; narrower floats round to nearest even. */
  (value: number | boolean): T
  /** The value whose bits are those of `value`, which must have the same width. */
  bits(value: number): T
}

interface IntegerConversion<T> extends Conversion<T> {
  /** Rounds a float to the nearest even integer, saturating. */
  round(value: f32 | f16): T
}

interface ByteConversion<T> extends Conversion<T> {
  /** Converts an `f32` (rounding to nearest even) or an `i32`, saturating at the type's bounds. */
  sat(value: f32 | i32): T
}

interface FloatConversion<T> extends Conversion<T> {
  /** The most negative finite value. */
  readonly lowest: T
}

function conversion<C>(name: string): C {
  const members: Record<string, unknown> = {}
  for (const member of ['bits', 'round', 'sat']) members[member] = () => deviceOnly(`${name}.${member}`)
  return Object.assign(() => deviceOnly(name), members) as C
}

export const f32: FloatConversion<f32> = conversion('f32')
export const f16: FloatConversion<f16> = conversion('f16')
export const bf16: FloatConversion<bf16> = conversion('bf16')
export const i32: IntegerConversion<i32> = conversion('i32')
export const u32: IntegerConversion<u32> = conversion('u32')
export const i8: ByteConversion<i8> = conversion('i8')
export const u8: ByteConversion<u8> = conversion('u8')
export const f16x2: Conversion<f16x2> = conversion('f16x2')
export const bf16x2: Conversion<bf16x2> = conversion('bf16x2')
