import { f32, fma, type i32 } from '../../dsl/index.ts'

/**
 * Integers to floats, rounded to nearest as `f32(x)` does, by four operations of the full and the half rate: the conversion
 * instruction has a fraction of either, and there are two of them for each score and column.
 *
 * Added to a float whose last bit counts 1, an integer is the float's lower bits. That is done with the integer's upper
 * bits and with its lowest eight; the first float is then multiplied and freed of both biases, exactly, and one addition
 * rounds.
 */

/** 1.5 · 2^23 and its bits: for integers of 22 bits and a sign. */
const SIGNED = 12582912
const SIGNED_BITS = 0x4b400000

/** 2^23 and its bits: for integers of 23 bits. */
const UNSIGNED = 8388608
const UNSIGNED_BITS = 0x4b000000

/** `f32(x)` for −2^30 ≤ x < 2^30. */
export const floatOfSigned = (x: i32): f32 =>
  fma(f32.bits((x >> 8) + SIGNED_BITS), f32(256), f32(-257 * SIGNED)) + f32.bits((x & 255) | SIGNED_BITS)

/** `f32(x)` for x ≥ 0. */
export const floatOfUnsigned = (x: i32): f32 =>
  fma(f32.bits((x >> 8) + UNSIGNED_BITS), f32(256), f32(-257 * UNSIGNED)) +
  f32.bits((x & 255) | UNSIGNED_BITS)
