import {
  f32,
  type In,
  i32,
  idiv,
  LOG2E,
  laneIdx,
  load,
  range,
  reduxAdd,
  reduxMax,
  regs,
  store,
  storeWords,
  u32,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { packBytes } from '../../dsl/std/index.ts'
import { queryCode, queryRate, queryStep, splitQuery } from './arithmetic.ts'
import { packPair } from './decode-floats.ts'
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

type Queries = Decode & { readonly a: { readonly q: In<number, 'T HqD'>; readonly scale: f32 } }

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

/** Elements of a row that a lane has. */
export const queryElements = ({ D }: { readonly D: number }): number => 4 * ceilDiv(D, 128)

/** Elements of the first row that the calling warp quantizes, on their way. */
export const loadFirstQuery = (o: Queries, rows: TurnRows): f32[] => loadQuery(o, rows, warpIdx)

/** A lane's elements of a query, four of each 128; zeros for rows past the last. */
function loadQuery(o: Queries, rows: TurnRows, row: i32): f32[] {
  const { a, c } = o
  const { token, column, isLive } = placeOfRow(o, rows, row)
  const turns = ceilDiv(c.D, 128)
  const values = regs(queryElements(c), f32(0))
  for (const turn of unroll(turns)) {
    const word = laneIdx + 32 * turn
    if (isLive && (c.D % 128 === 0 || word < c.D / 4)) {
      load(a.q, [token, column + 4 * word], 4).forEach((value, i) => {
        values[4 * turn + i] = f32(value)
      })
    }
  }
  return values
}

/**
 * Quantizes the queries of a turn's rows, which the warps deal out; beside 16-bit keys they stay as they are. `first` is what
 * `loadFirstQuery` gave.
 */
export function prepareQueries(o: Queries, rows: TurnRows, first: readonly f32[]): void {
  const { a, c, d, m } = o
  const values = regs(first.length, f32(0))
  for (const i of unroll(first.length)) values[i] = first[i]!
  for (const row of range(warpIdx, c.rows, WARPS)) {
    if (c.rows > WARPS && row > warpIdx) {
      loadQuery(o, rows, row).forEach((value, i) => {
        values[i] = value
      })
    }
    const turns = ceilDiv(c.D, 128)
    let top: f32 = 0
    for (const i of unroll(first.length)) top = Math.max(top, Math.abs(values[i]!))
    if (d.bits === 16) {
      for (const turn of unroll(turns)) {
        const word = laneIdx + 32 * turn
        const own = values.slice(4 * turn, 4 * turn + 4)
        const words = [packPair(c.dtype, own[0]!, own[1]!), packPair(c.dtype, own[2]!, own[3]!)]
        if (c.D % 128 === 0 || word < c.D / 4) storeWords(m.queries, [row, 2 * word], words)
      }
      if (laneIdx === 0) store(m.rowInfo, [row, 0], [a.scale * LOG2E, f32(0)])
      continue
    }
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
