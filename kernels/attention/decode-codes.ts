import {
  atoms,
  each,
  f16x2,
  f32,
  i32,
  laneIdx,
  loadWords,
  mma,
  permuteBytes,
  range,
  regs,
  store,
  syncWarp,
  type u32,
  unpack2,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { highNibbles, lowNibbles } from '../../dsl/std/index.ts'
import { KEYS, quadSwizzle, VALUES } from '../formats/kv-pages.ts'
import { score, splitProbabilities } from './arithmetic.ts'
import { granulesOf, leaveGranule, type Stream, waitGranule } from './decode-copies.ts'
import { type Decode, giveRows, laneToken, PAIR, takeRow } from './decode-lanes.ts'
import { partOf } from './decode-memory.ts'
import type { RoundUnit } from './rounds.ts'

/** The two products of coded keys and values, whose sums are exact integers. */

/** High bytes and low ones. */
const PARTS = [0, 1]

/** A word of parameters of a token of the granule in hand. */
const paramsAt = ({ granules }: Decode, s: Stream, block: number, token: i32): u32 =>
  loadWords(granules.params!, [warpIdx, s.slot, block, 2 * token], 1)[0]!

/** Scale and minimum. */
export function floatsOf(params: u32): readonly [f32, f32] {
  const [scale, min] = unpack2(f16x2.bits(params))
  return [f32(scale), f32(min)]
}

// ---- scores ---------------------------------------------------------------------------------------------------------

/** A row's query as fragments: words of high bytes, and of low ones. */
export type CodedQuery = readonly (readonly u32[])[]

export function loadCodedQuery({ c, d, m }: Decode, team: i32): CodedQuery {
  const row = Math.min(laneIdx >>> 2, d.rows - 1)
  const words = c.D / 16
  return PARTS.map((part) =>
    loadWords(m.queries, [team, row, partOf(c, part) + (laneIdx & 3) * words], words),
  )
}

/** What 16 tokens of the granule in hand come to. */
export interface TileScores {
  /** Rows g and g + 8 of the tokens, each of the rows 2t and 2t + 1 of the queries. */
  readonly scores: readonly f32[]
  /** Scale and minimum of those tokens' values, packed; of codes only. */
  readonly valueParams: readonly u32[]
}

/** Scores of 16 tokens; `sums` are those of the queries' integers. */
export function scoreCodes(
  o: Decode,
  s: Stream,
  query: CodedQuery,
  tile: number,
  sums: readonly f32[],
): TileScores {
  const products = multiplyKeys(o, s, query, tile)
  const tokens = [0, 1].map((half) => laneToken(2 * tile + half))
  return {
    scores: tokens.flatMap((token, half) => {
      const [scale, min] = floatsOf(paramsAt(o, s, KEYS, token))
      return PAIR.map((j) => score(products[2 * half + j]!, scale, min, sums[j]!))
    }),
    valueParams: tokens.map((token) => paramsAt(o, s, VALUES, token)),
  }
}

/** Σ Q·code of 16 tokens of the granule in hand: rows g and g + 8, each of the rows 2t and 2t + 1 of the queries. */
function multiplyKeys({ c, d, granules }: Decode, s: Stream, query: CodedQuery, tile: number): i32[] {
  const rowBytes = (c.D * d.bits) / 8
  const [upper, lower] = [0, 1].map((half) => {
    const token = laneToken(2 * tile + half)
    const from = token * rowBytes + (laneIdx & 3) * (rowBytes / 4)
    return loadWords(granules.data, [warpIdx, s.slot, from], rowBytes / 16)
  })
  const [high, low] = query.map((words) => {
    const acc = regs(4, i32(0))
    for (const step of unroll(c.D / 32)) {
      if (d.bits === 4) {
        const [a, b] = [upper![step]!, lower![step]!]
        const codes = [lowNibbles(a), lowNibbles(b), highNibbles(a), highNibbles(b)]
        mma(atoms.m16n8k32.u8s8, acc, codes, [words[2 * step]!, words[2 * step + 1]!])
      } else {
        const [near, far] = [2 * step, 2 * step + 1]
        const codes = [upper![near]!, lower![near]!, upper![far]!, lower![far]!]
        mma(atoms.m16n8k32.u8s8, acc, codes, [words[near]!, words[far]!])
      }
    }
    return acc
  })
  return high!.map((sum, i) => sum * 128 + low![i]!)
}

// ---- values ---------------------------------------------------------------------------------------------------------

/**
 * Gives a granule's probabilities, as `probabilityBits`, of rows 2t and 2t + 1: a word of high bytes and one of low bytes
 * for each 32 tokens, of which a lane has four.
 */
export function giveCodes(o: Decode, granule: i32, rows: readonly (readonly u32[])[]): void {
  const steps = o.c.granule / 32
  const words = rows.map((row) =>
    each(steps, (step) => {
      const [b0, b1, b2, b3] = row.slice(4 * step, 4 * step + 4)
      return splitProbabilities([b0!, b1!, b2!, b3!])
    }),
  )
  giveRows(
    o,
    i32(0),
    granule * steps,
    words.map((row) => row.map(({ high }) => high)),
  )
  giveRows(
    o,
    i32(1),
    granule * steps,
    words.map((row) => row.map(({ low }) => low)),
  )
}

/**
 * A granule's probabilities as fragments of the second product, for each part (high bytes, low bytes) and 32 tokens: words
 * of four tokens in the lower 16 and four in the upper.
 */
function takeCodes(o: Decode, granule: i32): u32[][][] {
  const steps = o.c.granule / 32
  // Tokens of neighbouring lane groups take turns: bytes 0 and 1 are tokens t and t + 2 of the lower 16, and so on.
  return PARTS.map((part) => {
    const [even, odd] = [0, 1].map((next) =>
      takeRow(o, i32(part), 2 * (laneIdx & 3) + next, granule * steps, steps),
    )
    return even!.map((word, step) => [
      permuteBytes(word, odd![step]!, 0x5140),
      permuteBytes(word, odd![step]!, 0x7362),
    ])
  })
}

/** Words of neighbouring columns that a lane reads of four tokens: their first column, among those below D/2. */
interface ColumnRun {
  readonly words: number
  readonly column: i32
}

/** The lane's columns: `words` for row g of as many fragments; D/2 further on are those of row g + 8. */
function columnRuns(D: number): ColumnRun[] {
  const g = laneIdx >>> 2
  const whole = each(Math.floor(D / 64), (i) => ({ words: 4, column: 32 * i + 4 * g }))
  return D % 64 === 0 ? whole : [...whole, { words: 2, column: Math.floor(D / 64) * 32 + 2 * g }]
}

/** Sums of values of the unit's tokens, of each row and column, exactly; stores them as floats. */
export function multiplyValueCodes(o: Decode, s: Stream, unit: RoundUnit): void {
  const { c, d, m } = o
  const t = laneIdx & 3
  const quadBytes = (c.D * d.bits) / 2
  const runs = columnRuns(c.D)
  const byteOf = (column: i32) =>
    t * quadBytes + (((column >>> 2) ^ quadSwizzle(c.D, t)) << 4) + (column & 3) * 4
  const places = runs.map(({ column }) => ({ first: byteOf(column), second: byteOf(column + c.D / 2) }))
  const sums = PARTS.map(() => each(c.D / 16, () => regs(4, i32(0))))
  const { from, end } = granulesOf(c, unit.live)

  for (const granule of range(from, end)) {
    const fragments = takeCodes(o, granule)
    waitGranule(c, o.granules, s)
    for (const step of unroll(c.granule / 32)) {
      runs.forEach(({ words }, i) => {
        const [near, far] = [0, 4].map((quad) => {
          const at = (8 * step + quad) * quadBytes
          const load = (place: i32) => loadWords(o.granules.data, [warpIdx, s.slot, place + at], words)
          const first = load(places[i]!.first)
          // Upper nibbles stay where they are, 16 times what they stand for.
          if (d.bits === 4)
            return { first: first.map(lowNibbles), second: first.map((word) => word & 0xf0f0f0f0) }
          return { first, second: load(places[i]!.second) }
        })
        for (const word of unroll(words)) {
          const codes = [near!.first[word]!, near!.second[word]!, far!.first[word]!, far!.second[word]!]
          PARTS.forEach((part) => {
            mma(atoms.m16n8k32.u8u8, sums[part]![4 * i + word]!, codes, fragments[part]![step]!)
          })
        }
      })
    }
    leaveGranule(o.a, c, d, o.granules, s)
  }

  // Everybody has taken the probabilities, in whose place the sums go.
  syncWarp()
  const all = sums[0]!.map((high, tile) => high.map((sum, i) => f32(sum * 256 + sums[1]![tile]![i]!)))
  for (const j of PAIR) {
    const row = 2 * t + j
    if (row < d.rows) {
      runs.forEach(({ words, column }, i) => {
        for (const half of unroll(2)) {
          const values = each(words, (word) => all[4 * i + word]![2 * half + j]!)
          store(m.sums, [warpIdx, row * d.sumPitch + column + (half * c.D) / 2], values)
        }
      })
    }
  }
}
