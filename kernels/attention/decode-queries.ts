import {
  bf16x2,
  f16x2,
  f32,
  type In,
  i32,
  idiv,
  LOG2E,
  laneIdx,
  loadWords,
  range,
  reduxAdd,
  reduxMax,
  regs,
  store,
  storeWords,
  u32,
  unpack2,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { packBytes } from '../../dsl/std/index.ts'
import { queryCode, queryRate, queryStep, splitQuery } from './arithmetic.ts'
import type { Decode } from './decode-lanes.ts'
import { partOf } from './decode-memory.ts'
import { WARPS } from './decode-shape.ts'
import type { Item } from './items.ts'

/** Which rows a turn has: those of a key/value head, and of a pass over them. */
export interface TurnRows {
  readonly item: Item
  readonly head: i32
  readonly pass: i32
}

/** What goes into rows. */
export interface QueryArguments {
  readonly q: In<number, 'T HqD'>
  readonly scale: f32
}

type Queries = Decode & { readonly a: QueryArguments }

/** The query token (in the step) and the column of a row's first element. */
export function placeOfRow({ c, d }: Decode, { item, head, pass }: TurnRows, row: i32) {
  const index = pass * c.rows + row
  // Rows are not negative, which the compiler does not know of a register.
  const query = i32(idiv(u32(index), u32(d.group)))
  return {
    token: item.token + query,
    column: (head * d.group + (index - query * d.group)) * c.D,
    isLive: row < c.rows && index < item.count * d.group,
  }
}

/** Words of a row that a lane has: two of each 64, which are four elements. */
export const queryWords = ({ D }: { readonly D: number }): number => 2 * ceilDiv(D, 128)

/** Words of the first row that the calling warp quantizes, on their way. */
export const loadFirstQuery = (o: Queries, rows: TurnRows): u32[] => loadQuery(o, rows, warpIdx)

/** A lane's words of a query; zeros for rows past the last. */
function loadQuery(o: Queries, rows: TurnRows, row: i32): u32[] {
  const { a, c } = o
  const { token, column, isLive } = placeOfRow(o, rows, row)
  const words = regs(queryWords(c), u32(0))
  for (const turn of unroll(ceilDiv(c.D, 128))) {
    const quad = laneIdx + 32 * turn
    if (isLive && (c.D % 128 === 0 || quad < c.D / 4)) {
      // Past the first cache, which may have what was there before, for nobody may have waited for the launch before.
      loadWords(a.q, [token, column + 4 * quad], 2, { cache: 'cg' }).forEach((word, i) => {
        words[2 * turn + i] = word
      })
    }
  }
  return words
}

/** The two elements of a word. */
const elementsOf = (dtype: 'f16' | 'bf16', word: u32): f32[] =>
  dtype === 'f16'
    ? unpack2(f16x2.bits(word)).map((x) => f32(x))
    : unpack2(bf16x2.bits(word)).map((x) => f32(x))

/**
 * Quantizes the queries of a turn's rows, which the warps deal out; beside 16-bit keys they stay as they are. `first` is what
 * `loadFirstQuery` gave.
 */
export function prepareQueries(o: Queries, rows: TurnRows, first: readonly u32[]): void {
  const { a, c, d, m } = o
  const own = regs(first.length, u32(0))
  for (const i of unroll(first.length)) own[i] = first[i]!
  for (const row of range(warpIdx, c.rows, WARPS)) {
    if (c.rows > WARPS && row > warpIdx) {
      loadQuery(o, rows, row).forEach((word, i) => {
        own[i] = word
      })
    }
    const turns = ceilDiv(c.D, 128)
    if (d.bits === 16) {
      for (const turn of unroll(turns)) {
        const word = laneIdx + 32 * turn
        const words = own.slice(2 * turn, 2 * turn + 2)
        if (c.D % 128 === 0 || word < c.D / 4) storeWords(m.queries, [row, 2 * word], words)
      }
      if (laneIdx === 0) store(m.rowInfo, [row, 0], [a.scale * LOG2E, f32(0)])
      continue
    }
    const values = own.flatMap((word) => elementsOf(c.dtype, word))
    const top = values.map((value) => Math.abs(value)).reduce((x, y) => Math.max(x, y))
    // Magnitudes are in the order of their bits.
    const largest = f32.bits(reduxMax(u32.bits(top)))
    const rate = queryRate(largest)
    const codes = values.map((value) => queryCode(value, rate))
    const sum = reduxAdd(codes.reduce((x, y) => x + y))
    for (const turn of unroll(turns)) {
      const word = laneIdx + 32 * turn
      if (c.D % 128 === 0 || word < c.D / 4) {
        const parts = codes.slice(4 * turn, 4 * turn + 4).map(splitQuery)
        const at = queryPlace(o, word)
        const [p0, p1, p2, p3] = parts
        const high = packBytes(p0!.high, p1!.high, p2!.high, p3!.high)
        const low = packBytes(p0!.low, p1!.low, p2!.low, p3!.low)
        m.queries.put(high, row, at)
        m.queries.put(low, row, partOf(c.D, 1) + at)
      }
    }
    if (laneIdx === 0) store(m.rowInfo, [row, 0], [queryStep(largest, a.scale), f32(sum)])
  }
}

/**
 * Where a word of four columns goes, so that each quarter of a row's words are the columns of a lane's keys, and the two
 * words of a step are neighbours.
 */
function queryPlace({ d }: Decode, word: i32): i32 {
  if (d.bits !== 4) return word
  // Of 32 columns words 0 to 3 are lower nibbles, and 4 to 7 the upper ones of the same words.
  const keyWord = 4 * (word >>> 3) + (word & 3)
  const upper = (word >>> 2) & 1
  return 2 * keyWord + upper
}
