import { type f32, type i32, type Shared, shared, type u32 } from '../../dsl/index.ts'
import { STRANDS, UNIT } from './arithmetic.ts'
import { type DecodeConfig, type DecodeShape, WARPS } from './decode-shape.ts'
import { ITEM_WORDS } from './items.ts'

/** What the warps of a CTA give each other. */
export interface DecodeMemory {
  /** The item at hand and the next one: [step & 1, word]. */
  readonly items: Shared<i32>
  /** Queries as bytes, high and low ones, in the order of the keys' words: [row, word]. */
  readonly queries: Shared<u32>
  /** Of each row the step of its query and the sum of its integers: [row, one of them]. */
  readonly rowInfo: Shared<f32>
  /** Of a unit the largest score of each warp's tokens, and the largest scale of their values: [row, warp]. */
  readonly scoreTops: Shared<f32>
  readonly valueTops: Shared<f32>
  /** The unit's reference of each row. */
  readonly references: Shared<f32>
  /** What the scales of the unit's values are multiplied by, and the step of their sums, where rows share them. */
  readonly valueRate: Shared<f32>
  /** A unit's probabilities as operands of the second product. */
  readonly operand: Shared<u32>
  /** A unit's probabilities by strands, [row, `strandPlace`], and the minima of its values. */
  readonly strands: Shared<f32>
  readonly minima: Shared<f32>
  /** Sums of a split: of probabilities, and of them times minima, [row, one of them]. */
  readonly rowSums: Shared<f32>
  /** What the CTA adds up: `TURN`, counted from 1, or 0, and `ROW`; and the words of that turn's item, or of the last claimed. */
  readonly merged: Shared<i32>
  readonly claimed: Shared<i32>
  /** Whether the other half of the item at hand is to be added to it. */
  readonly joins: Shared<i32>
}

export const TURN = 0
/** A row, or `ALL_ROWS`. */
export const ROW = 1
export const ALL_ROWS = -1

export function makeDecodeMemory(c: DecodeConfig, d: DecodeShape): DecodeMemory {
  return {
    items: shared<i32>('i32', [2, ITEM_WORDS]),
    queries: shared<u32>('u32', [c.rows, d.queryPitch]),
    rowInfo: shared<f32>('f32', [c.rows, 2]),
    scoreTops: shared<f32>('f32', [d.rowRoom, WARPS]),
    valueTops: shared<f32>('f32', [d.rowRoom, WARPS]),
    references: shared<f32>('f32', [d.rowRoom]),
    valueRate: shared<f32>('f32', [2]),
    operand: shared<u32>('u32', [d.operandWords]),
    strands: shared<f32>('f32', [d.rowRoom, UNIT]),
    minima: shared<f32>('f32', [UNIT]),
    rowSums: shared<f32>('f32', [d.rowRoom, 2]),
    merged: shared<i32>('i32', [2]),
    claimed: shared<i32>('i32', [1, ITEM_WORDS]),
    joins: shared<i32>('i32', [1]),
  }
}

/** The place among a row's words of `part` (0 for high bytes, 1 for low ones). */
export const partOf = (D: number, part: i32): i32 => part * (D / 4)

/**
 * Where the four tokens of a strand begin that a warp has; turned by row and strand, so that neither who writes nor who
 * reads meets others in a bank.
 */
export const strandPlace = (row: i32, strand: i32, warp: i32): i32 =>
  strand * (UNIT / STRANDS) + 4 * ((warp ^ (strand >>> 1) ^ row) & (WARPS - 1))
