import {
  barrier,
  blockIdx,
  type Elem,
  type f16,
  type f32,
  gridDim,
  type In,
  type InOut,
  type i32,
  kernel,
  launchDependents,
  type Out,
  range,
  threadIdx,
  waitForPrevious,
  warpIdx,
} from '../../dsl/index.ts'
import { hasEngine, initGranules, liveIn, makeGranules, placeOf, startStream } from './decode-copies.ts'
import { makeDecodeMemory } from './decode-memory.ts'
import {
  announcePart,
  lastSlices,
  loadFirstQuery,
  mergeSplits,
  mergeUnits,
  noPending,
  notePart,
  prepareQueries,
} from './decode-rows.ts'
import { checkDecode, DECODE_THREADS, type DecodeConfig, decodeShape } from './decode-shape.ts'
import { attendUnit } from './decode-unit.ts'
import { loadUnit } from './rounds.ts'

/**
 * Attention over paged keys and values for sequences with few query tokens: query heads and tokens that share a key/value
 * head are multiplied together, so that each code is read and unpacked once.
 *
 * CTAs take the rounds that `planAttention` has listed, each for every key/value head, in turns. In a round a warp attends
 * to one unit; the warps of a team then add up the units of their split in order, and what sequences of several splits
 * have is added up by the last to arrive. A row's result depends on its own context alone (`arithmetic.ts`).
 *
 * `partials` and `arrivals` are described at `decodeConfig`.
 */
export const decodeAttention = kernel(
  import.meta.url,
  {
    grid: (_, c: DecodeConfig) => [c.ctas],
    block: [DECODE_THREADS],
    blocksPerMultiprocessor: (c) => c.ctasPerMultiprocessor,
  },
  function decodeAttention(
    a: {
      q: In<Elem<'dtype'>, 'T HqD'>
      kv: In<Elem<'kvElement'>, 'Pages Hkv 2 PB'>
      kvParams?: In<f16, 'Pages Hkv 2 64 2'>
      rounds: In<i32, 'Rounds 8 12'>
      roundCount: In<i32, '1'>
      /** Tokens that a query sees, itself included. */
      window: i32
      /** Factor of the scores, usually 1/√D. */
      scale: f32
      partials: InOut<f32, 'Slots PartialRows PartialColumns'>
      arrivals: InOut<i32, 'B Counters'>
      out: Out<Elem<'dtype'>, 'T HqD'>
    },
    c: DecodeConfig,
  ) {
    checkDecode(c)
    const d = decodeShape(c)
    const granules = makeGranules(c, d)
    const o = { a, c, d, m: makeDecodeMemory(d), granules }
    if (threadIdx.x === 0) initGranules(c, granules)
    barrier()
    if (hasEngine()) {
      waitForPrevious()
      launchDependents()
    }

    const rounds = a.roundCount.at(0)
    const turns = rounds * (c.Hkv * d.passes)
    const stream = startStream(a, c, d, granules, { turns, rounds, first: blockIdx.x })
    const rowsOf = (turn: i32) => {
      const { head, pass, round } = placeOf(d, c, rounds, turn)
      const unit = loadUnit(a.rounds, round, warpIdx)
      return { head, pass, unit, live: liveIn(d, pass, unit.live, unit.count) }
    }
    const pending = noPending()
    if (blockIdx.x < turns) {
      const rows = rowsOf(blockIdx.x)
      if (rows.live !== 0) prepareQueries(o, rows, loadFirstQuery(o, rows))
    }
    barrier()
    // One turn more than there are, for the part of a split that the last has left.
    const end = turns > 0 ? turns + gridDim.x : 0
    for (const turn of range(blockIdx.x, end, gridDim.x)) {
      announcePart(o, pending)
      if (turn < turns) {
        const rows = rowsOf(turn)
        if (rows.live !== 0) attendUnit(o, stream, rows.unit, rows.pass)
      }
      barrier()
      // The next round's queries are on their way while this one's sums are added up.
      const next = rowsOf(Math.min(turn + gridDim.x, turns - 1))
      const query = loadFirstQuery(o, next)
      if (pending.turn >= 0) {
        const last = lastSlices(o, pending)
        if (last !== 0) mergeSplits(o, rowsOf(pending.turn), last)
        pending.turn = -1
      }
      if (turn < turns) {
        const rows = rowsOf(turn)
        if (rows.live !== 0) {
          mergeUnits(o, rows)
          notePart(o, pending, rows, turn)
        }
      }
      if (turn + gridDim.x < turns && next.live !== 0) prepareQueries(o, next, query)
      barrier()
    }
  },
)
