import { blockDim, blockSum, f32, type In, type InOut, type i32, type u32 } from '../../dsl/index.ts'
import { type Logits, loadOwnGroups } from './groups.ts'

/** What is known of a row. */
export interface Row {
  readonly logits: Logits
  readonly V: number
  /** The largest logits of all groups. */
  readonly tops: In<f32, string>
  /** Sums of weights of all groups, beside their largest, and whether the survey has made them. */
  readonly sums: InOut<f32, string>
  readonly isSummed: boolean
  /** The largest logits of the calling thread's groups. */
  readonly largest: readonly f32[]
  /** Ordered bits of the largest and the smallest of all groups' largest. */
  readonly extent: { readonly largest: u32; readonly smallest: u32 }
  /** The mass of the row, beside its largest logit, which weighs 1; 0 where the survey has not summed. */
  readonly mass: f32
  readonly max: f32
  /** `toLog2` of the temperature. */
  readonly scale: f32
  readonly topK: i32
  readonly topP: f32
  readonly minP: f32
  /** What lies below weighs too little for min-p. */
  readonly floor: f32
  weigh(logit: f32): f32
  random(index: i32, purpose: number): u32[]
}

/** What random numbers are for. */
export const FOR_CANDIDATES = 0
export const FOR_PROPOSALS = 1

/** Device: the masses of the calling thread's groups beside the row's largest logit. */
export function massesOf(
  sums: InOut<f32, string>,
  largest: readonly f32[],
  V: number,
  weigh: (logit: f32) => f32,
): f32[] {
  return loadOwnGroups(sums as In<f32, string>, V, blockDim.x / 32, f32(0)).map(
    (sum, turn) => sum * weigh(largest[turn]!),
  )
}

/** Device: their sum. */
export function massOfRow(
  sums: InOut<f32, string>,
  largest: readonly f32[],
  V: number,
  weigh: (logit: f32) => f32,
): f32 {
  return blockSum(massesOf(sums, largest, V, weigh).reduce((x, y) => x + y))
}

/** Device: whether top-k takes anything away. */
export function cutsByRank(r: Row): boolean {
  return r.topK > 0 && r.topK < r.V
}

/** Device: the mass that the tokens kept by top-p reach: the largest logit weighs 1 and stays whatever top-p is. */
export function wantedMass(r: Row, whole: f32): f32 {
  return Math.max(r.topP * whole, 1)
}
