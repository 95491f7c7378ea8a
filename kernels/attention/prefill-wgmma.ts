import {
  advance,
  barrier,
  type Cursor,
  consumerCursor,
  each,
  f32,
  fma,
  i32,
  idiv,
  initBarrier,
  initRing,
  laneIdx,
  launchDependents,
  load,
  matrixOperand,
  namedArrive,
  namedBarrier,
  type Out,
  packBf16,
  packF16,
  range,
  regs,
  release,
  specialize,
  store,
  storeWords,
  syncWarp,
  threadIdx,
  u32,
  unroll,
  voteAny,
  waitForPrevious,
  waitFull,
  warpgroupIdx,
  warpIdx,
  wgmma,
  wgmmaAtom,
  wgmmaCommit,
  wgmmaFence,
  wgmmaWait,
} from '../../dsl/index.ts'
import { rescale, SPLIT, UNIT } from './arithmetic.ts'
import type { CacheArguments } from './prefill-copies.ts'
import { makeMemory, type PrefillMemory } from './prefill-memory.ts'
import { type QueryArguments, roundQueries } from './prefill-queries.ts'
import { checkPrefill, groupOf, type PrefillConfig, tileTokens } from './prefill-shape.ts'
import {
  laneRows,
  probabilities,
  type RowState,
  resetState,
  rowState,
  softmaxUnit,
} from './prefill-softmax.ts'
import { type PrefillTile, type StepTiles, takeTile, tokenOfRow } from './prefill-tiles.ts'
import { feed } from './prefill-unpack.ts'

export interface PrefillArguments extends StepTiles, CacheArguments, QueryArguments {
  readonly out: Out<number, 'T HqD'>
}

/** Units of a split: its sums are added up before they join those of other splits. */
const splitUnits = SPLIT / UNIT

/**
 * Attention of many query tokens over a coded cache, on `wgmma`.
 *
 * A tile is 128 rows: query tokens, and beside each other the query heads of one key/value head. Two warpgroups have 64
 * rows each, and go through the units of 128 tokens that a row of the tile sees; the third copies pages and unpacks codes.
 */
export function prefillWgmma(a: PrefillArguments, c: PrefillConfig): void {
  checkPrefill(c, c)
  const m = makeMemory(c, c, c)
  if (threadIdx.x === 256) {
    initRing(m.rawRing)
    initRing(m.keyRing)
    initRing(m.valueRing)
    initBarrier(m.fetched, 0, 1)
    initRing(m.tileRing)
  }
  barrier()
  launchDependents()
  waitForPrevious()
  specialize({
    consumers: { warps: 8, registers: 232, run: () => attend(a, c, m) },
    feeders: { warps: 4, registers: 40, run: () => feed(a, c, m) },
  })
}

/** Halves in which products are computed, so that one's threads work while the other's tensor cores do. */
const halves = 2

/** A warpgroup: its 64 rows of each tile. */
function attend(a: PrefillArguments, c: PrefillConfig, m: PrefillMemory): void {
  /** Units of all tiles that are done with: the place of the next in both rings. */
  let done: i32 = 0
  const scoreAtom = wgmmaAtom(UNIT / halves, 's8u8')
  const valueAtom = wgmmaAtom(c.D / halves, 'u8u8')
  const scores = each(halves, () => regs(scoreAtom.c.registers, i32(0)))
  // The same registers where they are as many: the assembler would else start scores before the sums of values are added.
  const products = c.D === UNIT ? scores : each(halves, () => regs(valueAtom.c.registers, i32(0)))
  const p = probabilities()
  const sums = each(halves, () => regs(c.D / 2 / halves, f32(0)))
  const row = 64 * warpgroupIdx + 16 * (warpIdx & 3) + (laneIdx >>> 2)
  const queries = consumerCursor(0)
  if (warpgroupIdx === 1) passTurn(c)
  for (;;) {
    waitFull(m.tileRing, queries)
    const tile = takeTile(m.tile, 0)
    if (tile.tokens === 0) break
    const { bytes, rows } = roundQueries(a, c, tile, row)
    syncWarp()
    release(m.tileRing, 0)
    advance(queries, m.tileRing, 1)
    /** The positions of the warpgroup's first row and of its last. */
    const lowest = tile.position + tokenOfRow(c, tile, 64 * warpgroupIdx)
    const highest = tile.position + tokenOfRow(c, tile, 64 * warpgroupIdx + 63)
    const state = rowState()
    for (const sum of sums) for (const i of unroll(sum.length)) sum[i] = 0

    const startScores = (unit: i32, half: number, part: 'high' | 'low'): void => {
      wgmmaFence()
      for (const k of unroll(c.D / 32)) {
        const keys = matrixOperand(m.keys.row(stageOf(c, unit)), [(half * UNIT) / halves, 32 * k])
        wgmma(scoreAtom, scores[half]!, bytes[part][k]!, keys, part === 'low' || k > 0)
      }
      wgmmaCommit()
    }
    const startValues = (half: number, part: 'high' | 'low'): void => {
      wgmmaFence()
      for (const k of unroll(UNIT / 32)) {
        const values = matrixOperand(m.values.row(stageOf(c, done)), [(half * c.D) / halves, 32 * k])
        wgmma(valueAtom, products[half]!, p[part][k]!, values, part === 'low' || k > 0)
      }
      wgmmaCommit()
    }
    /** The second part of the scores; the other warpgroup may start as soon as all is under way. */
    const finishScores = (unit: i32): void => {
      for (const half of unroll(halves)) {
        wgmmaWait(1)
        shift(scores[half]!, 7)
        startScores(unit, half, 'low')
      }
      passTurn(c)
      wgmmaWait(0)
      syncWarp()
      release(m.keyRing, stageOf(c, unit))
    }

    waitFull(m.keyRing, cursorOf(c, done))
    awaitTurn(c)
    for (const half of unroll(halves)) startScores(done, half, 'high')
    finishScores(done)
    for (const unit of range(tile.firstUnit, tile.lastUnit + 1)) {
      const position = unit * UNIT
      const factors = { keep: regs(laneRows, f32(0)), own: regs(laneRows, f32(0)) }
      waitFull(m.valueRing, cursorOf(c, done))
      softmaxUnit(p, factors, state, scores.flat(), rows, m, {
        stage: stageOf(c, done),
        position,
        isDiagonal: position + UNIT - 1 > lowest,
        isEdge: position < highest - a.window + 1,
      })
      awaitTurn(c)
      for (const half of unroll(halves)) startValues(half, 'high')
      // References move rarely once a few units have been seen.
      if (voteAny(factors.keep[0] !== 1 || factors.keep[1] !== 1)) {
        for (const sum of sums)
          for (const i of unroll(sum.length)) sum[i] = sum[i]! * factors.keep[(i >> 1) & 1]!
      }
      for (const half of unroll(halves)) {
        wgmmaWait(1)
        shift(products[half]!, 8)
        startValues(half, 'low')
      }
      const addProducts = (half: number): void => {
        const sum = sums[half]!
        for (const i of unroll(sum.length))
          sum[i] = fma(f32(products[half]![i]!), factors.own[(i >> 1) & 1]!, sum[i]!)
      }
      const releaseValues = (): void => {
        syncWarp()
        release(m.valueRing, stageOf(c, done))
        done += 1
      }
      if (unit < tile.lastUnit) {
        if (unit % splitUnits === splitUnits - 1) {
          wgmmaWait(0)
          releaseValues()
          for (const half of unroll(halves)) addProducts(half)
          // Before the next scores: their registers and those of the sums' totals would be too many.
          endSplit(m, sums, state, idiv(unit, splitUnits) === idiv(tile.firstUnit, splitUnits))
          waitFull(m.keyRing, cursorOf(c, done))
          for (const half of unroll(halves)) startScores(done, half, 'high')
        } else {
          wgmmaWait(1)
          addProducts(0)
          waitFull(m.keyRing, cursorOf(c, done + 1))
          startScores(done + 1, 0, 'high')
          wgmmaWait(1)
          releaseValues()
          addProducts(1)
          startScores(done, 1, 'high')
        }
        finishScores(done)
      } else {
        passTurn(c)
        wgmmaWait(0)
        releaseValues()
        for (const half of unroll(halves)) addProducts(half)
      }
    }
    joinSplit(m, sums, state, idiv(tile.lastUnit, splitUnits) === idiv(tile.firstUnit, splitUnits))
    finish(a, c, tile, row, sums.flat(), state)
  }
  if (warpgroupIdx === 0) awaitTurn(c)
}

/** The place of a unit in a ring, of those of all tiles: without a register for either part of it. */
const stageOf = (c: PrefillConfig, unit: i32): i32 => unit & (c.stages - 1)
const cursorOf = (c: PrefillConfig, unit: i32): Cursor => ({
  stage: stageOf(c, unit),
  parity: (unit >>> Math.log2(c.stages)) & 1,
})

/** Makes room for the lower bits of a product's second part. */
function shift(acc: i32[], bits: number): void {
  for (const i of unroll(acc.length)) acc[i] = acc[i]! << bits
}

/**
 * The warpgroups take turns with the tensor cores, so that one's softmax runs beside the other's products: barrier 1 + w is
 * warpgroup w's turn.
 */
function awaitTurn(c: PrefillConfig): void {
  if (c.turns) namedBarrier(1 + warpgroupIdx, 256)
}

function passTurn(c: PrefillConfig): void {
  if (c.turns) namedArrive(2 - warpgroupIdx, 256)
}

/** Where a thread keeps four sums of finished splits. */
const totalAt = (i: number) => [warpgroupIdx, i >> 2, threadIdx.x & 127, 0] as const

/** Where it keeps a part of the state of its rows. */
const stateAt = (part: number) => [warpgroupIdx, part, threadIdx.x & 127, 0] as const

/** Adds to a split's sums those of the splits before it, which a thread keeps in shared memory; `isFirst`: there are none. */
function joinSplit(m: PrefillMemory, sums: readonly f32[][], state: RowState, isFirst: boolean): void {
  if (isFirst) return
  const [references, totals, offsets] = each(3, (part) => load(m.states, stateAt(part), laneRows))
  const factors = each(laneRows, (r) => {
    const next = rescale(references![r]!, state.reference[r]!)
    state.reference[r] = next.reference
    state.total[r] = fma(state.total[r]!, next.factor, totals![r]! * next.keep)
    state.offset[r] = fma(state.offset[r]!, next.factor, offsets![r]! * next.keep)
    return next
  })
  sums.forEach((sum, half) => {
    for (const i of unroll(0, sum.length, 4)) {
      load(m.totals, totalAt(half * sum.length + i), 4).forEach((total, j) => {
        const { keep, factor } = factors[(j >> 1) & 1]!
        sum[i + j] = fma(sum[i + j]!, factor, total * keep)
      })
    }
  })
}

/** Ends a split: its sums join those before it, and the next begins with none. */
function endSplit(m: PrefillMemory, sums: readonly f32[][], state: RowState, isFirst: boolean): void {
  joinSplit(m, sums, state, isFirst)
  sums.forEach((sum, half) => {
    for (const i of unroll(0, sum.length, 4)) {
      store(m.totals, totalAt(half * sum.length + i), sum.slice(i, i + 4))
      for (const j of unroll(4)) sum[i + j] = 0
    }
  })
  ;[state.reference, state.total, state.offset].forEach((rows, part) => {
    store(m.states, stateAt(part), rows)
  })
  resetState(state)
}

/** Stores the rows that stand for a query. */
function finish(
  a: PrefillArguments,
  c: PrefillConfig,
  tile: PrefillTile,
  row: i32,
  sums: readonly f32[],
  state: RowState,
): void {
  const group = groupOf(c)
  for (const r of unroll(laneRows)) {
    const offset = idiv(row + 8 * r, group)
    const norm = 1 / state.total[r]!
    if (offset < Math.min(tile.tokens, tileTokens(c))) {
      const head = tile.kvHead * group + ((row + 8 * r) % group)
      for (const o of unroll(c.D / 8)) {
        const pair = [0, 1].map((e) => (sums[4 * o + 2 * r + e]! + state.offset[r]!) * norm)
        const word =
          c.dtype === 'f16' ? u32.bits(packF16(pair[0]!, pair[1]!)) : u32.bits(packBf16(pair[0]!, pair[1]!))
        storeWords(a.out, [tile.token + offset, head * c.D + 8 * o + 2 * (laneIdx & 3)], [word])
      }
    }
  }
}
