import type { In, InOut, i32 } from '../../dsl/index.ts'
import { UNIT_BITS } from './items.ts'

/** The sequences of a step as the plan of decode attention sees them. */

export interface PlanConfig {
  /** Query tokens of the longest sequences that decode attention takes. */
  readonly queries: number
  /** CTAs that share the work of a key/value head and pass. */
  readonly ctas: number
  /** Whether there are sequences that are not decode attention's, which `prompts` then tells. */
  readonly prompts?: boolean
}

/** Threads of the CTA, each of which looks at one sequence at a time. */
export const PLAN_THREADS = 1024

export interface PlanArguments {
  readonly queryStart: In<i32, 'Starts'>
  readonly context: In<i32, 'B'>
  readonly pages: In<i32, 'B MaxPages'>
  readonly prompts?: In<i32, 'B'>
  readonly window: i32
  readonly items: InOut<i32, 'Items 12'>
}

export interface Sequence {
  readonly sequence: i32
  /** First query token in the step, and query tokens. */
  readonly token: i32
  readonly count: i32
  /** The first token that a query sees, and the end of the context. */
  readonly from: i32
  readonly end: i32
  /** The units of both; the last is before the first where decode attention has nothing to do. */
  readonly firstUnit: i32
  readonly lastUnit: i32
}

/** A sequence; past the last one, one that has nothing to do. */
export function sequenceOf(a: PlanArguments, c: PlanConfig, sequence: i32): Sequence {
  const sequences = a.context.dim('B')
  const safe = Math.min(sequence, sequences - 1)
  const token = a.queryStart.at(safe)
  const count = a.queryStart.at(safe + 1) - token
  const end = a.context.at(safe)
  const prompt = c.prompts ? a.prompts!.at(safe) : 0
  const isDecode = sequence < sequences && count >= 1 && count <= c.queries && end >= count && prompt === 0
  const from = Math.max(end - count - a.window + 1, 0)
  const firstUnit = isDecode ? from >>> UNIT_BITS : 0
  const lastUnit = isDecode ? (end - 1) >>> UNIT_BITS : -1
  return { sequence: safe, token, count, from, end, firstUnit, lastUnit }
}

export const unitsOf = ({ firstUnit, lastUnit }: Sequence): i32 => lastUnit - firstUnit + 1
