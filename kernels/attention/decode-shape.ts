import { staticAssert } from '../../dsl/index.ts'
import { type KvConfig, type KvFormatName, kvConfig, kvFormats, PAGE_TOKENS } from '../formats/kv.ts'
import { UNIT } from './arithmetic.ts'

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
  /** Blocks (the keys or the values of a unit) that a CTA has under way or in hand. */
  readonly slots: number
  /** Whether items are looked up, and older tokens copied, before the launch before has ended: see `decodeConfig`. */
  readonly ahead: boolean
}

/** What follows from the constants. */
export interface DecodeShape {
  readonly bits: number
  /** Query heads that share a key/value head. */
  readonly group: number
  /** How often a unit is gone through for all rows. */
  readonly passes: number
  /** Whether the two bytes of a query's integer, and of a probability's, are neighbouring columns of an MMA. */
  readonly paired: boolean
  /** Free sides of MMAs that the rows of a pass fill. */
  readonly sides: number
  /** Rows of which a lane has scores; and room for rows where lanes without one write too. */
  readonly laneRows: number
  readonly rowRoom: number
  /** Elements of a page's block in the cache, and of a unit's. */
  readonly pageElements: number
  readonly blockElements: number
  readonly pageBytes: number
  /** Units whose parameters are under way or in hand: as many as blocks, for a unit may be a single block. */
  readonly stages: number
  /** Words of a row of queries in shared memory: apart by 16 bytes for the banks. */
  readonly queryPitch: number
  /** Words of a unit's probabilities as operands. */
  readonly operandWords: number
  /** Fragments of 16 columns that a warp sums values of. */
  readonly tiles: number
}

/** Warps of a CTA that compute: each has a quarter of a unit's tokens, and then a quarter of the columns. */
export const WARPS = 4

/** Threads of those warps and of one that copies and sums probabilities up. */
export const DECODE_THREADS = 32 * (WARPS + 1)

/** Tokens of a unit whose scores a warp computes. */
export const WARP_TOKENS = UNIT / WARPS

/** Rows of an MMA's free side. */
const SIDE_ROWS = 8

/** Rows of a pass at most: those of two. */
const MOST_ROWS = 16

/** Bytes of parameters of a page and head, keys' and values'. */
export const PAGE_PARAM_BYTES = 2 * PAGE_TOKENS * 4

export function decodeShape(c: DecodeConfig): DecodeShape {
  const { bits } = kvFormats[c.kv]
  const group = c.Hq / c.Hkv
  const paired = isPaired(bits, c.rows)
  const pages = UNIT / PAGE_TOKENS
  const sides = Math.ceil(c.rows / SIDE_ROWS)
  return {
    bits,
    group,
    passes: Math.ceil((group * c.queries) / c.rows),
    paired,
    sides,
    laneRows: paired ? 1 : 2 * sides,
    rowRoom: paired ? 4 : SIDE_ROWS * sides,
    pageElements: c.PB,
    blockElements: pages * c.PB,
    pageBytes: (PAGE_TOKENS * c.D * bits) / 8,
    stages: c.slots,
    queryPitch: c.D / 2 + 4,
    operandWords: operandWords(bits, c.rows),
    tiles: Math.ceil(c.D / 16 / WARPS),
  }
}

/** Whether there are columns enough in an MMA for two bytes of each row; otherwise registers are short for four CTAs. */
const isPaired = (bits: number, rows: number): boolean => bits < 16 && rows <= SIDE_ROWS / 2

/** A word is four bytes of a column, or two 16-bit probabilities. */
const operandWords = (bits: number, rows: number): number =>
  (UNIT * SIDE_ROWS * Math.ceil(rows / SIDE_ROWS)) / (isPaired(bits, rows) ? 4 : 2)

/** Refuses shapes that the kernel has no way to compute. */
export function checkDecode(c: DecodeConfig): void {
  staticAssert(c.Hq % c.Hkv === 0, 'query heads must be a multiple of key/value heads')
  staticAssert([64, 96, 128, 256].includes(c.D), `heads have 64, 96, 128 or 256 elements, not ${c.D}`)
  staticAssert(c.slots >= 2, 'the shared memory of this GPU is too small for heads of this size and format')
  staticAssert(c.queries >= 1 && c.queries <= 8, 'decode attention takes 1 to 8 query tokens of a sequence')
}

/** Shared memory of a multiprocessor that each CTA takes beside its own. */
const RESERVED_BYTES = 1024

/** Blocks of a CTA under way at most; more do not help. */
const MOST_SLOTS = 8

/** Shared memory beside blocks and parameters: what `makeDecodeMemory` has, and barriers. */
const fixedBytes = (D: number, rows: number, bits: number): number => {
  const paired = isPaired(bits, rows)
  const room = paired ? 4 : SIDE_ROWS * Math.ceil(rows / SIDE_ROWS)
  return (
    rows * (2 * D + 16 + 8) +
    room * (4 * UNIT + 2 * 4 * WARPS + 8 + 4) +
    4 * (operandWords(bits, rows) + UNIT) +
    16 * MOST_SLOTS +
    184
  )
}

/**
 * The constants for a GPU: as many CTAs to a multiprocessor as are of use, and have room for a unit and half of the next.
 *
 * `partials` has a slot for each part of a sequence that has several (`roomFor`), [slots, PartialRows, PartialColumns] of u32
 * that are all ones, and `arrivals` is [B, Counters] of i32, zeros: both before the first launch and after each. The list of items has zeros at first, too:
 * it is read before it is known how long it is.
 *
 * With `ahead` the kernel begins while the launch before it still runs. That one must not list items, nor store tokens that are
 * not among the query tokens of their sequence, and whatever does must have been waited for before that one lets others begin.
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
  readonly ahead?: boolean
}): DecodeConfig {
  const { kv, dtype, D, Hq, Hkv, queries } = o
  const { bits } = kvFormats[kv]
  const group = Hq / Hkv
  const rows = Math.min(MOST_ROWS, group * queries)
  const blockBytes = (UNIT * D * bits) / 8
  const paramBytes = bits < 16 ? (UNIT / PAGE_TOKENS) * PAGE_PARAM_BYTES : 0
  const placing = (ctas: number) => {
    const share = (o.target.sharedBytes + RESERVED_BYTES) / ctas - RESERVED_BYTES
    const room = share - fixedBytes(D, rows, bits)
    const fits = (slots: number) => slots * (blockBytes + paramBytes) <= room
    // Few blocks where many CTAs ask for them: what is asked for early holds up what is needed first.
    const most = ctas >= 4 ? 3 : bits === 4 || rows > SIDE_ROWS ? 4 : MOST_SLOTS
    return { ctas, slots: [8, 7, 6, 5, 4, 3, 2].find((n) => n <= most && fits(n)) ?? 0 }
  }
  const wanted = bits > 4 || rows > SIDE_ROWS ? 2 : isPaired(bits, rows) ? 4 : 3
  const placings = (
    o.ctasPerMultiprocessor === undefined
      ? [4, 3, 2, 1].filter((ctas) => ctas <= wanted)
      : [o.ctasPerMultiprocessor]
  ).map(placing)
  const { ctas, slots } = placings.find((each) => each.slots >= 3) ?? placings.at(-1)!
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
    PartialColumns: D + 4,
    Counters: 2 * Hkv * passes,
    ctas: o.multiprocessors * ctas,
    ctasPerMultiprocessor: ctas,
    slots,
    ahead: o.ahead ?? false,
  }
}
