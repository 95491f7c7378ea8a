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
  shuffle,
  shuffleXor,
  specialize,
  storeWords,
  syncWarp,
  threadIdx,
  u32,
  unroll,
  waitForPrevious,
  waitFull,
  warpgroupIdx,
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
  moveReference,
  normsOf,
  packProbabilities,
  probabilityWords,
  rescaleSums,
  resetState,
  rowState,
  setReference,
  type UnitMask,
  weighRow,
} from './prefill-softmax.ts'
import {
  endsInHalf,
  loadTile,
  type PrefillTile,
  type StepTiles,
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
  waitForPrevious()
  launchDependents()
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
  // Of the tile at hand: its first unit and its last, where units begin and end that all of the warpgroup's rows see in full, the last
  // not among them, and whether of the last only the first half is seen.
  let first: i32 = 0
  let last: i32 = 0
  let fullFrom: i32 = 0
  let fullTo: i32 = 0
  let isHalf: i32 = 0
  const valueAtom = wgmmaAtom(c.D, 'f16')
  const scores = scoresOf(UNIT)
  const sums = regs(valueAtom.c.registers, f32(0))
  const probabilities = probabilityWords()
  const state = rowState()
  const turns = turnsOf(c)

  /** The tile at hand, or the one behind it: read whenever it is wanted, for it is rarely, and registers are what lacks. */
  const tileAt = (ahead: number): PrefillTile => tileOf(loadTile(m.tiles, (turn + ahead) & (WALK_TILES - 1)))
  /** Waits for a tile, and has its queries copied, once the scores of the one before have been computed. */
  const announceTile = (ahead: number): void => {
    const at = turn + ahead
    waitFull(m.tileRing, { stage: at & (WALK_TILES - 1), parity: (at >>> Math.log2(WALK_TILES)) & 1 })
    const tile = tileAt(ahead)
    if (tile.tokens > 0) copyQueries(m, a, c, tile)
  }
  // What a product reads is waited for ahead of its turn, which the other warpgroup may have meanwhile.
  const awaitKeys = (): void => waitFull(m.keyRing, cursorOf(c, keysDone))
  const awaitValues = (): void => waitFull(m.valueRing, valuesAt)
  const startScores = (dst: f32[]): void => {
    wgmmaFence()
    for (const k of unroll(c.D / 16)) {
      const queries = matrixOperand(m.queries.row(warpgroupIdx, i32(k >> 2)), [0, 16 * (k & 3)])
      const keys = matrixOperand(m.keys.row(stageOf(c, keysDone), i32(k >> 2)), [0, 16 * (k & 3)])
      wgmma(wgmmaAtom(2 * dst.length, 'f16'), dst, queries, keys, k > 0)
    }
    wgmmaCommit()
  }
  /** Starts the products of a unit's values, or of those of its first sixteens. */
  const startValues = (sixteens: number, isFirst: boolean): void => {
    wgmmaFence()
    for (const k of unroll(sixteens)) {
      const values = matrixOperand(m.values.row(valuesAt.stage, i32(k >> 2)), [0, 16 * (k & 3)])
      // The places of odd tokens come first in the unit's second half.
      const [even, below, odd, belowOdd] = probabilities[k]!
      const words = k < UNIT / 32 ? [even!, below!, odd!, belowOdd!] : [odd!, belowOdd!, even!, below!]
      wgmma(valueAtom, sums, words, values, k > 0 || !isFirst)
    }
    wgmmaCommit()
  }
  /** The values of the tile's last unit. */
  const startLastValues = (): void => {
    if (isHalf === 1) startValues(UNIT / 32, last === first)
    else startValues(UNIT / 16, last === first)
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
  /** Reads a tile's description while products run: beside them a load takes hundreds of cycles. */
  const takeTile = (tile: PrefillTile): void => {
    const lowest = tile.position + tokenOfRow(c, tile, groupRows * warpgroupIdx)
    const highest = tile.position + tokenOfRow(c, tile, groupRows * warpgroupIdx + groupRows - 1)
    first = tile.firstUnit
    last = tile.lastUnit
    isHalf = endsInHalf(c, tile) ? i32(1) : i32(0)
    fullFrom = idiv(Math.max(highest - a.window + UNIT, 0), UNIT)
    fullTo = Math.min(idiv(lowest + 1, UNIT), last)
  }
  /**
   * The calling thread: by a shuffle, past which nothing that depends on it is computed ahead. What the assembler would keep of it
   * for the end of a tile it would spill.
   */
  const ownThread = (): i32 => shuffle(i32(threadIdx.x), i32(laneIdx))
  const maskOf = (unit: i32): UnitMask => {
    const tile = tileAt(0)
    const row = rowOf(ownThread())
    const start = tile.position - unit * UNIT
    return {
      last: each(laneRows, (r) => start + tokenOfRow(c, tile, row + 8 * r)),
      window: a.window,
      isEdge: unit < fullFrom,
    }
  }
  /** A unit behind the tile's first, or its first half: `scores`, and the values of the unit before it. */
  const attendUnit = (scores: f32[], isSecond: boolean, isLast: boolean, maskedUnit?: i32): void => {
    awaitKeys()
    awaitValues()
    awaitTurn(turns)
    startScores(scores)
    startValues(UNIT / 16, isSecond)
    passTurn(turns)
    const mask = maskedUnit === undefined ? undefined : maskOf(maskedUnit)
    wgmmaWait(1)
    releaseKeys()
    if (isLast) announceTile(1)
    if (mask) hideTokens(scores, mask)
    const upper = moveReference(scores, state, 0, a.scale)
    weighRow(scores, state, 0, a.scale, upper)
    const lower = moveReference(scores, state, 1, a.scale)
    // Values are multiplied beside the first row's exponentials.
    wgmmaWait(0)
    releaseValues()
    weighRow(scores, state, 1, a.scale, lower)
    rescaleSums(sums, [upper, lower])
    packProbabilities(probabilities, scores)
  }

  /**
   * Makes probabilities of the first unit of the tile at hand, whose scores have been computed; meanwhile `storeRow` stores what a row
   * of the tile before it has become.
   */
  const beginTile = (storeRow: (r: number) => void): void => {
    if (first === last) announceTile(1)
    resetState(state)
    if (first < fullFrom || first >= fullTo) hideTokens(scores, maskOf(first))
    for (const r of unroll(laneRows)) {
      setReference(scores, state, r, a.scale)
      weighRow(scores, state, r, a.scale, f32(0))
      storeRow(r)
    }
    packProbabilities(probabilities, scores)
  }

  announceTile(0)
  if (tileAt(0).tokens === 0) return
  if (warpgroupIdx === 1) passTurn(turns)
  awaitQueries(m, c)
  awaitKeys()
  awaitTurn(turns)
  startScores(scores)
  passTurn(turns)
  takeTile(tileAt(0))
  wgmmaWait(0)
  releaseKeys()
  beginTile(() => {})
  for (;;) {
    let unit: i32 = first + 1
    while (unit <= last) {
      if (unit >= fullFrom && unit < fullTo) {
        for (const each of range(unit, fullTo)) attendUnit(scores, each === first + 1, false)
        unit = fullTo
      } else {
        if (unit === last && isHalf === 1) attendUnit(scoresOf(UNIT / 2), unit === first + 1, true, unit)
        else attendUnit(scores, unit === first + 1, unit === last, unit)
        unit = unit + 1
      }
    }
    const hasNext = tileAt(1).tokens > 0
    const norms = normsOf(state)
    if (!hasNext) {
      awaitValues()
      awaitTurn(turns)
      startLastValues()
      passTurn(turns)
      const rows = rowsOf(c, tileAt(0), ownThread())
      wgmmaWait(0)
      releaseValues()
      for (const r of unroll(laneRows)) storeRow(a, c, rows[r]!, r, sums, norms[r]!)
      break
    }
    // The last values of the tile are multiplied beside the first scores of the next.
    awaitQueries(m, c)
    awaitKeys()
    awaitValues()
    awaitTurn(turns)
    startScores(scores)
    startLastValues()
    passTurn(turns)
    const rows = rowsOf(c, tileAt(0), ownThread())
    takeTile(tileAt(1))
    wgmmaWait(1)
    releaseKeys()
    wgmmaWait(0)
    releaseValues()
    syncWarp()
    release(m.tileRing, turn & (WALK_TILES - 1))
    turn += 1
    beginTile((r) => storeRow(a, c, rows[r]!, r, sums, norms[r]!))
  }
  if (warpgroupIdx === 0) awaitTurn(turns)
}

/** Room for the scores of a warpgroup's rows and so many tokens. */
const scoresOf = (tokens: number): f32[] => regs(tokens / 2, f32(0))

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

/** The first of a thread's rows in the tile: warps have sixteen, and four lanes one and the eighth behind it. */
const rowOf = (thread: i32): i32 => 16 * (thread >>> 5) + ((thread & 31) >>> 2)

/** Where a row of a thread is stored. */
interface RowPlace {
  readonly token: i32
  /** The first column of an even lane's quarter of the head's and an odd one's together. */
  readonly column: i32
  /** Whether the row stands for a query. */
  readonly isStored: boolean
}

const rowsOf = (c: PrefillConfig, tile: PrefillTile, thread: i32): RowPlace[] => {
  const group = groupOf(c)
  return each(laneRows, (r) => {
    const row = rowOf(thread) + 8 * r
    const offset = idiv(row, group)
    return {
      token: tile.token + offset,
      column: (tile.kvHead * group + row - offset * group) * c.D + ((thread & 3) >>> 1) * (c.D / 2),
      isStored: offset < Math.min(tile.tokens, tileTokens(c)),
    }
  })
}

/**
 * Stores a thread's rows. A lane has a quarter of a row's columns, in runs of eight, which are 16 bytes; two lanes exchange
 * half of them, so that they store 32 bytes side by side: a sector, of which the second half is not left for later.
 */
function storeRow(
  a: PrefillArguments,
  c: PrefillConfig,
  { token, column, isStored }: RowPlace,
  r: number,
  sums: readonly f32[],
  norm: f32,
): void {
  const runs = c.D / 32
  const isOdd = (laneIdx & 1) === 1
  // Of the runs of both, those of the even lane first, one lane stores the even ones and the other the odd ones.
  const toEven = each(runs, (sector) => 2 * sector).filter((run) => run >= runs)
  const toOdd = each(runs, (sector) => 2 * sector + 1).filter((run) => run < runs)
  const own = each(runs, (run) =>
    each(4, (i) => {
      const [even, odd] = [0, 1].map((e) => sums[4 * (4 * run + i) + 2 * r + e]! * norm)
      return c.dtype === 'f16' ? u32.bits(packF16(even!, odd!)) : u32.bits(packBf16(even!, odd!))
    }),
  )
  const choose = (even: readonly u32[], odd: readonly u32[]): u32[] =>
    even.map((word, i) => (isOdd ? odd[i]! : word))
  const other = toEven.map((run, k) =>
    choose(own[toOdd[k]!]!, own[run - runs]!).map((word) => shuffleXor(word, 1)),
  )
  const sectors = each(runs, (sector) => {
    const [even, odd] = [2 * sector, 2 * sector + 1]
    return choose(
      even < runs ? own[even]! : other[toEven.indexOf(even)]!,
      odd < runs ? other[toOdd.indexOf(odd)]! : own[odd - runs]!,
    )
  })
  if (isStored) {
    const at = column + (isOdd ? i32(8) : i32(0))
    sectors.forEach((words, sector) => {
      storeWords(a.out, [token, at + 16 * sector], words)
    })
  }
}
