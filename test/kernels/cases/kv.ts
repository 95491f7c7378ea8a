import { type KvFormatName, kvConfig, PAGE_TOKENS } from '../../../kernels/formats/kv.ts'
import { KEYS, KvPages, VALUES } from '../../../kernels/formats/kv-pages.ts'
import { attentionReference, pagedAttention } from '../../../kernels/paged-attention.ts'
import { assertNear, type HalfType, halfRounding, halfValues, randomHalfs } from '../../support/halfs.ts'
import { type Rng, rng } from '../../support/rng.ts'
import type { KernelCase } from '../../support/run-kernel.ts'

/** The kernels around the key/value cache. */
export interface KvOptions {
  readonly D: number
  readonly Hq: number
  readonly Hkv: number
  readonly kv: KvFormatName
  readonly dtype: HalfType
  readonly seed: number
}

const shapeName = ({ D, Hq, Hkv, kv, dtype }: KvOptions) => `${kv} D=${D} heads ${Hq}/${Hkv} ${dtype}`

/** A random order of 0 to n − 1. */
function shuffled(random: Rng, n: number): number[] {
  const order = Array.from({ length: n }, (_, i) => i)
  for (let i = n - 1; i > 0; i--) {
    const j = random.integer(0, i)
    ;[order[i], order[j]] = [order[j]!, order[i]!]
  }
  return order
}

/** A sequence of a step: tokens in the cache, of which the last `queries` are asked about in this launch. */
export interface AttendedSequence {
  readonly context: number
  readonly queries: number
}

export interface AttentionOptions extends KvOptions {
  readonly sequences: readonly AttendedSequence[]
  /** Multiplies keys: large scores make a softmax that one token wins. */
  readonly keySigma?: number
}

/** Attention against float64 over the vectors that the cache returns. Page tables end in pages that do not exist. */
export function pagedAttentionCase(o: AttentionOptions): KernelCase {
  const { D, Hq, Hkv, kv, dtype, sequences, keySigma = 1 } = o
  const random = rng(o.seed)
  const pagesOf = ({ context }: AttendedSequence) => Math.ceil(context / PAGE_TOKENS)
  const used = sequences.reduce((sum, sequence) => sum + pagesOf(sequence), 0)
  const order = shuffled(random, used + 2)
  const maxPages = Math.max(...sequences.map(pagesOf)) + 1
  const cache = new KvPages(kv, dtype, D, used + 2, Hkv)
  // Whoever reads what is not a sequence's own shows it.
  cache.kv.fill(0x7fff)
  const pages = new Int32Array(sequences.length * maxPages).fill(2 ** 30)
  const [sequence, positions]: [number[], number[]] = [[], []]
  /** Per sequence and head, the vectors that the cache returns. */
  const cached = sequences.map(({ context, queries }, s) => {
    const own = order.splice(0, Math.ceil(context / PAGE_TOKENS))
    pages.set(own, s * maxPages)
    for (let i = context - queries; i < context; i++) {
      sequence.push(s)
      positions.push(i)
    }
    const fill = (block: typeof KEYS | typeof VALUES, sigma: number) =>
      Array.from({ length: Hkv }, (_, head) =>
        Array.from({ length: context }, (_, position) => {
          const values = Float64Array.from({ length: D }, () => Math.fround(sigma * random.normal()))
          const page = own[Math.floor(position / PAGE_TOKENS)]!
          return cache.put({ page, head, block, token: position % PAGE_TOKENS }, values)
        }),
      )
    return { k: fill(KEYS, keySigma), v: fill(VALUES, 1) }
  })
  const T = positions.length
  const HqD = Hq * D
  const q = randomHalfs(random, T * HqD, dtype)
  const scale = Math.fround(1 / Math.sqrt(D))
  return {
    name:
      `pagedAttention ${sequences.map(({ context, queries }) => `${queries} of ${context}`).join(', ')} ` +
      shapeName(o),
    kernel: pagedAttention,
    config: { dtype, D, Hq, Hkv, HqD, ...kvConfig(kv, dtype, D) },
    args: {
      q: { dtype, shape: [T, HqD], data: q },
      sequence: { dtype: 'i32', shape: [T], data: Int32Array.from(sequence) },
      positions: { dtype: 'i32', shape: [T], data: Int32Array.from(positions) },
      pages: { dtype: 'i32', shape: [sequences.length, maxPages], data: pages },
      kv: { dtype, shape: cache.shapes.kv, data: cache.kv },
      scale,
      out: { dtype, shape: [T, HqD] },
    },
    check({ out }) {
      const actual = halfValues(out!, dtype)
      for (let t = 0; t < T; t++) {
        for (let head = 0; head < Hq; head++) {
          const { k, v } = cached[sequence[t]!]!
          const own = Math.floor(head / (Hq / Hkv))
          const seen = positions[t]! + 1
          const [keys, values] = [k[own]!.slice(0, seen), v[own]!.slice(0, seen)]
          const at = t * HqD + head * D
          const query = halfValues(q.subarray(at, at + D), dtype)
          const expected = attentionReference(query, keys, values, scale)
          const bound = attentionBound(query, keys, values, scale, o.kv)
          assertNear(
            actual.subarray(at, at + D),
            expected,
            (i) => halfRounding(dtype, expected[i]!) + bound,
            D,
            `token ${t}, head ${head}: out`,
          )
        }
      }
    },
  }
}

/**
 * A score of D products errs by at most D·2⁻²⁴ of the magnitudes summed, which for coded keys are up to three times those
 * of the vectors (scale · code and minimum apart); weights err by as much, relatively, plus the exponential's and the sum's
 * 2⁻¹⁸, and an output by twice that of the largest value.
 *
 * Beside coded keys, queries and weights are rounded to 15 bits: each element of a query by up to max|q| / 32512, of which
 * the products with a key add up as a random walk does; five standard deviations are allowed, and 2⁻¹² for the weights.
 */
function attentionBound(
  q: Float64Array,
  keys: readonly Float64Array[],
  values: readonly Float64Array[],
  scale: number,
  kv: KvFormatName,
): number {
  const maximum = (numbers: readonly number[]) => numbers.reduce((m, x) => Math.max(m, x), 0)
  const largestOf = (vector: Float64Array) => vector.reduce((m, x) => Math.max(m, Math.abs(x)), 0)
  const largestKey = maximum(keys.map(largestOf))
  const magnitude = scale * largestKey * q.reduce((sum, x) => sum + Math.abs(x), 0)
  const coded = kv !== 'kv16'
  const longestKey = maximum(keys.map((key) => Math.hypot(...key)))
  const deviation = (scale * longestKey * largestOf(q)) / (16256 * Math.sqrt(12))
  const rounding = coded ? 5 * deviation + 2 ** -12 : 0
  const inF32 = (coded ? 3 : 1) * q.length * 2 ** -24 * magnitude + 2 ** -18
  return 2 * maximum(values.map(largestOf)) * (inF32 + rounding)
}
