import { roundHalfEven } from './math.ts'

/** Coefficients of 2^x = Σ (x·ln 2)^k / k!, which leaves less than 6e-9 of relative error for |x| ≤ ½ after x^7. */
export const EXP2_TERMS = [7, 6, 5, 4, 3, 2, 1].map((k) => {
  let factorial = 1
  for (let i = 2; i <= k; i++) factorial *= i
  return Math.LN2 ** k / factorial
})

/** Coefficients of 2^x, lowest first, by Remez's exchange: less than 8e-8 of relative error for |x| ≤ ½. */
export const EXP2_SHORT = [
  1, 0.6931469670576551, 0.24022119714258403, 0.05550713280390165, 0.009675541858000347, 0.001327647125569117,
]

/**
 * The first guess of 1 / x is the float whose bits are `RECIPROCAL_BITS` − the bits of x, and the second that times
 * `RECIPROCAL_STEP` − x · guess; both constants by search for the least error of the second, 1.5e-3.
 */
export const RECIPROCAL_BITS = 0x7ef3d800
export const RECIPROCAL_STEP = 2.001493

/** `exp2Exact` of the device library on the host, bit for bit. */
export function exp2ExactReference(x: number): number {
  const inRange = Math.min(Math.max(x, -127), 128)
  const whole = roundHalfEven(inRange)
  const part = inRange - whole
  const power = [...EXP2_TERMS, 1].map(Math.fround).reduce((sum, term) => fmaF32(sum, part, term))
  return whole === 128 ? power * Infinity : whole === -127 ? 0 : Math.fround(power * 2 ** whole)
}

/** `exp2Within` of the device library on the host, bit for bit. */
export function exp2WithinReference(x: number): number {
  const whole = roundHalfEven(x)
  const part = x - whole
  const power = EXP2_SHORT.toReversed()
    .map(Math.fround)
    .reduce((sum, term) => fmaF32(sum, part, term))
  return whole === -127 ? 0 : Math.fround(power * 2 ** whole)
}

/** `exp2Product` of the device library on the host, bit for bit. */
export function exp2ProductReference(x: number, factor: number): number {
  const f = Math.fround(factor)
  const whole = roundHalfEven(x * f)
  const part = fmaF32(x, f, -whole)
  const power = EXP2_SHORT.toReversed()
    .map(Math.fround)
    .reduce((sum, term) => fmaF32(sum, part, term))
  return power * 2 ** whole
}

/** `reciprocalExact` of the device library on the host, bit for bit. */
export function reciprocalExactReference(x: number): number {
  word[0] = x
  wordBits[0] = RECIPROCAL_BITS - wordBits[0]!
  const guess = word[0]!
  const second = Math.fround(guess * fmaF32(-x, guess, Math.fround(RECIPROCAL_STEP)))
  const error = fmaF32(-x, second, 1)
  return fmaF32(second, fmaF32(error, error, error), second)
}

const word = new Float32Array(1)
const wordBits = new Uint32Array(word.buffer)
const bits = new Int32Array(2)
const float = new Float64Array(bits.buffer)

/**
 * a · b + c of f32 on the host, rounded once, for results that are normal numbers.
 *
 * The product is exact in float64. The sum is rounded to odd there: its lowest bit says that something was lost, so that
 * rounding it to f32 is as rounding the exact sum.
 */
export function fmaF32(a: number, b: number, c: number): number {
  const product = a * b
  const sum = product + c
  const added = sum - product
  const lost = product - (sum - added) + (c - added)
  float[0] = sum
  if (lost !== 0 && (bits[0]! & 1) === 0) {
    // Towards what was lost: away from zero or, one step of the magnitude, to it.
    if (lost > 0 === sum > 0) bits[0]! += 1
    else {
      if (bits[0] === 0) bits[1]! -= 1
      bits[0]! -= 1
    }
  }
  return Math.fround(float[0]!)
}
