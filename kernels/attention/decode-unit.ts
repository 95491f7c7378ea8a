import {
  atoms,
  each,
  f16x2,
  f32,
  fma,
  i32,
  idiv,
  laneIdx,
  loadWords,
  mma,
  permuteBytes,
  regs,
  shuffleXor,
  store,
  storeWords,
  syncWarp,
  u32,
  unpack2,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { highNibbles, lowNibbles } from '../../dsl/std/index.ts'
import { KEYS, quadSwizzle, VALUES } from '../formats/kv-pages.ts'
import {
  EXPONENT_BIAS,
  fragmentToken,
  NO_REFERENCE,
  probability,
  probabilityBits,
  SMALLEST_SCALE,
  score,
  splitProbabilities,
  UNIT,
  unitReference,
  valueRate,
  valueStep,
} from './arithmetic.ts'
import {
  type CopySource,
  type Granules,
  granulesOf,
  leaveGranule,
  type Stream,
  waitGranule,
} from './decode-copies.ts'
import { type DecodeMemory, partOf } from './decode-memory.ts'
import type { DecodeConfig, DecodeShape } from './decode-shape.ts'
import type { RoundUnit } from './rounds.ts'

/** Everything that stays the same for a CTA. */
export interface Decode {
  readonly a: CopySource & { readonly window: i32 }
  readonly c: DecodeConfig
  readonly d: DecodeShape
  readonly m: DecodeMemory
  readonly granules: Granules
}

/** Tokens of a unit that a lane has scores of. */
const LANE_TOKENS = UNIT / 8

/** The rows, 2t and 2t + 1 of a pass, whose scores a lane has. */
const PAIR = [0, 1]

/** High bytes and low ones. */
const PARTS = [0, 1]

/** Token `i` of a lane's tokens: two of each 16. */
const laneToken = (i: number): i32 => 16 * (i >> 1) + fragmentToken(8 * (i & 1)) + strandToken()

/** The part of it that depends on the lane: that of row g of a fragment. */
const strandToken = (): i32 => {
  const g = laneIdx >>> 2
  return 4 * (g >>> 1) + (g & 1)
}

/**
 * One warp, one unit: scores of its tokens for eight rows, their softmax, and the sums of values, for codes.
 *
 * Codes are operand A of both products and rows the free side, so that whoever unpacks a code does it for all rows. In the
 * first a fragment's row is a token and k runs along the head; in the second a row is a column of the head and k runs along
 * tokens. Pages are made so that a lane's words are fragments as they are. Between the two, probabilities change lanes
 * through shared memory: lane (g, t) has those of rows 2t and 2t + 1, and wants those of row g.
 */
export function attendUnit(o: Decode, s: Stream, unit: RoundUnit, pass: i32): void {
  const { c, d, m } = o
  const team = unit.team & 0xff
  const { from, end } = granulesOf(c, unit.live)
  const t = laneIdx & 3
  const mine = PAIR.map((j) => Math.min(2 * t + j, d.rows - 1))
  const steps = mine.map((row) => m.rowInfo.at(team, row, 0))
  const sums = mine.map((row) => m.rowInfo.at(team, row, 1))

  const scores = PAIR.map(() => regs(LANE_TOKENS, f32(f32.lowest)))
  /** Scale and minimum of each of the lane's values, packed. */
  const valueParams = regs(LANE_TOKENS, u32(0))
  const query = loadQuery(o, team)
  for (const granule of unroll(d.granules)) {
    if (granule >= from && granule < end) {
      waitGranule(c, o.granules, s)
      for (const tile of unroll(c.granule / 16)) {
        const products = tileProducts(o, s, query, tile)
        for (const half of unroll(2)) {
          const i = ((granule * c.granule) / 16 + tile) * 2 + half
          const inGranule = laneToken(2 * tile + half)
          const [scale, min] = floatsOf(paramsAt(o, s, KEYS, inGranule))
          for (const j of PAIR) scores[j]![i] = score(products[2 * half + j]!, scale, min, sums[j]!)
          valueParams[i] = paramsAt(o, s, VALUES, inGranule)
        }
      }
      leaveGranule(o.a, c, d, o.granules, s)
    }
  }

  // Which tokens a row sees: all of them but in a sequence's last unit, and its first where a window begins.
  const first = unit.unit * UNIT
  const isWhole = unit.position - first >= UNIT - 1 && unit.position + unit.count - o.a.window - first <= 0
  if (!isWhole) {
    const last = mine.map((row) => {
      const query = idiv(pass * d.rows + row, d.group)
      return unit.position + Math.min(query, unit.count - 1) - first
    })
    for (const i of unroll(LANE_TOKENS)) {
      const token = laneToken(i)
      const seen = PAIR.map((j) => token <= last[j]! && token > last[j]! - o.a.window)
      for (const j of PAIR) scores[j]![i] = seen[j]! ? scores[j]![i]! : f32.lowest
      valueParams[i] = seen[0]! || seen[1]! ? valueParams[i]! : 0
    }
  }

  const weights = softmax(o, scores, valueParams, steps)
  const fragments = exchangeWeights(o, weights)
  multiplyValues(o, s, unit, fragments)
}

/** A word of parameters of a token of the granule in hand. */
const paramsAt = ({ granules }: Decode, s: Stream, block: number, token: i32): u32 =>
  loadWords(granules.params!, [warpIdx, s.slot, block, 2 * token], 1)[0]!

/** Scale and minimum. */
function floatsOf(params: u32): readonly [f32, f32] {
  const [scale, min] = unpack2(f16x2.bits(params))
  return [f32(scale), f32(min)]
}

// ---- scores ---------------------------------------------------------------------------------------------------------

/** A row's query as fragments: words of high bytes, and of low ones. */
type Query = readonly (readonly u32[])[]

function loadQuery({ c, d, m }: Decode, team: i32): Query {
  const row = Math.min(laneIdx >>> 2, d.rows - 1)
  const words = c.D / 16
  return PARTS.map((part) =>
    loadWords(m.queries, [team, row, partOf(c, part) + (laneIdx & 3) * words], words),
  )
}

/** Σ Q·code of 16 tokens of the granule in hand: rows g and g + 8, each of the rows 2t and 2t + 1 of the queries. */
function tileProducts({ c, d, granules }: Decode, s: Stream, query: Query, tile: number): i32[] {
  const rowBytes = (c.D * d.bits) / 8
  const [upper, lower] = [0, 1].map((half) => {
    const token = 16 * tile + fragmentToken(8 * half) + strandToken()
    const from = token * rowBytes + (laneIdx & 3) * (rowBytes / 4)
    return loadWords(granules.data, [warpIdx, s.slot, from], rowBytes / 16)
  })
  const [high, low] = query.map((words) => {
    const acc = regs(4, i32(0))
    for (const step of unroll(c.D / 32)) {
      if (d.bits === 4) {
        const [a, b] = [upper![step]!, lower![step]!]
        const codes = [lowNibbles(a), lowNibbles(b), highNibbles(a), highNibbles(b)]
        mma(atoms.m16n8k32.u8s8, acc, codes, [words[step]!, words[c.D / 32 + step]!])
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

// ---- probabilities --------------------------------------------------------------------------------------------------

/** The maximum over the strands of a unit. */
const strandMax = (value: f32): f32 => overStrands(value, (x, y) => Math.max(x, y))

/** Sums of neighbouring strands, of pairs, and of halves. */
const strandSum = (value: f32): f32 => overStrands(value, (x, y) => x + y)

function overStrands(value: f32, join: (x: f32, y: f32) => f32): f32 {
  let all = value
  for (const mask of [4, 8, 16]) all = join(all, shuffleXor(all, mask))
  return all
}

/**
 * The words whose lower halves are probabilities times value scales, of each row of the pair; stores what else the unit is
 * known by. What a row does not see has the lowest score.
 */
function softmax(
  { d, c, m }: Decode,
  scores: readonly (readonly f32[])[],
  valueParams: readonly u32[],
  steps: readonly f32[],
): u32[][] {
  // Two rows of one query token see the same tokens, and so have the same weights.
  const shares = d.group % 2 === 0 || c.queries === 1
  const own = (shares ? [0] : PAIR).map((j) => {
    const scales = valueParams.map((params, i) => {
      const [scale] = floatsOf(params)
      return shares || scores[j]![i]! > f32.lowest ? scale : f32(0)
    })
    const top = Math.max(strandMax(scales.reduce((x, y) => Math.max(x, y))), SMALLEST_SCALE)
    const rate = valueRate(top)
    return { weights: scales.map((scale) => scale * rate), step: valueStep(top) }
  })
  return PAIR.map((j) => {
    const { weights, step } = own[shares ? 0 : j]!
    const largest = strandMax(scores[j]!.reduce((x, y) => Math.max(x, y)))
    const sees = largest > f32.lowest
    const reference = sees ? unitReference(largest, steps[j]!) : f32(0)
    const bias = EXPONENT_BIAS - reference
    let total: f32 = 0
    let offset: f32 = 0
    const bits = scores[j]!.map((value, i) => {
      const p = probability(value, steps[j]!, bias)
      const [, min] = floatsOf(valueParams[i]!)
      total = total + p
      offset = fma(p, min, offset)
      return probabilityBits(p, weights[i]!)
    })
    const statistics = [sees ? reference : f32(NO_REFERENCE), strandSum(total), strandSum(offset), step]
    const row = 2 * (laneIdx & 3) + j
    if (laneIdx < 4 && row < d.rows) store(m.statistics, [warpIdx, row, 0], statistics)
    return bits
  })
}

/**
 * Probabilities as fragments of the second product, for each part (high bytes, low bytes) and 32 tokens: words of four
 * tokens in the lower 16 and four in the upper.
 */
function exchangeWeights({ m }: Decode, bits: readonly (readonly u32[])[]): u32[][][] {
  const [g, t] = [laneIdx >>> 2, laneIdx & 3]
  // A row's words from lane group `from`, 16 bytes; xored so that lanes meet different banks on both sides.
  const chunk = (part: number, row: i32, from: i32) => (part * 64 + row * 8 + (from ^ row)) * 4
  bits.forEach((row, j) => {
    const words = each(4, (step) => {
      const [b0, b1, b2, b3] = row.slice(4 * step, 4 * step + 4)
      return splitProbabilities([b0!, b1!, b2!, b3!])
    })
    storeWords(
      m.exchange,
      [warpIdx, chunk(0, 2 * t + j, g)],
      words.map((word) => word.high),
    )
    storeWords(
      m.exchange,
      [warpIdx, chunk(1, 2 * t + j, g)],
      words.map((word) => word.low),
    )
  })
  syncWarp()
  // Tokens of neighbouring lane groups take turns: bytes 0 and 1 are tokens t and t + 2 of the lower 16, and so on.
  const fragments = PARTS.map((part) => {
    const [even, odd] = [0, 1].map((next) =>
      loadWords(m.exchange, [warpIdx, chunk(part, g, 2 * t + next)], 4),
    )
    return even!.map((word, step) => [
      permuteBytes(word, odd![step]!, 0x5140),
      permuteBytes(word, odd![step]!, 0x7362),
    ])
  })
  syncWarp()
  return fragments
}

// ---- values ---------------------------------------------------------------------------------------------------------

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
function multiplyValues(o: Decode, s: Stream, unit: RoundUnit, fragments: readonly u32[][][]): void {
  const { c, d, m } = o
  const t = laneIdx & 3
  const quadBytes = (c.D * d.bits) / 2
  const runs = columnRuns(c.D)
  const byteOf = (column: i32) =>
    t * quadBytes + (((column >>> 2) ^ quadSwizzle(c.D, t)) << 4) + (column & 3) * 4
  const places = runs.map(({ column }) => ({ first: byteOf(column), second: byteOf(column + c.D / 2) }))
  const sums = PARTS.map(() => each(c.D / 16, () => regs(4, i32(0))))
  const { from, end } = granulesOf(c, unit.live)

  for (const granule of unroll(d.granules)) {
    if (granule >= from && granule < end) {
      waitGranule(c, o.granules, s)
      for (const step of unroll(c.granule / 32)) {
        const index = (granule * c.granule) / 32 + step
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
              mma(atoms.m16n8k32.u8u8, sums[part]![4 * i + word]!, codes, fragments[part]![index]!)
            })
          }
        })
      }
      leaveGranule(o.a, c, d, o.granules, s)
    }
  }

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
