import { exp2Flushing, f32, fma, i32, LOG2E, u32 } from '../../dsl/index.ts'

/**
 * The arithmetic of decode attention over coded keys and values, the same on every device, so that an output depends on its own
 * query and context alone, bit for bit. Prompts have another where there is prefill attention (`prefill-softmax.ts`).
 *
 * A context is cut at fixed positions into splits, and those into units. For each row (a query token and a head):
 *
 * 1. The query becomes 15-bit integers Q of one step, two bytes each (`splitQuery`).
 * 2. The score of a token is `scale · Σ Q·code + min · Σ Q`, in units of the query's step.
 * 3. The reference of a unit is an integer, the scores' maximum in units of log2 rounded up (`unitReference`). All later
 *    rescaling is therefore by powers of two, which is exact.
 * 4. A probability is 2^(score − reference), its exponent rounded to a multiple of 2^-12.
 * 5. Probabilities, and their products with the values' minima, are summed by strands (`strandOf`), each in ascending
 *    order, and strands by pairs, pairs by pairs, and halves.
 * 6. Probabilities times the values' scales become 16-bit integers P, two bytes each (`probabilityBits`), whose products
 *    with codes are summed exactly.
 * 7. Units are added up in ascending order within a split, and splits in ascending order, each time in units of the
 *    largest reference so far: `sum = fma(part, step · 2^(reference − largest), sum · 2^(before − largest))`.
 * 8. The output is (sum of codes + sum of minima) / sum of probabilities.
 */

/** Tokens that are summed exactly, with one reference. */
export const UNIT = 128

/** Tokens whose units are added up in one place. */
export const SPLIT = 1024

/** Strands of a unit: sums of sixteen tokens each. */
export const STRANDS = 8

/** Queries are integers up to this: 128 · high + low, signed bytes. */
export const QUERY_LEVELS = 127 * 128

/** Probabilities times value scales are integers up to this: 256 · high + low, unsigned bytes. */
export const PROBABILITY_LEVELS = 65535

/** The lowest exponent of a power of two that a sum is multiplied by; lower ones are 0. */
export const LOWEST_POWER = -64

/** The smallest magnitude that a query's step is made from, so that quotients of zeros are numbers. */
export const SMALLEST_QUERY = 2 ** -80

/** The smallest scale that a value has: a bound for units of which a row sees nothing. */
export const SMALLEST_SCALE = 2 ** -24

/** Sums whose last bit is 2^-12 are near this number: adding and subtracting it rounds an exponent. */
export const EXPONENT_BIAS = 3072

/** Floats near this number are integers. */
export const INTEGER_BIAS = 2 ** 23

/** The part of a maximum that is added before it is rounded up, so that no exponent is above 0 for large scores either. */
export const REFERENCE_MARGIN = 2 ** -22

/** The strand of a token of a unit. In fragments of an MMA these are the tokens of one lane, or of half a lane. */
export const strandOf = (token: number): number => 2 * ((token >> 2) & 3) + (token & 1)

/**
 * The token, of 32 neighbours, that row (or column) `n` of two fragments of scores stands for. The lane that holds columns
 * 2t and 2t + 1 of both then has four consecutive tokens, the bytes of one register of the next product.
 */
export const fragmentToken = (n: number): number =>
  16 * (n >> 4) + 4 * ((n & 7) >> 1) + 2 * ((n >> 3) & 1) + (n & 1)

// ---- queries --------------------------------------------------------------------------------------------------------

/** What a query's elements are multiplied by before they are rounded; `top` is their largest magnitude. */
export const queryRate = (top: f32): f32 => QUERY_LEVELS / Math.max(top, SMALLEST_QUERY)

/** One unit of Σ Q·key in units of log2; `scale` is the factor of the scores. */
export const queryStep = (top: f32, scale: f32): f32 =>
  (Math.max(top, SMALLEST_QUERY) * (scale * LOG2E)) / QUERY_LEVELS

/** An element of a query as an integer. */
export const queryCode = (value: f32, rate: f32): i32 => i32.round(value * rate)

/** That integer's two bytes: 128 · high + low. */
export function splitQuery(code: i32): { readonly high: i32; readonly low: i32 } {
  const high = (code + 64) >> 7
  return { high, low: code - (high << 7) }
}

// ---- scores and probabilities ---------------------------------------------------------------------------------------

/** The score of a token, in units of the query's step; `sum` is Σ Q. */
export const score = (product: i32, scale: f32, min: f32, sum: f32): f32 =>
  fma(f32(product), scale, min * sum)

/** The reference of a unit whose largest score is `largest`. */
export function unitReference(largest: f32, step: f32): f32 {
  const exponent = largest * step
  return Math.ceil(fma(Math.abs(exponent), REFERENCE_MARGIN, exponent))
}

/** The probability of a token, from 0 to 1; `bias` is `EXPONENT_BIAS` less the unit's reference. */
export const probability = (score: f32, step: f32, bias: f32): f32 =>
  exp2OfSteps(fma(score, step, bias) - EXPONENT_BIAS)

/**
 * 2^x for a multiple of 2^-12 that is not above 0; 0 below -126. The hardware's approximation, which is known for such
 * arguments (`dsl/exp2-steps.ts`).
 */
export const exp2OfSteps = (x: f32): f32 => exp2Flushing(x)

/** What value scales are multiplied by for `probabilityBits`; `top` is the largest of the unit's live tokens. */
export const valueRate = (top: f32): f32 => PROBABILITY_LEVELS / top

/** The value of one unit of Σ P·code. */
export const valueStep = (top: f32): f32 => top * (1 / PROBABILITY_LEVELS)

/** A word whose lower half is P; `weight` is the token's value scale times `valueRate`. */
export const probabilityBits = (probability: f32, weight: f32): u32 =>
  u32.bits(fma(probability, weight, INTEGER_BIAS))

// ---- sums -----------------------------------------------------------------------------------------------------------

/** Added to an integer it leaves the integer plus 127 in the lowest bits: the exponent of a float. */
const POWER_BIAS = 1.5 * 2 ** 23 + 127

/** 2^exponent for an integer up to 127; 0 below `LOWEST_POWER`. */
export const powerOfTwo = (exponent: f32): f32 =>
  exponent < LOWEST_POWER ? 0 : f32.bits(u32.bits(exponent + POWER_BIAS) << 23)

/** The reference of a sum of nothing. */
export const NO_REFERENCE = -1e30

/** How a part is added to sums: what the sums are multiplied by, and what the part's. */
export interface Rescale {
  readonly reference: f32
  readonly keep: f32
  readonly factor: f32
}

/** Adding a part with `reference` to sums with another. */
export function rescale(before: f32, reference: f32): Rescale {
  const largest = Math.max(before, reference)
  return {
    reference: largest,
    keep: powerOfTwo(before - largest),
    factor: powerOfTwo(reference - largest),
  }
}
