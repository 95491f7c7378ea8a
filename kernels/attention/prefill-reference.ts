import { f16Bits, f16Value } from '../../dsl/half.ts'
import { LOG2E } from '../../dsl/math.ts'
import type { CodedHead } from './reference.ts'

/** A row of attention, and how far what a kernel computes may be from it before it is rounded to the output's type. */
export interface PrefillRow {
  readonly values: Float64Array
  readonly bounds: Float64Array
}

/**
 * One row of prompts' attention over coded keys and values in plain arithmetic: a query of D elements at `position`, which
 * sees the tokens `from`…`position`. Keys and values are f16, as the kernel makes them of codes.
 *
 * Bounds allow for probabilities as f16 (2^-11 of each), and for sums of f32: scores to 2^-20 of what they are summed from.
 */
export function prefillRowReference(
  query: ArrayLike<number>,
  head: CodedHead,
  o: { readonly position: number; readonly from: number; readonly scale: number },
): PrefillRow {
  const D = query.length
  const tokens = o.position + 1 - o.from
  const scores = new Float64Array(tokens)
  let largest = 0
  for (let i = 0; i < tokens; i++) {
    let magnitude = 0
    for (let d = 0; d < D; d++) {
      const product = query[d]! * elementOf(head.keys, head.keyParams, o.from + i, d, D)
      scores[i] = scores[i]! + product
      magnitude += Math.abs(product)
    }
    scores[i] = scores[i]! * o.scale
    largest = Math.max(largest, magnitude * o.scale)
  }
  const top = scores.reduce((x, y) => Math.max(x, y))
  const values = new Float64Array(D)
  const magnitudes = new Float64Array(D)
  let total = 0
  scores.forEach((score, i) => {
    const p = Math.exp(score - top)
    total += p
    for (let d = 0; d < D; d++) {
      const value = p * elementOf(head.values, head.valueParams, o.from + i, d, D)
      values[d] = values[d]! + value
      magnitudes[d] = magnitudes[d]! + Math.abs(value)
    }
  })
  const share = 2 ** -10 + 2 ** -19 * largest * LOG2E
  return {
    values: values.map((value) => value / total),
    bounds: magnitudes.map((magnitude) => (share * magnitude) / total),
  }
}

/** An element of a token's vector as f16. */
function elementOf(codes: Uint8Array, params: Float32Array, token: number, d: number, D: number): number {
  const value = codes[token * D + d]! * params[2 * token]! + params[2 * token + 1]!
  return f16Value(f16Bits(value))
}
