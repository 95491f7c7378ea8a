import {
  atomicAdd,
  barrier,
  type In,
  i32,
  idiv,
  kernel,
  laneIdx,
  load,
  type Out,
  range,
  shared,
  shuffleUp,
  store,
  threadIdx,
  unroll,
  waitForPrevious,
  warpIdx,
} from '../../dsl/index.ts'
import { UNIT } from './arithmetic.ts'

export interface PrefillPlanConfig {
  /** Query tokens of the longest sequences that decode attention takes. */
  readonly queries: number
  /** Query tokens of a tile. */
  readonly tileTokens: number
}

const THREADS = 256
const WARPS = THREADS / 32

/** Lengths of tiles that are told apart, in units; longer ones count as the longest. */
const LENGTHS = 1024

/** Room for the tiles of any step with so many query tokens and sequences. */
export const mostPrefillTiles = (tokens: number, sequences: number, tileTokens: number): number =>
  Math.min(tokens, sequences) + Math.floor(tokens / tileTokens)

/**
 * Lists the tiles of prefill attention for a step, for every layer the same: sequence and first query token, those with the
 * longest contexts first, so that CTAs which take them in turns end together. Sequences with up to `queries` query tokens
 * have none.
 */
export const planPrefill = kernel(
  import.meta.url,
  { grid: () => [1], block: [THREADS] },
  function planPrefill(
    a: {
      queryStart: In<i32, 'Starts'>
      context: In<i32, 'B'>
      /** Tokens that a query sees, itself included. */
      window: i32
      tiles: Out<i32, 'Tiles 2'>
      tileCount: Out<i32, '1'>
    },
    c: PrefillPlanConfig,
  ) {
    waitForPrevious()
    /** Of each length, longest first: how many tiles there are, and then where the next goes. */
    const places = shared<i32>('i32', [LENGTHS])
    const share = LENGTHS / THREADS
    store(places, [share * threadIdx.x], [i32(0), i32(0), i32(0), i32(0)])
    barrier()
    const eachTile = (visit: (sequence: i32, first: i32, at: i32) => void): void => {
      for (const sequence of range(warpIdx, a.context.dim('B'), WARPS)) {
        const start = a.queryStart.at(sequence)
        const count = a.queryStart.at(sequence + 1) - start
        const before = a.context.at(sequence) - count
        if (count > c.queries) {
          for (const tile of range(laneIdx, idiv(count + (c.tileTokens - 1), c.tileTokens), 32)) {
            const first = tile * c.tileTokens
            const last = before + Math.min(first + c.tileTokens, count) - 1
            const units = idiv(last, UNIT) - idiv(Math.max(before + first - a.window + 1, 0), UNIT)
            visit(sequence, first, LENGTHS - 1 - Math.min(units, LENGTHS - 1))
          }
        }
      }
    }
    eachTile((_sequence, _first, at) => {
      atomicAdd(places, [at], i32(1))
    })
    barrier()
    const counts = load(places, [share * threadIdx.x], share)
    const own = counts.reduce((x, y) => x + y)
    const end = prefixSum(own)
    const before = startsOf(counts, end - own)
    store(places, [share * threadIdx.x], before)
    if (threadIdx.x === THREADS - 1) a.tileCount.put(end, 0)
    barrier()
    eachTile((sequence, first, at) => {
      store(a.tiles, [atomicAdd(places, [at], i32(1)), 0], [sequence, first])
    })
  },
)

/** What comes before each count, `first` before the first. */
function startsOf(counts: readonly i32[], first: i32): i32[] {
  let sum = first
  return counts.map((count) => {
    const before = sum
    sum = sum + count
    return before
  })
}

/** The sum over the threads up to the calling one. */
function prefixSum(value: i32): i32 {
  let sum = value
  for (const step of unroll(5)) {
    const lower = shuffleUp(sum, 2 ** step)
    sum = laneIdx >= 2 ** step ? sum + lower : sum
  }
  const warps = shared<i32>('i32', [WARPS])
  if (laneIdx === 31) warps.put(sum, warpIdx)
  barrier()
  for (const warp of unroll(WARPS - 1)) sum = warp < warpIdx ? sum + warps.at(warp) : sum
  return sum
}

/** The tiles on the host, longest first; tiles of one length may come in another order on the device. */
export function prefillTilesReference(
  sequences: readonly { readonly context: number; readonly queries: number }[],
  { queries, tileTokens }: PrefillPlanConfig,
  window: number,
): { readonly sequence: number; readonly first: number; readonly units: number }[] {
  return sequences
    .flatMap((s, sequence) =>
      Array.from({ length: s.queries > queries ? Math.ceil(s.queries / tileTokens) : 0 }, (_, i) => {
        const first = i * tileTokens
        const before = s.context - s.queries
        const last = before + Math.min(first + tileTokens, s.queries) - 1
        const from = Math.max(0, before + first - window + 1)
        return { sequence, first, units: Math.floor(last / UNIT) - Math.floor(from / UNIT) + 1 }
      }),
    )
    .sort((x, y) => y.units - x.units)
}
