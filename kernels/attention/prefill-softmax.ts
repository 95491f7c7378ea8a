import {
  each,
  f32,
  fma,
  i32,
  laneIdx,
  load,
  range,
  regs,
  shuffle,
  shuffleXor,
  u32,
  unroll,
  voteAny,
} from '../../dsl/index.ts'
import {
  EXPONENT_BIAS,
  NO_REFERENCE,
  probability,
  probabilityBits,
  rescale,
  score,
  splitProbabilities,
  unitReference,
  valueRate,
  valueStep,
} from './arithmetic.ts'
import {
  KEY_MIN,
  KEY_SCALE,
  type PrefillMemory,
  TOP,
  unitTokens,
  VALUE_MIN,
  VALUE_SCALE,
  WEIGHT,
} from './prefill-memory.ts'

/** Rows of a lane: g and g + 8 of its warp's sixteen. */
export const laneRows = 2

/** What a lane knows of its rows: query steps and sums, the last position that each sees, and how many it does. */
export interface QueryRows {
  readonly step: f32[]
  readonly sum: f32[]
  readonly last: i32[]
  readonly window: i32
}

export const queryRows = (window: i32): QueryRows => ({
  step: regs(laneRows, f32(0)),
  sum: regs(laneRows, f32(0)),
  last: regs(laneRows, i32(0)),
  window,
})

/** The running softmax of a lane's rows: reference, sum of probabilities, and sum of theirs times minima. */
export interface RowState {
  readonly reference: f32[]
  readonly total: f32[]
  readonly offset: f32[]
}

export const rowState = (): RowState => ({
  reference: regs(laneRows, f32(NO_REFERENCE)),
  total: regs(laneRows, f32(0)),
  offset: regs(laneRows, f32(0)),
})

/** Forgets what has been seen. */
export function resetState(state: RowState): void {
  for (const r of unroll(laneRows)) {
    state.reference[r] = NO_REFERENCE
    state.total[r] = 0
    state.offset[r] = 0
  }
}

/** A unit as a warpgroup sees it. */
export interface UnitView {
  readonly stage: i32
  /** Position of the unit's first token. */
  readonly position: i32
  /** Whether rows may see only a part; static. */
  readonly isMasked: boolean
  /** Where it is masked: the last token that a row sees, from the unit's first on, and whether some row does not see the first. */
  readonly last: i32
  readonly isEdge: boolean
}

/** What is left of a unit beside its sums of values: factors of the sums so far, and of the unit's own. */
export interface UnitFactors {
  readonly keep: f32[]
  readonly own: f32[]
}

export const unitFactors = (): UnitFactors => ({
  keep: regs(laneRows, f32(0)),
  own: regs(laneRows, f32(0)),
})

/** Probabilities as A's registers, of four steps of 32 tokens: the upper bytes and the lower. */
export interface Probabilities {
  readonly high: u32[][]
  readonly low: u32[][]
}

export const probabilities = (): Probabilities => ({
  high: each(unitTokens / 32, () => regs(4, u32(0))),
  low: each(unitTokens / 32, () => regs(4, u32(0))),
})

const quads = unitTokens / 16

/**
 * The softmax of a unit: from the sums of queries and codes to probabilities of 16 bits. The state's references and the sums of
 * values so far, `values`, move on; what is left is `addUnitSums`.
 *
 * Accumulator 8h + 4b + 2r + e of a lane t is row r's sum with the unit's token 16h + 4t + 2b + e: of every sixteen tokens
 * four consecutive ones, of which e says the strand.
 */
export function softmaxUnit(
  dst: Probabilities,
  factors: UnitFactors,
  state: RowState,
  acc: readonly i32[],
  values: readonly f32[][],
  rows: QueryRows,
  m: PrefillMemory,
  unit: UnitView,
): UnitSums {
  const mine = 4 * (laneIdx & 3)
  const paramsOf = (row: number, h: number): f32[] => load(m.params, [unit.stage, row, 16 * h + mine], 4)
  const scores = regs(acc.length, f32(0))
  const tops = each(laneRows, () => regs(2, f32(Number.NEGATIVE_INFINITY)))
  const placeOf = (h: number, j: number, r: number) => 8 * h + 4 * (j >> 1) + 2 * r + (j & 1)
  const scoreQuad = (h: number): void => {
    const [scale, min] = [paramsOf(KEY_SCALE, h), paramsOf(KEY_MIN, h)]
    for (const j of unroll(4))
      for (const r of unroll(laneRows)) {
        const i = placeOf(h, j, r)
        scores[i] = score(acc[i]!, scale[j]!, min[j]!, rows.sum[r]!)
      }
  }
  const raiseTops = (h: number): void => {
    for (const j of unroll(4))
      for (const r of unroll(laneRows))
        tops[r]![j & 1] = Math.max(tops[r]![j & 1]!, scores[placeOf(h, j, r)]!)
  }
  /** Whether no row sees the second half of the unit: that of one whose diagonal ends before. */
  const isHalf = unit.isMasked && unit.last < unitTokens / 2
  if (unit.isMasked) {
    // Scores take the registers of sums, which stay where no row sees a token.
    for (const i of unroll(acc.length)) scores[i] = f32.bits(acc[i]!)
    /** The last token that a row sees, counted from the lane's first. */
    const last = rows.last.map((position) => position - unit.position - mine)
    const hideQuad = (h: number, isSeen: (token: number, r: number) => boolean): void => {
      for (const j of unroll(4))
        for (const r of unroll(laneRows)) {
          const i = placeOf(h, j, r)
          scores[i] = isSeen(16 * h + j, r) ? scores[i]! : f32(Number.NEGATIVE_INFINITY)
        }
    }
    const scoreQuads = (first: number, end: number): void => {
      for (const h of unroll(first, end)) {
        scoreQuad(h)
        hideQuad(h, (token, r) => token <= last[r]!)
      }
      if (unit.isEdge)
        for (const h of unroll(first, end)) hideQuad(h, (token, r) => token > last[r]! - rows.window)
      for (const h of unroll(first, end)) raiseTops(h)
    }
    scoreQuads(0, quads / 2)
    if (!isHalf) scoreQuads(quads / 2, quads)
  } else
    for (const h of unroll(quads)) {
      scoreQuad(h)
      raiseTops(h)
    }

  const bias = regs(laneRows, f32(0))
  const own = regs(laneRows, f32(0))
  for (const r of unroll(laneRows)) {
    let top = Math.max(tops[r]![0]!, tops[r]![1]!)
    top = Math.max(top, shuffleXor(top, 1))
    top = Math.max(top, shuffleXor(top, 2))
    // A row that sees none of the unit gets probabilities of 0, and a factor of 0 or 1 for their sums.
    const reference = top > f32.lowest ? unitReference(top, rows.step[r]!) : f32(NO_REFERENCE)
    const next = rescale(state.reference[r]!, reference)
    bias[r] = EXPONENT_BIAS - reference
    own[r] = next.factor
    factors.keep[r] = next.keep
    state.reference[r] = next.reference
  }

  // References move rarely once a few units have been seen. The assembler would start all exponentials before it knows whether
  // they do, next to each other, where they wait for their unit; so it must not know the references before.
  if (voteAny(factors.keep[0] !== 1 || factors.keep[1] !== 1)) {
    for (const half of values)
      for (const i of unroll(half.length)) half[i] = half[i]! * factors.keep[(i >> 1) & 1]!
    for (const r of unroll(laneRows)) bias[r] = shuffle(bias[r]!, laneIdx)
  }
  const sums = each(laneRows, () => regs(2, f32(0)))
  const offsets = each(laneRows, () => regs(2, f32(0)))
  const weigh = (row: number, share: (r: number) => f32 | undefined): void => {
    const shares = each(laneRows, share)
    const weighQuad = (h: number): void => {
      const [weight, min] = [paramsOf(row, h), paramsOf(VALUE_MIN, h)]
      for (const r of unroll(laneRows)) {
        const words = each(4, (j) => {
          const p = probability(scores[placeOf(h, j, r)]!, rows.step[r]!, bias[r]!)
          sums[r]![j & 1] = sums[r]![j & 1]! + p
          offsets[r]![j & 1] = fma(p, min[j]!, offsets[r]![j & 1]!)
          const w = shares[r] === undefined ? weight[j]! : weight[j]! * shares[r]!
          return probabilityBits(p, w)
        })
        const bytes = splitProbabilities([words[0]!, words[1]!, words[2]!, words[3]!])
        dst.high[h >> 1]![2 * (h & 1) + r] = bytes.high
        dst.low[h >> 1]![2 * (h & 1) + r] = bytes.low
      }
    }
    for (const h of unroll(quads / 2)) weighQuad(h)
    if (!isHalf) {
      for (const h of unroll(quads / 2, quads)) weighQuad(h)
    } else {
      for (const words of [...dst.high.slice(quads / 4), ...dst.low.slice(quads / 4)])
        for (const i of unroll(4)) words[i] = u32(0)
    }
  }
  const steps = regs(laneRows, m.steps.at(unit.stage, 0))
  if (unit.isMasked) {
    const largest = each(laneRows, (r) =>
      topOf(m, unit, rows.last[r]! - rows.window + 1 - unit.position, rows.last[r]! - unit.position),
    )
    for (const r of unroll(laneRows)) steps[r] = valueStep(largest[r]!)
    weigh(VALUE_SCALE, (r) => valueRate(largest[r]!))
  } else weigh(WEIGHT, () => undefined)

  for (const r of unroll(laneRows)) factors.own[r] = steps[r]! * own[r]!
  return { sums, offsets, own }
}

/** What is left to do of a unit's softmax, while its values are multiplied: the sums of a row's strands, of which a lane has two. */
export interface UnitSums {
  readonly sums: readonly f32[][]
  readonly offsets: readonly f32[][]
  readonly own: readonly f32[]
}

/** Adds a unit's sums to those of the units before it. */
export function addUnitSums(state: RowState, { keep }: UnitFactors, { sums, offsets, own }: UnitSums): void {
  for (const r of unroll(laneRows)) {
    state.total[r] = fma(sumOfStrands(sums[r]!), own[r]!, state.total[r]! * keep[r]!)
    state.offset[r] = fma(sumOfStrands(offsets[r]!), own[r]!, state.offset[r]! * keep[r]!)
  }
}

/** The sum of a row's eight strands, of which a lane has two. */
function sumOfStrands(strands: readonly f32[]): f32 {
  let sum = strands[0]! + strands[1]!
  sum = sum + shuffleXor(sum, 1)
  return sum + shuffleXor(sum, 2)
}

/** The largest value scale of the unit's tokens from `first` to `last`, which may lie outside. */
function topOf(m: PrefillMemory, unit: UnitView, first: i32, last: i32): f32 {
  const end = Math.min(Math.max(last, 0), unitTokens - 1)
  let top: f32 = m.params.at(unit.stage, TOP, end)
  if (first > 0) {
    top = m.params.at(unit.stage, VALUE_SCALE, end)
    for (const token of range(first, end)) top = Math.max(top, m.params.at(unit.stage, VALUE_SCALE, token))
  }
  return top
}
