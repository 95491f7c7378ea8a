import {
  advance,
  barrier,
  type Cursor,
  consumerCursor,
  each,
  f32,
  i32,
  idiv,
  laneIdx,
  launchDependents,
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
import { UNIT } from './arithmetic.ts'
import { type CacheArguments, copyTiles } from './prefill-copies.ts'
import { initMemory, makeMemory, type PrefillMemory, WALK_TILES } from './prefill-memory.ts'
import { awaitQueries, copyQueries, type QueryArguments } from './prefill-queries.ts'
import {
  checkPrefill,
  copierRegisters,
  groupOf,
  groupRows,
  type PrefillConfig,
  prefillThreads,
  tileTokens,
  unpackerRegisters,
  unpackers,
  warpgroups,
} from './prefill-shape.ts'
import {
  hideTokens,
  laneRows,
  normsOf,
  packProbabilities,
  probabilityWords,
  rescaleSums,
  resetState,
  rowState,
  softmaxUnit,
  type UnitMask,
} from './prefill-softmax.ts'
import {
  loadTile,
  type PrefillTile,
  type StepTiles,
  TILE_WORDS,
  tileOf,
  tokenOfRow,
} from './prefill-tiles.ts'
import { unpackTiles } from './prefill-unpack.ts'

export interface PrefillArguments extends StepTiles, CacheArguments, QueryArguments {
  /** What takes scores to units of log2. */
  readonly scale: f32
  readonly out: Out<number, 'T HqD'>
}

/**
 * Attention of many query tokens over a coded cache, on `wgmma`.
 *
 * A tile is 128 rows: query tokens, and beside each other the query heads of one key/value head. Two warpgroups have 64
 * rows each, and go through the units of 128 tokens that a row of the tile sees; the third makes f16 of codes that
 * a thread of the fourth has copied.
 */
export function prefillWgmma(a: PrefillArguments, c: PrefillConfig): void {
  checkPrefill(c, c)
  const m = makeMemory(c, c, c)
  if (threadIdx.x === 128 * warpgroups) initMemory(m)
  barrier()
  launchDependents()
  waitForPrevious()
  specialize({
    consumers: { warps: 4 * warpgroups, registers: c.registers, run: () => attend(a, c, m) },
    unpackers: { warps: unpackers, registers: unpackerRegisters(c), run: () => unpackTiles(c, m) },
    copier: {
      warps: 4,
      registers: copierRegisters,
      run: () => {
        if (threadIdx.x === prefillThreads - 128) copyTiles(a, c, m)
      },
    },
  })
}

/**
 * A warpgroup: its 64 rows of each tile. Scores of a unit and values of the one before are multiplied together, so that the
 * softmax of the one runs beside the values of the other, and beside all products of the other warpgroup.
 */
function attend(a: PrefillArguments, c: PrefillConfig, m: PrefillMemory): void {
  /** Units of all tiles whose keys are done with: places in the ring. */
  let keysDone: i32 = 0
  const valuesAt = consumerCursor(0)
  let turn: i32 = 0
  const scoreAtom = wgmmaAtom(UNIT, 'f16')
  const valueAtom = wgmmaAtom(c.D, 'f16')
  const scores = regs(scoreAtom.c.registers, f32(0))
  const sums = regs(valueAtom.c.registers, f32(0))
  const probabilities = probabilityWords()
  const state = rowState()
  const turns = turnsOf(c)
  const row = groupRows * warpgroupIdx + 16 * (warpIdx & 3) + (laneIdx >>> 2)

  /** Waits for the tile that comes next; one without tokens is behind the last. */
  const awaitTile = (): i32[] => {
    const slot = turn & (WALK_TILES - 1)
    waitFull(m.tileRing, { stage: slot, parity: (turn >>> Math.log2(WALK_TILES)) & 1 })
    return loadTile(m.tiles, slot)
  }
  /** The tile that has been taken. */
  const next = regs(TILE_WORDS, i32(0))
  const takeTile = (): void => {
    awaitTile().forEach((word, i) => {
      next[i] = word
    })
    syncWarp()
    release(m.tileRing, turn & (WALK_TILES - 1))
    turn += 1
  }
  /** Has the next tile's queries copied, once the scores of the one at hand have been computed. */
  const announceTile = (): void => {
    const tile = tileOf(awaitTile())
    if (tile.tokens > 0) copyQueries(m, a, c, tile)
  }
  // What a product reads is waited for ahead of its turn, which the other warpgroup may have meanwhile.
  const awaitKeys = (): void => waitFull(m.keyRing, cursorOf(c, keysDone))
  const awaitValues = (): void => waitFull(m.valueRing, valuesAt)
  const startScores = (): void => {
    wgmmaFence()
    for (const k of unroll(c.D / 16)) {
      const queries = matrixOperand(m.queries.row(warpgroupIdx, i32(k >> 2)), [0, 16 * (k & 3)])
      const keys = matrixOperand(m.keys.row(stageOf(c, keysDone), i32(k >> 2)), [0, 16 * (k & 3)])
      wgmma(scoreAtom, scores, queries, keys, k > 0)
    }
    wgmmaCommit()
  }
  const startValues = (isFirst: boolean): void => {
    wgmmaFence()
    for (const k of unroll(UNIT / 16)) {
      const values = matrixOperand(m.values.row(valuesAt.stage, i32(k >> 2)), [0, 16 * (k & 3)])
      // The places of odd tokens come first in the unit's second half.
      const [even, below, odd, belowOdd] = probabilities[k]!
      const words = k < UNIT / 32 ? [even!, below!, odd!, belowOdd!] : [odd!, belowOdd!, even!, below!]
      wgmma(valueAtom, sums, words, values, k > 0 || !isFirst)
    }
    wgmmaCommit()
  }
  const releaseKeys = (): void => {
    syncWarp()
    release(m.keyRing, stageOf(c, keysDone))
    keysDone += 1
  }
  const releaseValues = (): void => {
    syncWarp()
    release(m.valueRing, valuesAt.stage)
    advance(valuesAt, m.valueRing, 1)
  }
  /** The first scores of the tile that has been taken. */
  const beginTile = (): void => {
    awaitKeys()
    awaitTurn(turns)
    startScores()
    passTurn(turns)
  }
  /** From a unit's scores to its probabilities; what the sums of the units before must be multiplied by. */
  const weighTokens = (mask?: UnitMask): f32[] => {
    if (mask) hideTokens(scores, mask)
    return softmaxUnit(scores, state, a.scale)
  }
  /** A unit behind the tile's first: scores, and the values of the unit before it. */
  const attendUnit = (isSecond: boolean, isLast: boolean, mask?: UnitMask): void => {
    awaitKeys()
    awaitValues()
    awaitTurn(turns)
    startScores()
    startValues(isSecond)
    passTurn(turns)
    wgmmaWait(1)
    releaseKeys()
    if (isLast) announceTile()
    const factors = weighTokens(mask)
    wgmmaWait(0)
    releaseValues()
    rescaleSums(sums, factors)
    packProbabilities(probabilities, scores)
  }

  takeTile()
  if (tileOf(next).tokens === 0) return
  if (warpgroupIdx === 1) passTurn(turns)
  copyQueries(m, a, c, tileOf(next))
  awaitQueries(m, c)
  beginTile()
  wgmmaWait(0)
  releaseKeys()
  /** The tile at hand. */
  const words = regs(TILE_WORDS, i32(0))
  const norms = regs(laneRows, f32(0))
  for (;;) {
    for (const i of unroll(TILE_WORDS)) words[i] = next[i]!
    const tile = tileOf(words)
    /** The positions of the warpgroup's first row and of its last. */
    const lowest = tile.position + tokenOfRow(c, tile, groupRows * warpgroupIdx)
    const highest = tile.position + tokenOfRow(c, tile, groupRows * warpgroupIdx + groupRows - 1)
    /** The units from the one to before the other are seen in full. */
    const firstFull = idiv(Math.max(highest - a.window + UNIT, 0), UNIT)
    const endOfFull = idiv(lowest + 1, UNIT)
    const seen = each(laneRows, (r) => tile.position + tokenOfRow(c, tile, row + 8 * r))
    const maskOf = (unit: i32): UnitMask => ({
      last: seen.map((position) => position - unit * UNIT),
      window: a.window,
      isEdge: unit < firstFull,
    })
    const second = tile.firstUnit + 1
    if (tile.lastUnit < second) announceTile()
    resetState(state)
    weighTokens(maskOf(tile.firstUnit))
    packProbabilities(probabilities, scores)
    let unit: i32 = second
    while (unit <= tile.lastUnit) {
      const end = unit < firstFull ? unit : Math.min(endOfFull, tile.lastUnit + 1)
      if (unit < end) {
        for (const each of range(unit, end)) attendUnit(each === second, false)
        unit = end
      } else {
        attendUnit(unit === second, unit === tile.lastUnit, maskOf(unit))
        unit = unit + 1
      }
    }
    normsOf(state).forEach((norm, r) => {
      norms[r] = norm
    })
    takeTile()
    const hasNext = tileOf(next).tokens > 0
    awaitValues()
    awaitTurn(turns)
    startValues(tile.lastUnit < second)
    passTurn(turns)
    if (hasNext) awaitQueries(m, c)
    wgmmaWait(0)
    releaseValues()
    if (!hasNext) break
    beginTile()
    storeRows(a, c, tile, row, sums, norms)
    wgmmaWait(0)
    releaseKeys()
  }
  storeRows(a, c, tileOf(words), row, sums, norms)
  if (warpgroupIdx === 0) awaitTurn(turns)
}

/** The place of a unit's keys in their ring, of those of all tiles: without a register for either part of it. */
const stageOf = (c: PrefillConfig, unit: i32): i32 => unit & (c.keyStages - 1)
const cursorOf = (c: PrefillConfig, unit: i32): Cursor => ({
  stage: stageOf(c, unit),
  parity: (unit >>> Math.log2(c.keyStages)) & 1,
})

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
  if (isOn) namedBarrier(own, 128 * warpgroups)
}

function passTurn({ isOn, other }: Turns): void {
  if (isOn) namedArrive(other, 128 * warpgroups)
}

/** Stores the rows that stand for a query. */
function storeRows(
  a: PrefillArguments,
  c: PrefillConfig,
  tile: PrefillTile,
  row: i32,
  sums: readonly f32[],
  norms: readonly f32[],
): void {
  const group = groupOf(c)
  for (const r of unroll(laneRows)) {
    const offset = idiv(row + 8 * r, group)
    if (offset < Math.min(tile.tokens, tileTokens(c))) {
      const head = tile.kvHead * group + ((row + 8 * r) % group)
      // A lane has a quarter of the columns, eight by eight.
      const column = head * c.D + (laneIdx & 3) * (c.D / 4)
      for (const o of unroll(0, c.D / 8, 4)) {
        const words = each(4, (i) => {
          const [first, second] = [0, 1].map((e) => sums[4 * (o + i) + 2 * r + e]! * norms[r]!)
          return c.dtype === 'f16' ? u32.bits(packF16(first!, second!)) : u32.bits(packBf16(first!, second!))
        })
        storeWords(a.out, [tile.token + offset, column + 2 * o], words)
      }
    }
  }
}
