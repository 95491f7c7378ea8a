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
import { loadQueries, partOfQuery, type QueryArguments, queryWords, roundQueries } from './prefill-queries.ts'
import { checkPrefill, groupOf, type PrefillConfig, tileTokens } from './prefill-shape.ts'
import {
  addUnitSums,
  laneRows,
  probabilities,
  queryRows,
  type RowState,
  resetState,
  rowState,
  softmaxUnit,
  type UnitFactors,
  unitFactors,
} from './prefill-softmax.ts'
import {
  loadTile,
  type PrefillTile,
  type StepTiles,
  TILE_WORDS,
  tileOf,
  tokenOfRow,
} from './prefill-tiles.ts'
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
    consumers: { warps: 8, registers: 224, run: () => attend(a, c, m) },
    feeders: { warps: 4, registers: 56, run: () => feed(a, c, m) },
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
  const turns = turnsOf(c)
  const p = probabilities()
  const sums = each(halves, () => regs(c.D / 2 / halves, f32(0)))
  const row = 64 * warpgroupIdx + 16 * (warpIdx & 3) + (laneIdx >>> 2)
  const words = regs(queryWords(c), u32(0))
  const rows = queryRows(a.window)
  const place = consumerCursor(0)
  const next = regs(TILE_WORDS, i32(0))
  const state = rowState()

  /** Takes the next tile, whose queries are then on their way. */
  const takeTile = (): void => {
    waitFull(m.tileRing, place)
    loadTile(m.tiles, place.stage).forEach((word, i) => {
      next[i] = word
    })
    syncWarp()
    release(m.tileRing, place.stage)
    advance(place, m.tileRing, 1)
    const tile = tileOf(next)
    if (tile.tokens > 0) loadQueries(words, a, c, tile, row)
  }
  const startScores = (half: number, part: 'high' | 'low'): void => {
    wgmmaFence()
    for (const k of unroll(c.D / 32)) {
      const keys = matrixOperand(m.keys.row(stageOf(c, done)), [(half * UNIT) / halves, 32 * k])
      const first = partOfQuery(c, part) + 4 * k
      wgmma(scoreAtom, scores[half]!, words.slice(first, first + 4), keys, part === 'low' || k > 0)
    }
    wgmmaCommit()
  }
  /** The second part of the scores; the other warpgroup may start as soon as all is under way. */
  const startLowScores = (): void => {
    for (const half of unroll(halves)) {
      wgmmaWait(halves - 1)
      shift(scores[half]!, 7)
      startScores(half, 'low')
    }
    passTurn(turns)
  }
  const releaseKeys = (): void => {
    syncWarp()
    release(m.keyRing, stageOf(c, done))
  }
  const startValues = (half: number, part: 'high' | 'low'): void => {
    wgmmaFence()
    for (const k of unroll(UNIT / 32)) {
      const values = matrixOperand(m.values.row(stageOf(c, done)), [(half * c.D) / halves, 32 * k])
      wgmma(valueAtom, products[half]!, p[part][k]!, values, part === 'low' || k > 0)
    }
    wgmmaCommit()
  }
  /** From the scores of a unit to products of its values, which are under way. */
  const weighValues = (
    factors: UnitFactors,
    unit: i32,
    isMasked: boolean,
    last: i32,
    isEdge: boolean,
  ): void => {
    waitFull(m.valueRing, cursorOf(c, done))
    const unitSums = softmaxUnit(p, factors, state, scores.flat(), sums, rows, m, {
      stage: stageOf(c, done),
      position: unit * UNIT,
      isMasked,
      last,
      isEdge,
    })
    awaitTurn(turns)
    for (const half of unroll(halves)) startValues(half, 'high')
    addUnitSums(state, factors, unitSums)
    for (const half of unroll(halves)) {
      wgmmaWait(halves - 1)
      shift(products[half]!, 8)
      startValues(half, 'low')
    }
  }
  const addProducts = (factors: UnitFactors, half: number): void => {
    const sum = sums[half]!
    for (const i of unroll(sum.length))
      sum[i] = fma(f32(products[half]![i]!), factors.own[(i >> 1) & 1]!, sum[i]!)
  }
  const releaseValues = (): void => {
    syncWarp()
    release(m.valueRing, stageOf(c, done))
    done += 1
  }
  /** A unit with another of its tile behind it, whose scores it leaves. */
  const attendUnit = (unit: i32, isMasked: boolean, isEdge: boolean): void => {
    const factors = unitFactors()
    weighValues(factors, unit, isMasked, UNIT, isEdge)
    wgmmaWait(1)
    addProducts(factors, 0)
    wgmmaWait(0)
    releaseValues()
    waitFull(m.keyRing, cursorOf(c, done))
    startScores(0, 'high')
    addProducts(factors, 1)
    startScores(1, 'high')
    startLowScores()
    wgmmaWait(0)
    releaseKeys()
  }
  /** The first scores of the tile that has been taken, if there is one; they are under way. */
  const beginTile = (): void => {
    waitFull(m.keyRing, cursorOf(c, done))
    awaitTurn(turns)
    for (const half of unroll(halves)) startScores(half, 'high')
    startLowScores()
  }

  takeTile()
  roundQueries(rows, words, a, c, tileOf(next), row)
  if (warpgroupIdx === 1) passTurn(turns)
  if (tileOf(next).tokens > 0) {
    beginTile()
    wgmmaWait(0)
    releaseKeys()
  }
  for (;;) {
    const tile = tileOf(next.map((word) => i32(word)))
    if (tile.tokens === 0) break
    /** The positions of the warpgroup's first row and of its last. */
    const lowest = tile.position + tokenOfRow(c, tile, 64 * warpgroupIdx)
    const highest = tile.position + tokenOfRow(c, tile, 64 * warpgroupIdx + 63)
    /** The units from the one to before the other are seen in full. */
    const firstFull = Math.max(idiv(Math.max(highest - a.window + UNIT, 0), UNIT), tile.firstUnit)
    const endOfFull = Math.min(idiv(lowest + 1, UNIT), tile.lastUnit)
    resetState(state)
    for (const sum of sums) for (const i of unroll(sum.length)) sum[i] = 0
    let unit: i32 = tile.firstUnit
    while (unit < tile.lastUnit) {
      const end = unit < firstFull ? unit : Math.min(endOfFull, (unit | (splitUnits - 1)) + 1)
      if (unit < end) {
        for (const each of range(unit, end)) attendUnit(each, false, false)
        unit = end
      } else {
        attendUnit(unit, true, unit < firstFull)
        unit = unit + 1
      }
      if (unit % splitUnits === 0)
        endSplit(m, sums, state, idiv(unit - 1, splitUnits) === idiv(tile.firstUnit, splitUnits))
    }
    // The last scores are known, so that the next queries may come.
    takeTile()
    const factors = unitFactors()
    weighValues(factors, tile.lastUnit, true, highest - tile.lastUnit * UNIT, tile.lastUnit < firstFull)
    passTurn(turns)
    roundQueries(rows, words, a, c, tileOf(next), row)
    wgmmaWait(0)
    releaseValues()
    for (const half of unroll(halves)) addProducts(factors, half)
    const hasNext = tileOf(next).tokens > 0
    if (hasNext) beginTile()
    joinSplit(m, sums, state, idiv(tile.lastUnit, splitUnits) === idiv(tile.firstUnit, splitUnits))
    finish(a, c, tile, row, sums.flat(), state)
    wgmmaWait(0)
    if (hasNext) releaseKeys()
  }
  if (warpgroupIdx === 0) awaitTurn(turns)
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
interface Turns {
  readonly isOn: boolean
  readonly own: i32
  readonly other: i32
}

const turnsOf = (c: PrefillConfig): Turns => ({
  isOn: c.turns,
  own: 1 + warpgroupIdx,
  other: 2 - warpgroupIdx,
})

function awaitTurn({ isOn, own }: Turns): void {
  if (isOn) namedBarrier(own, 256)
}

function passTurn({ isOn, other }: Turns): void {
  if (isOn) namedArrive(other, 256)
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
