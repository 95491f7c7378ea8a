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
  store,
  threadIdx,
  unroll,
  waitForPrevious,
  warpIdx,
  warpPrefixSum,
} from '../../dsl/index.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { UNIT } from './arithmetic.ts'

export interface PrefillPlanConfig {
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
 * longest contexts first, so that CTAs which take them in turns end together. Sequences whose query tokens are no prompt's have
 * none.
 */
export const planPrefill = kernel(
  import.meta.url,
  { grid: () => [1], block: [THREADS] },
  function planPrefill(
    a: {
      queryStart: In<i32, 'Starts'>
      context: In<i32, 'B'>
      /** Not 0 where a sequence's query tokens are a prompt's. */
      prompts: In<i32, 'B'>
      /** Tokens that a query sees, itself included. */
      window: i32
      tiles: Out<i32, 'Tiles 8'>
      tileCount: Out<i32, '1'>
      taken: Out<i32, '1'>
    },
    c: PrefillPlanConfig,
  ) {
    waitForPrevious()
    /** Of each length, longest first: how many tiles there are, and then where the next goes. */
    const places = shared<i32>('i32', [LENGTHS])
    const share = LENGTHS / THREADS
    store(places, [share * threadIdx.x], [i32(0), i32(0), i32(0), i32(0)])
    barrier()
    const eachTile = (visit: (tile: readonly i32[], at: i32) => void): void => {
      for (const sequence of range(warpIdx, a.context.dim('B'), WARPS)) {
        const start = a.queryStart.at(sequence)
        const count = a.queryStart.at(sequence + 1) - start
        const context = a.context.at(sequence)
        if (a.prompts.at(sequence) !== 0) {
          for (const tile of range(laneIdx, idiv(count + (c.tileTokens - 1), c.tileTokens), 32)) {
            const first = tile * c.tileTokens
            const position = context - count + first
            const last = position + Math.min(c.tileTokens, count - first) - 1
            const firstUnit = idiv(Math.max(position - a.window + 1, 0), UNIT)
            const lastUnit = idiv(last, UNIT)
            const words = [sequence, start + first, count - first, position, context, firstUnit, lastUnit]
            const length = Math.min(lastUnit - firstUnit, LENGTHS - 1)
            visit([...words, idiv(last, PAGE_TOKENS)], LENGTHS - 1 - length)
          }
        }
      }
    }
    eachTile((_tile, at) => {
      atomicAdd(places, [at], i32(1))
    })
    barrier()
    const counts = load(places, [share * threadIdx.x], share)
    const own = counts.reduce((x, y) => x + y)
    const end = prefixSum(own)
    const before = startsOf(counts, end - own)
    store(places, [share * threadIdx.x], before)
    if (threadIdx.x === THREADS - 1) {
      a.tileCount.put(end, 0)
      a.taken.put(0, 0)
    }
    barrier()
    eachTile((tile, at) => {
      store(a.tiles, [atomicAdd(places, [at], i32(1)), 0], tile)
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
  let sum = warpPrefixSum(value)
  const warps = shared<i32>('i32', [WARPS])
  if (laneIdx === 31) warps.put(sum, warpIdx)
  barrier()
  for (const warp of unroll(WARPS - 1)) sum = warp < warpIdx ? sum + warps.at(warp) : sum
  return sum
}

/**
 * The list on the host, eight words a tile; tiles of one length may come in another order on the device. Query tokens are a
 * prompt's unless they were `generated`.
 */
export function prefillTilesReference(
  sequences: readonly {
    readonly context: number
    readonly queries: number
    readonly generated?: boolean
  }[],
  { tileTokens }: PrefillPlanConfig,
  window: number,
): number[][] {
  const lengthOf = (tile: readonly number[]) => tile[6]! - tile[5]!
  const tiles: number[][] = []
  let start = 0
  for (const [sequence, { context, queries: count, generated = false }] of sequences.entries()) {
    for (let first = 0; first < count && !generated; first += tileTokens) {
      const position = context - count + first
      const last = position + Math.min(tileTokens, count - first) - 1
      const [from, to] = [Math.max(0, position - window + 1), last].map((token) => Math.floor(token / UNIT))
      const page = Math.floor(last / PAGE_TOKENS)
      tiles.push([sequence, start + first, count - first, position, context, from!, to!, page])
    }
    start += count
  }
  return tiles.sort((x, y) => lengthOf(y) - lengthOf(x))
}
