import { staticAssert } from '../../dsl/index.ts'
import { type KvConfig, type KvFormatName, kvConfig, kvFormats, PAGE_TOKENS } from '../formats/kv.ts'
import { UNIT } from './arithmetic.ts'
import { MOST_TEAMS, ROUND_UNITS } from './rounds.ts'

/** How decode attention is laid out, all of it static. */
export interface DecodeConfig extends KvConfig {
  readonly dtype: 'f16' | 'bf16'
  readonly D: number
  readonly Hq: number
  readonly Hkv: number
  /** Columns of `q` and `out`: Hq·D. */
  readonly HqD: number
  /** Query tokens of a sequence at most. */
  readonly queries: number
  /** Rows (query tokens and heads) that are multiplied at once. */
  readonly rows: number
  /** Rows and columns of a slot of `partials`, and counters of a sequence: see `decodeConfig`. */
  readonly PartialRows: number
  readonly PartialColumns: number
  readonly Counters: number
  /** CTAs of the persistent grid. */
  readonly ctas: number
  readonly ctasPerMultiprocessor: number
  /** Tokens whose keys or values are one copy, and copies that a warp has under way or in hand. */
  readonly granule: number
  readonly slots: number
}

/** What follows from the constants. */
export interface DecodeShape {
  readonly bits: number
  /** Query heads that share a key/value head. */
  readonly group: number
  /** Rows (query tokens and heads) that are multiplied at once, and how often a unit is gone through for all of them. */
  readonly rows: number
  readonly passes: number
  /** Granules of a unit. */
  readonly granules: number
  /** Elements of a granule in the cache. */
  readonly granuleElements: number
  readonly granuleBytes: number
  /** Words of a row of queries in shared memory, and floats of a row of sums: apart by 16 bytes for the banks. */
  readonly queryPitch: number
  readonly sumPitch: number
  /** Words of a warp's place for probabilities and then for sums. */
  readonly warpWords: number
}

/** Threads of a CTA: a warp for each unit of a round. */
export const DECODE_THREADS = 32 * ROUND_UNITS

/** Rows of an MMA's free side. */
const MOST_ROWS = 8

/** Slices of a row's columns that are added up over splits independently. */
export const SLICES = 8

/** Words in which a unit's probabilities change lanes: eight rows of 128 two-byte numbers. */
const EXCHANGE_WORDS = (MOST_ROWS * UNIT * 2) / 4

export function decodeShape(c: DecodeConfig): DecodeShape {
  const { bits } = kvFormats[c.kv]
  const group = c.Hq / c.Hkv
  const { rows } = c
  const sumPitch = c.D + 4
  return {
    bits,
    group,
    rows,
    passes: Math.ceil((group * c.queries) / rows),
    granules: UNIT / c.granule,
    granuleElements: (c.PB / PAGE_TOKENS) * c.granule,
    granuleBytes: (c.granule * c.D * bits) / 8,
    queryPitch: c.D / 2 + 4,
    sumPitch,
    warpWords: Math.max(EXCHANGE_WORDS, rows * sumPitch),
  }
}

/** Refuses shapes that the kernel has no way to compute. */
export function checkDecode(c: DecodeConfig): void {
  staticAssert(c.Hq % c.Hkv === 0, 'query heads must be a multiple of key/value heads')
  staticAssert([64, 96, 128, 256].includes(c.D), `heads have 64, 96, 128 or 256 elements, not ${c.D}`)
  staticAssert(c.slots >= 2, 'the shared memory of this GPU is too small for heads of this size and format')
  staticAssert(c.queries >= 1 && c.queries <= 8, 'decode attention takes 1 to 8 query tokens of a sequence')
}

/** Shared memory of a multiprocessor that each CTA takes beside its own. */
const RESERVED_BYTES = 1024

/** Shared memory beside the granules: queries, probabilities and sums, statistics, barriers. */
const fixedBytes = (D: number, rows: number): number =>
  MOST_TEAMS * rows * (2 * D + 16 + 8) +
  ROUND_UNITS * (4 * Math.max(EXCHANGE_WORDS, rows * (D + 4)) + 16 * rows + 8 * MOST_SLOTS)

/** Granules of a warp under way at most; more do not help. */
const MOST_SLOTS = 8

/**
 * The constants for a GPU: granules of 4 KiB at most, and as many of them as its shared memory takes.
 *
 * `partials` has a slot for each split of a sequence that has several, [slots, PartialRows, PartialColumns] of f32, and
 * `arrivals` is [B, Counters] of i32, zeros before the first launch and after each.
 */
export function decodeConfig(o: {
  readonly kv: KvFormatName
  readonly dtype: 'f16' | 'bf16'
  readonly D: number
  readonly Hq: number
  readonly Hkv: number
  readonly queries: number
  readonly target: { readonly sharedBytes: number }
  readonly multiprocessors: number
  readonly ctasPerMultiprocessor?: number
}): DecodeConfig {
  const { kv, dtype, D, Hq, Hkv, queries } = o
  const { bits } = kvFormats[kv]
  const group = Hq / Hkv
  const bytesOf = (granule: number) => (granule * D * bits) / 8 + (bits < 16 ? 8 * granule : 0)
  const least = bits === 16 ? 16 : 32
  const placing = (rows: number, ctas: number) => {
    const share = (o.target.sharedBytes + RESERVED_BYTES) / ctas - RESERVED_BYTES
    const room = (share - fixedBytes(D, rows)) / ROUND_UNITS
    const granule = [64, 32].find((n) => bytesOf(n) <= 4608 && 2 * bytesOf(n) <= room) ?? least
    return { rows, ctas, granule, slots: Math.min(MOST_SLOTS, Math.floor(room / bytesOf(granule))) }
  }
  const most = Math.min(MOST_ROWS, group * queries)
  const placings = [
    placing(most, o.ctasPerMultiprocessor ?? 2),
    ...[most, Math.ceil(most / 2), Math.ceil(most / 4), 1].map((rows) => placing(rows, 1)),
  ]
  const { rows, ctas, granule, slots } = placings.find((each) => each.slots >= 2) ?? placings.at(-1)!
  const passes = Math.ceil((group * queries) / rows)
  return {
    ...kvConfig(kv, dtype, D),
    dtype,
    D,
    Hq,
    Hkv,
    queries,
    HqD: Hq * D,
    rows,
    PartialRows: Hkv * passes * rows,
    PartialColumns: D + 4 * SLICES,
    Counters: Hkv * passes * SLICES,
    ctas: o.multiprocessors * ctas,
    ctasPerMultiprocessor: ctas,
    granule,
    slots,
  }
}
