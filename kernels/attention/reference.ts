import { fmaF32 } from '../../dsl/exact-reference.ts'
import { exp2OfStepsReference } from '../../dsl/exp2-steps.ts'
import { f16Value } from '../../dsl/half.ts'
import { LOG2E, roundHalfEven } from '../../dsl/math.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { KEYS, type KvPages, VALUES } from '../formats/kv-pages.ts'
import {
  EXPONENT_BIAS,
  INTEGER_BIAS,
  LOWEST_POWER,
  NO_REFERENCE,
  PROBABILITY_LEVELS,
  QUERY_LEVELS,
  REFERENCE_MARGIN,
  SMALLEST_QUERY,
  SPLIT,
  STRANDS,
  strandOf,
  UNIT,
} from './arithmetic.ts'

/** Keys and values of one key/value head: codes, token after token, and scale and minimum of each token. */
export interface CodedHead {
  readonly keys: Uint8Array
  readonly values: Uint8Array
  /** [tokens, 2] */
  readonly keyParams: Float32Array
  readonly valueParams: Float32Array
}

/** Codes and parameters of a head's first `context` tokens, from the pages that a sequence's row of the table names. */
export function codedHead(
  pages: KvPages,
  table: ArrayLike<number>,
  head: number,
  context: number,
): CodedHead {
  const [keys, values] = ([KEYS, VALUES] as const).map((block) => {
    const codes = new Uint8Array(context * pages.D)
    const params = new Float32Array(context * 2)
    for (let token = 0; token < context; token++) {
      const page = table[Math.floor(token / PAGE_TOKENS)]!
      const row = pages.read({ page, head, block, token: token % PAGE_TOKENS })
      codes.set(row.codes as Uint8Array, token * pages.D)
      params.set(row.params.map(f16Value), token * 2)
    }
    return { codes, params }
  })
  return {
    keys: keys!.codes,
    values: values!.codes,
    keyParams: keys!.params,
    valueParams: values!.params,
  }
}

const f = Math.fround

/** A sum in the making: that of a unit, of units, or of splits. */
interface Sums {
  reference: number
  total: number
  offset: number
  readonly codes: Float32Array
}

/**
 * One row of attention over coded keys and values, bit for bit what decode attention computes: a query of D elements at
 * `position`, which sees the tokens `from`…`position`. Returns the D outputs in f32, before their rounding.
 */
export function attentionRowReference(
  query: ArrayLike<number>,
  head: CodedHead,
  o: { readonly position: number; readonly from: number; readonly scale: number },
): Float32Array {
  const D = query.length
  const row = quantizeQuery(query, f(o.scale))
  const all = noSums(D)
  for (let split = Math.floor(o.from / SPLIT) * SPLIT; split <= o.position; split += SPLIT) {
    const sums = noSums(D)
    const end = Math.min(split + SPLIT, o.position + 1)
    for (let unit = split; unit < end; unit += UNIT) {
      const first = Math.max(unit, o.from)
      const last = Math.min(unit + UNIT - 1, o.position)
      if (first <= last) addUnit(sums, row, head, unit, first, last)
    }
    if (sums.reference !== NO_REFERENCE) addPart(all, sums, 1)
  }
  const share = f(1 / all.total)
  return all.codes.map((code) => f(f(code + all.offset) * share))
}

interface QuantizedQuery {
  readonly codes: Int32Array
  readonly sum: number
  readonly step: number
}

function quantizeQuery(query: ArrayLike<number>, scale: number): QuantizedQuery {
  let top = SMALLEST_QUERY
  for (let i = 0; i < query.length; i++) top = Math.max(top, Math.abs(query[i]!))
  const rate = f(QUERY_LEVELS / top)
  const codes = Int32Array.from(query, (value) => roundHalfEven(f(value * rate)))
  return {
    codes,
    sum: codes.reduce((a, b) => a + b, 0),
    step: f(f(top * f(scale * f(LOG2E))) / QUERY_LEVELS),
  }
}

const noSums = (D: number): Sums => ({
  reference: NO_REFERENCE,
  total: 0,
  offset: 0,
  codes: new Float32Array(D),
})

/** 2^exponent as the kernels have it. */
const powerOfTwo = (exponent: number): number => (exponent < LOWEST_POWER ? 0 : 2 ** exponent)

/** Adds a part whose codes count in units of `step`. */
function addPart(sums: Sums, part: Sums, step: number): void {
  const reference = Math.max(sums.reference, part.reference)
  const keep = powerOfTwo(f(sums.reference - reference))
  const factor = powerOfTwo(f(part.reference - reference))
  const codeFactor = f(step * factor)
  sums.reference = reference
  sums.total = fmaF32(part.total, factor, f(sums.total * keep))
  sums.offset = fmaF32(part.offset, factor, f(sums.offset * keep))
  for (let d = 0; d < sums.codes.length; d++) {
    sums.codes[d] = fmaF32(part.codes[d]!, codeFactor, f(sums.codes[d]! * keep))
  }
}

/** Adds the live tokens `first`…`last` of the unit that begins at token `unit`. */
function addUnit(
  sums: Sums,
  row: QuantizedQuery,
  head: CodedHead,
  unit: number,
  first: number,
  last: number,
): void {
  const D = row.codes.length
  const scores = new Float32Array(UNIT)
  let [largest, top] = [Number.NEGATIVE_INFINITY, 0]
  for (let token = first; token <= last; token++) {
    let product = 0
    for (let d = 0; d < D; d++) product += row.codes[d]! * head.keys[token * D + d]!
    const [scale, min] = [head.keyParams[2 * token]!, head.keyParams[2 * token + 1]!]
    const score = fmaF32(f(product), scale, f(min * row.sum))
    scores[token - unit] = score
    largest = Math.max(largest, score)
    top = Math.max(top, head.valueParams[2 * token]!)
  }
  const exponent = f(largest * row.step)
  const reference = Math.ceil(fmaF32(Math.abs(exponent), REFERENCE_MARGIN, exponent))
  const bias = f(EXPONENT_BIAS - reference)
  const rate = f(PROBABILITY_LEVELS / top)
  const [totals, offsets] = [new Float32Array(STRANDS), new Float32Array(STRANDS)]
  const products = new Float64Array(D)
  for (let token = first; token <= last; token++) {
    const [scale, min] = [head.valueParams[2 * token]!, head.valueParams[2 * token + 1]!]
    const p = exp2OfStepsReference(f(fmaF32(scores[token - unit]!, row.step, bias) - EXPONENT_BIAS))
    const strand = strandOf(token)
    totals[strand] = f(totals[strand]! + p)
    offsets[strand] = fmaF32(p, min, offsets[strand]!)
    const weight = fmaF32(p, f(scale * rate), INTEGER_BIAS) - INTEGER_BIAS
    for (let d = 0; d < D; d++) products[d]! += weight * head.values[token * D + d]!
  }
  const part: Sums = {
    reference,
    total: sumStrands(totals),
    offset: sumStrands(offsets),
    codes: Float32Array.from(products),
  }
  addPart(sums, part, f(top * f(1 / PROBABILITY_LEVELS)))
}

/** Neighbouring strands, then pairs of strands, then halves. */
function sumStrands(strands: Float32Array): number {
  const pairs = [0, 2, 4, 6].map((i) => f(strands[i]! + strands[i + 1]!))
  return f(f(pairs[0]! + pairs[1]!) + f(pairs[2]! + pairs[3]!))
}

/**
 * Attention of one query over `keys` and `values` (each a head's vectors, oldest first, as the cache returns them), in
 * float64.
 */
export function attentionReference(
  q: Float64Array,
  keys: readonly Float64Array[],
  values: readonly Float64Array[],
  scale: number,
): Float64Array {
  const scores = keys.map((key) => scale * key.reduce((sum, x, d) => sum + x * q[d]!, 0))
  const max = scores.reduce((x, y) => Math.max(x, y))
  const weights = scores.map((score) => Math.exp(score - max))
  const total = weights.reduce((x, y) => x + y)
  return q.map((_, d) => values.reduce((sum, value, t) => sum + (weights[t]! / total) * value[d]!, 0))
}
