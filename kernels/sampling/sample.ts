import {
  atomicAdd,
  barrier,
  blockIdx,
  ceilDiv,
  type Elem,
  type f32,
  type In,
  type InOut,
  i32,
  kernel,
  load,
  type Out,
  shared,
  threadFence,
  threadIdx,
  type u32,
  warpIdx,
} from '../../dsl/index.ts'
import { overlapLaunches } from '../half-rows.ts'
import { chooseToken } from './choose.ts'
import { type LogitType, rowWarps, tilesOf } from './groups.ts'
import type { SettingsTable } from './settings.ts'
import { surveyTile } from './survey.ts'

export interface SampleConfig {
  /** Vocabulary. */
  readonly V: number
  readonly dtype: LogitType
  /** Logits of a row that shared memory has room for. */
  readonly candidates: number
}

/** CTAs that survey a row together. */
const sharesOf = (V: number): number => ceilDiv(tilesOf(V), rowWarps(V))

/**
 * Chooses a token for each row of logits as the settings of its slot say, and notes it for the slot (`survey.ts`, `choose.ts`).
 * The CTA that is the last to have surveyed its share of a row chooses for it, while others still survey other rows.
 * `places` has each row once, with its slot: those first that take long, so that nobody waits for them at the end; a row whose
 * slot is negative is left out. `arrivals` is all zeros before and after.
 */
export const sampleTokens = kernel(
  import.meta.url,
  {
    grid: (d, c: SampleConfig) => [sharesOf(c.V), d.B!],
    block: (c: SampleConfig) => [32 * rowWarps(c.V)],
    // As many registers as the words of a group, and what is done to them, need.
    blocksPerMultiprocessor: (c: SampleConfig) => (c.dtype === 'f16' ? 4 : 2),
  },
  function sampleTokens(
    a: {
      logits: InOut<Elem<'dtype'>, 'B V'>
      places: In<i32, 'B 2'>
      settings: SettingsTable
      steps: InOut<i32, 'Slots'>
      touched: InOut<u32, 'Slots Words'>
      history: InOut<u32, 'Slots Halves'>
      allowed: In<u32, 'Slots Words'>
      biasIds: In<i32, 'Slots Biases'>
      biases: In<f32, 'Slots Biases'>
      biasSteps: In<i32, 'Slots Biases'>
      largest: InOut<f32, 'B Groups'>
      sums: InOut<f32, 'B Groups'>
      plainSums: Out<f32, 'B Groups'>
      arrivals: InOut<i32, 'B'>
      lastIds: Out<i32, 'Slots'>
      ids: Out<i32, 'B'>
    },
    c: SampleConfig,
  ) {
    overlapLaunches({ atOnce: false })
    const [row, slot] = load(a.places, [blockIdx.y, 0], 2) as [i32, i32]
    if (slot < 0) return
    const tile = blockIdx.x * rowWarps(c.V) + warpIdx
    if (tile < tilesOf(c.V)) surveyTile(a, c.V, row, slot, tile)
    if (sharesOf(c.V) === 1) barrier()
    else {
      const arrived = shared<i32>('i32', [1])
      threadFence()
      barrier()
      if (threadIdx.x === 0) arrived.put(atomicAdd(a.arrivals, [row], i32(1)), 0)
      barrier()
      if (arrived.at(0) < sharesOf(c.V) - 1) return
      threadFence()
      if (threadIdx.x === 0) a.arrivals.put(0, row)
    }
    chooseToken(a, c.V, c.candidates, row, slot)
  },
)
