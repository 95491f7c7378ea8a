import {
  each,
  f32,
  fma,
  type i32,
  idiv,
  laneIdx,
  range,
  regs,
  store,
  syncWarp,
  u32,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import {
  EXPONENT_BIAS,
  NO_REFERENCE,
  probability,
  probabilityBits,
  SMALLEST_SCALE,
  UNIT,
  unitReference,
  valueRate,
  valueStep,
} from './arithmetic.ts'
import { floatsOf, giveCodes, loadCodedQuery, multiplyValueCodes, scoreCodes } from './decode-codes.ts'
import { granulesOf, leaveGranule, type Stream, waitGranule } from './decode-copies.ts'
import { giveFloats, loadFloatQuery, multiplyValues, scoreFloats } from './decode-floats.ts'
import { type Decode, laneToken, PAIR, strandMax, strandSum } from './decode-lanes.ts'
import { type RoundUnit, teamOf } from './rounds.ts'

/** What a lane has of a granule's tokens, of both rows of the pair. */
interface Chunk {
  readonly scores: readonly f32[][]
  /** Scale and minimum of each token's values, packed. */
  readonly valueParams: u32[]
}

/**
 * One warp, one unit: scores of its tokens for eight rows, their softmax, and the sums of values.
 *
 * The cache is operand A of both products and rows the free side, so that whoever unpacks a code does it for all rows. In the
 * first a fragment's row is a token and k runs along the head; in the second a row is a column of the head and k runs along
 * tokens. Pages are made so that a lane's words of codes are fragments as they are. Between the two, probabilities change
 * lanes through shared memory: lane (g, t) has those of rows 2t and 2t + 1, and wants those of row g.
 *
 * Each of the three steps is a loop over granules, though registers have no index: what the granules left moves up by one.
 * Instructions that are used once are slower to fetch than to execute.
 */
export function attendUnit(o: Decode, s: Stream, unit: RoundUnit, pass: i32): void {
  const { c, d, m } = o
  const team = teamOf(unit).number
  const { from, end } = granulesOf(c, unit.live)
  const mine = PAIR.map((j) => Math.min(2 * (laneIdx & 3) + j, d.rows - 1))
  const steps = mine.map((row) => m.rowInfo.at(team, row, 0))
  const sums = mine.map((row) => m.rowInfo.at(team, row, 1))
  // Which tokens a row sees: all of them but in a sequence's last unit, and its first where a window begins.
  const first = unit.unit * UNIT
  const isWhole = unit.position - first >= UNIT - 1 && unit.position + unit.count - o.a.window - first <= 0
  const last = mine.map((row) => {
    const query = idiv(pass * d.rows + row, d.group)
    return unit.position + Math.min(query, unit.count - 1) - first
  })

  const query = d.bits === 16 ? loadFloatQuery(o, team) : loadCodedQuery(o, team)
  const tokens = c.granule / 8
  const chunks = each(
    d.granules,
    (): Chunk => ({
      scores: PAIR.map(() => regs(tokens, f32(f32.lowest))),
      valueParams: regs(tokens, u32(0)),
    }),
  )
  const top = chunks.at(-1)!
  for (const granule of range(d.granules)) {
    moveUp(o, chunks)
    if (granule >= from && granule < end) {
      waitGranule(c, o.granules, s)
      for (const tile of unroll(c.granule / 16)) {
        const own = d.bits === 16 ? scoreFloats(o, s, query, tile) : scoreCodes(o, s, query, tile, sums)
        for (const half of unroll(2)) {
          for (const j of PAIR) top.scores[j]![2 * tile + half] = own.scores[2 * half + j]!
          if (d.bits < 16) top.valueParams[2 * tile + half] = own.valueParams[half]!
        }
      }
      leaveGranule(o.a, c, d, o.granules, s)
      if (!isWhole) {
        for (const i of unroll(tokens)) {
          const token = granule * c.granule + laneToken(i)
          const seen = PAIR.map((j) => token <= last[j]! && token > last[j]! - o.a.window)
          for (const j of PAIR) top.scores[j]![i] = seen[j]! ? top.scores[j]![i]! : f32.lowest
          if (d.bits < 16) top.valueParams[i] = seen[0]! || seen[1]! ? top.valueParams[i]! : 0
        }
      }
    } else {
      for (const i of unroll(tokens)) {
        for (const j of PAIR) top.scores[j]![i] = f32.lowest
        if (d.bits < 16) top.valueParams[i] = 0
      }
    }
  }
  softmax(o, chunks, steps)
  syncWarp()
  if (d.bits === 16) multiplyValues(o, s, unit)
  else multiplyValueCodes(o, s, unit)
}

/** Moves what chunks hold to the chunk before; the last keeps what it has. */
function moveUp({ d }: Decode, chunks: readonly Chunk[]): void {
  for (const at of unroll(chunks.length - 1)) {
    const [to, from] = [chunks[at]!, chunks[at + 1]!]
    for (const i of unroll(to.valueParams.length)) {
      for (const j of PAIR) to.scores[j]![i] = from.scores[j]![i]!
      if (d.bits < 16) to.valueParams[i] = from.valueParams[i]!
    }
  }
}

/**
 * Gives the probabilities of all tokens to the lanes that multiply them: as they are, or times their values' scales as
 * integers. Stores what else the unit is known by. What a row does not see has the lowest score.
 */
function softmax(o: Decode, chunks: readonly Chunk[], steps: readonly f32[]): void {
  const { c, d, m } = o
  const isCoded = d.bits < 16
  // Two rows of one query token see the same tokens, and so have the same weights.
  const shares = d.group % 2 === 0 || c.queries === 1
  const tops = PAIR.map((j) => {
    if (!isCoded || (shares && j === 1)) return f32(1)
    const scales = chunks.flatMap(({ valueParams, scores }) =>
      valueParams.map((params, i) => {
        const [scale] = floatsOf(params)
        return shares || scores[j]![i]! > f32.lowest ? scale : f32(0)
      }),
    )
    return Math.max(strandMax(scales.reduce((x, y) => Math.max(x, y))), SMALLEST_SCALE)
  })
  const rates = tops.map((top, j) => (!isCoded || (shares && j === 1) ? f32(1) : valueRate(top)))
  const references = PAIR.map((j) => {
    const largest = strandMax(chunks.flatMap(({ scores }) => scores[j]!).reduce((x, y) => Math.max(x, y)))
    const sees = largest > f32.lowest
    return { sees, value: sees ? unitReference(largest, steps[j]!) : f32(0) }
  })
  const biases = references.map(({ value }) => EXPONENT_BIAS - value)

  const totals = regs(2, f32(0))
  const offsets = regs(2, f32(0))
  const bottom = chunks[0]!
  for (const granule of range(d.granules)) {
    const params = isCoded ? bottom.valueParams.map(floatsOf) : []
    const shared = params.map(([scale]) => scale * rates[0]!)
    const rows = PAIR.map((j) =>
      bottom.scores[j]!.map((value, i): number => {
        const p = probability(value, steps[j]!, biases[j]!)
        totals[j] = totals[j]! + p
        if (!isCoded) return p
        const [scale, min] = params[i]!
        offsets[j] = fma(p, min, offsets[j]!)
        return probabilityBits(p, shares ? shared[i]! : scale * rates[j]!)
      }),
    )
    if (isCoded) giveCodes(o, granule, rows)
    else giveFloats(o, granule, rows)
    moveUp(o, chunks)
  }
  for (const j of PAIR) {
    const { sees, value } = references[j]!
    const row = 2 * (laneIdx & 3) + j
    const sums = [strandSum(totals[j]!), isCoded ? strandSum(offsets[j]!) : f32(0)]
    const step = isCoded ? valueStep(tops[shares ? 0 : j]!) : f32(1)
    if (laneIdx < 4 && row < d.rows)
      store(m.statistics, [warpIdx, row, 0], [sees ? value : f32(NO_REFERENCE), ...sums, step])
  }
}
