import { f16Value } from '../../../dsl/half.ts'
import { LOG2E } from '../../../dsl/math.ts'
import { prefillAttention } from '../../../kernels/attention/prefill.ts'
import { prefillTilesReference } from '../../../kernels/attention/prefill-plan.ts'
import { prefillRowReference } from '../../../kernels/attention/prefill-reference.ts'
import { tileTokens } from '../../../kernels/attention/prefill-shape.ts'
import type { CodedHead } from '../../../kernels/attention/reference.ts'
import { PAGE_TOKENS } from '../../../kernels/formats/kv.ts'
import { KEYS, KvPages, VALUES } from '../../../kernels/formats/kv-pages.ts'
import { type HalfType, halfRounding, halfValue, randomHalfs } from '../../support/halfs.ts'
import { type Rng, rng } from '../../support/rng.ts'
import type { KernelCase } from '../../support/run-kernel.ts'

/** A sequence of a step: its last `queries` tokens of `context` are attended for. */
export interface PrefillSequence {
  readonly context: number
  readonly queries: number
}

export interface PrefillOptions {
  readonly kv: 'kv4' | 'kv8'
  readonly D: number
  readonly Hq: number
  readonly Hkv: number
  readonly dtype: HalfType
  readonly sequences: readonly PrefillSequence[]
  readonly seed: number
  readonly window?: number
  readonly ctas?: number
  readonly rawStages?: number
  readonly keyStages?: number
  readonly valueStages?: number
  readonly turns?: boolean
  /** Deviation of keys: large ones leave one token all the weight. */
  readonly keySigma?: number
  /** Rows that are compared, all unless given: whether query token `token` of the step is, with head `head`. */
  readonly compared?: (token: number, head: number) => boolean
}

/** No window. */
export const UNLIMITED = 2 ** 30

/** Cached keys and values of sequences, on pages in random order; whoever reads what is no sequence's own sees NaN. */
export class CachedSequences {
  readonly pages: KvPages
  readonly table: Int32Array
  readonly maxPages: number
  readonly #heads: readonly (readonly CodedHead[])[]

  constructor(o: PrefillOptions, random: Rng) {
    const counts = o.sequences.map(({ context }) => Math.ceil(context / PAGE_TOKENS))
    const all = counts.reduce((x, y) => x + y, 1)
    this.maxPages = Math.max(1, ...counts)
    this.pages = new KvPages(o.kv, o.dtype, o.D, all, o.Hkv)
    for (let i = 0; i < this.pages.kv.length; i++) this.pages.kv[i] = random.integer(0, 255)
    this.pages.kvParams.fill(0x7fff)
    const free = Array.from({ length: all }, (_, i) => i)
    const take = () => free.splice(random.integer(0, free.length - 1), 1)[0]!
    this.table = new Int32Array(o.sequences.length * this.maxPages).fill(2 ** 30)
    this.#heads = o.sequences.map(({ context }, sequence) => {
      for (let i = 0; i < counts[sequence]!; i++) this.table[sequence * this.maxPages + i] = take()
      return Array.from({ length: o.Hkv }, (_, head) => this.#fill(o, random, sequence, head, context))
    })
  }

  head(sequence: number, head: number): CodedHead {
    return this.#heads[sequence]![head]!
  }

  #fill(o: PrefillOptions, random: Rng, sequence: number, head: number, context: number): CodedHead {
    const codes = () => new Uint8Array(context * o.D)
    const params = () => new Float32Array(context * 2)
    const coded = { keys: codes(), values: codes(), keyParams: params(), valueParams: params() }
    for (let token = 0; token < context; token++) {
      const page = this.table[sequence * this.maxPages + Math.floor(token / PAGE_TOKENS)]!
      for (const block of [KEYS, VALUES] as const) {
        const place = { page, head, block, token: token % PAGE_TOKENS }
        const sigma = block === KEYS ? (o.keySigma ?? 1) : 0.5 + random.uniform()
        this.pages.put(
          place,
          Float64Array.from({ length: o.D }, () => Math.fround(sigma * random.normal())),
        )
        const row = this.pages.read(place)
        const [to, own] = block === KEYS ? [coded.keys, coded.keyParams] : [coded.values, coded.valueParams]
        to.set(row.codes, token * o.D)
        own.set(row.params.map(f16Value), token * 2)
      }
    }
    return coded
  }
}

/** The first query token of each sequence in the step, and the end of the last. */
export function startsOf(sequences: readonly PrefillSequence[]): number[] {
  const starts = [0]
  for (const { queries } of sequences) starts.push(starts.at(-1)! + queries)
  return starts
}

/** A step of random sequences, whose outputs must be as close to the reference as its bounds say. */
export function prefillCase(o: PrefillOptions): KernelCase {
  const random = rng(o.seed)
  const { D, Hq, Hkv, dtype, sequences } = o
  const cache = new CachedSequences(o, random)
  const starts = startsOf(sequences)
  const T = starts.at(-1)!
  const q = randomHalfs(random, T * Hq * D, dtype)
  const window = o.window ?? UNLIMITED
  const tiles = prefillTilesReference(sequences, { tileTokens: tileTokens(o) }, window)
  const scale = 1 / Math.sqrt(D)
  const { constants, shapes } = cache.pages
  return {
    name: `prefill ${o.kv} D=${D} heads ${Hq}/${Hkv} ${dtype} of ${JSON.stringify(sequences)}`,
    kernel: prefillAttention,
    config: {
      ...constants,
      dtype,
      D,
      Hq,
      Hkv,
      HqD: Hq * D,
      ctas: o.ctas ?? 3,
      rawStages: o.rawStages ?? 4,
      keyStages: o.keyStages ?? 2,
      valueStages: o.valueStages ?? 2,
      registers: 200,
      turns: o.turns ?? true,
    },
    args: {
      q: { dtype, shape: [T, Hq * D], data: q },
      kv: { dtype: 'u8', shape: shapes.kv, data: cache.pages.kv },
      kvParams: { dtype: 'f16', shape: shapes.kvParams, data: cache.pages.kvParams },
      pages: { dtype: 'i32', shape: [sequences.length, cache.maxPages], data: cache.table },
      tiles: { dtype: 'i32', shape: [Math.max(1, tiles.length), 8], data: Int32Array.from(tiles.flat()) },
      tileCount: { dtype: 'i32', shape: [1], data: Int32Array.of(tiles.length) },
      taken: { dtype: 'i32', shape: [1], data: Int32Array.of(0) },
      scale: Math.fround(scale * LOG2E),
      window,
      out: { dtype, shape: [T, Hq * D] },
    },
    check({ out }) {
      sequences.forEach(({ context, queries }, sequence) => {
        for (let i = 0; i < queries; i++) {
          const token = starts[sequence]! + i
          const position = context - queries + i
          for (let head = 0; head < Hq; head++) {
            if (o.compared && !o.compared(token, head)) continue
            const first = (token * Hq + head) * D
            const query = Float64Array.from(q.subarray(first, first + D), halfValue[dtype])
            const kvHead = cache.head(sequence, Math.floor(head / (Hq / Hkv)))
            const from = Math.max(0, position - window + 1)
            const { values, bounds } = prefillRowReference(query, kvHead, { position, from, scale })
            values.forEach((value, d) => {
              const got = halfValue[dtype](out![first + d]!)
              const bound = bounds[d]! + halfRounding(dtype, value)
              if (!(Math.abs(got - value) <= bound))
                throw new Error(
                  `sequence ${sequence}, position ${position}, head ${head}, column ${d}: ${got}, expected ${value} ± ${bound}`,
                )
            })
          }
        }
      })
    },
  }
}

/** The step of one prompt, computed in pieces of so many tokens: the same arguments but for the tiles. */
export function inPieces(c: KernelCase, o: PrefillOptions, pieces: readonly number[]): KernelCase {
  let context = 0
  const parts = pieces.map((queries) => {
    context += queries
    return { context, queries }
  })
  // Pieces are sequences of the list; of the step all are the one.
  const tiles = prefillTilesReference(parts, { tileTokens: tileTokens(o) }, o.window ?? UNLIMITED).map(
    ([, ...rest]) => [0, ...rest],
  )
  const args = {
    ...c.args,
    tiles: { dtype: 'i32' as const, shape: [tiles.length, 8], data: Int32Array.from(tiles.flat()) },
    tileCount: { dtype: 'i32' as const, shape: [1], data: Int32Array.of(tiles.length) },
    taken: { dtype: 'i32' as const, shape: [1], data: Int32Array.of(0) },
  }
  return { ...c, args }
}
