import { f32, fma, type i32, idiv, laneIdx, regs, store, u32, unroll, warpIdx } from '../../dsl/index.ts'
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
import { floatsOf, loadCodedQuery, multiplyValueCodes, scoreCodes } from './decode-codes.ts'
import { granulesOf, leaveGranule, type Stream, waitGranule } from './decode-copies.ts'
import { loadFloatQuery, multiplyValues, scoreFloats } from './decode-floats.ts'
import { type Decode, LANE_TOKENS, laneToken, PAIR, strandMax, strandSum } from './decode-lanes.ts'
import type { DecodeConfig, DecodeShape } from './decode-shape.ts'
import type { RoundUnit } from './rounds.ts'

/**
 * One warp, one unit: scores of its tokens for eight rows, their softmax, and the sums of values.
 *
 * The cache is operand A of both products and rows the free side, so that whoever unpacks a code does it for all rows. In the
 * first a fragment's row is a token and k runs along the head; in the second a row is a column of the head and k runs along
 * tokens. Pages are made so that a lane's words of codes are fragments as they are. Between the two, probabilities change
 * lanes through shared memory: lane (g, t) has those of rows 2t and 2t + 1, and wants those of row g.
 */
export function attendUnit(o: Decode, s: Stream, unit: RoundUnit, pass: i32): void {
  const { c, d, m } = o
  const team = unit.team & 0xff
  const { from, end } = granulesOf(c, unit.live)
  const mine = PAIR.map((j) => Math.min(2 * (laneIdx & 3) + j, d.rows - 1))
  const steps = mine.map((row) => m.rowInfo.at(team, row, 0))
  const sums = mine.map((row) => m.rowInfo.at(team, row, 1))

  const scores = PAIR.map(() => regs(LANE_TOKENS, f32(f32.lowest)))
  /** Scale and minimum of each of the lane's values, packed. */
  const valueParams = regs(LANE_TOKENS, u32(0))
  const query = d.bits === 16 ? loadFloatQuery(o, team) : loadCodedQuery(o, team)
  for (const granule of unroll(d.granules)) {
    if (granule >= from && granule < end) {
      waitGranule(c, o.granules, s)
      for (const tile of unroll(c.granule / 16)) {
        const first = ((granule * c.granule) / 16 + tile) * 2
        const own = d.bits === 16 ? scoreFloats(o, s, query, tile) : scoreCodes(o, s, query, tile, sums)
        for (const half of unroll(2)) {
          for (const j of PAIR) scores[j]![first + half] = own.scores[2 * half + j]!
          if (d.bits < 16) valueParams[first + half] = own.valueParams[half]!
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
      if (d.bits < 16) valueParams[i] = seen[0]! || seen[1]! ? valueParams[i]! : 0
    }
  }

  const probabilities = softmax(o, scores, valueParams, steps)
  if (d.bits === 16) multiplyValues(o, s, unit, probabilities)
  else multiplyValueCodes(o, s, unit, probabilities)
}

/**
 * The probabilities of the tokens, of each row of the pair: as they are, or times their values' scales as
 * `probabilityBits`. Stores what else the unit is known by. What a row does not see has the lowest score.
 */
function softmax(
  { d, c, m }: Decode,
  scores: readonly (readonly f32[])[],
  valueParams: readonly u32[],
  steps: readonly f32[],
): number[][] {
  const weights = d.bits === 16 ? undefined : weightsOf(d, c, scores, valueParams)
  return PAIR.map((j) => {
    const largest = strandMax(scores[j]!.reduce((x, y) => Math.max(x, y)))
    const sees = largest > f32.lowest
    const reference = sees ? unitReference(largest, steps[j]!) : f32(0)
    const bias = EXPONENT_BIAS - reference
    let total: f32 = 0
    let offset: f32 = 0
    const own = weights?.[weights.length - 1 < j ? 0 : j]
    const probabilities = scores[j]!.map((value, i) => {
      const p = probability(value, steps[j]!, bias)
      total = total + p
      if (own === undefined) return p
      const [, min] = floatsOf(valueParams[i]!)
      offset = fma(p, min, offset)
      return probabilityBits(p, own.weights[i]!)
    })
    const row = 2 * (laneIdx & 3) + j
    const sums = [strandSum(total), own === undefined ? f32(0) : strandSum(offset)]
    const statistics = [sees ? reference : f32(NO_REFERENCE), ...sums, own === undefined ? f32(1) : own.step]
    if (laneIdx < 4 && row < d.rows) store(m.statistics, [warpIdx, row, 0], statistics)
    return probabilities
  })
}

/** Of each token its value's scale in units of the largest, and what one unit of their integers is; once for both rows. */
function weightsOf(
  d: DecodeShape,
  c: DecodeConfig,
  scores: readonly (readonly f32[])[],
  valueParams: readonly u32[],
) {
  // Two rows of one query token see the same tokens, and so have the same weights.
  const shares = d.group % 2 === 0 || c.queries === 1
  return (shares ? [0] : PAIR).map((j) => {
    const scales = valueParams.map((params, i) => {
      const [scale] = floatsOf(params)
      return shares || scores[j]![i]! > f32.lowest ? scale : f32(0)
    })
    const top = Math.max(strandMax(scales.reduce((x, y) => Math.max(x, y))), SMALLEST_SCALE)
    const rate = valueRate(top)
    return { weights: scales.map((scale) => scale * rate), step: valueStep(top) }
  })
}
