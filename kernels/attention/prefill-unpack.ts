import {
  advance,
  arrive,
  type Cursor,
  ceilDiv,
  consumerCursor,
  each,
  f16x2,
  fenceAsync,
  fma,
  i32,
  laneIdx,
  loadWords,
  permuteBytes,
  producerCursor,
  type Ring,
  regs,
  release,
  shuffle,
  storeWords,
  syncWarp,
  u32,
  unroll,
  waitEmpty,
  waitFull,
  warpIdx,
} from '../../dsl/index.ts'
import { kvFormats } from '../formats/kv.ts'
import { quadSwizzle } from '../formats/kv-pages.ts'
import {
  foursSwizzle,
  type PrefillMemory,
  pitch,
  placeOfToken,
  rowOfColumn,
  tilesOf,
  unitTokens,
} from './prefill-memory.ts'
import { type PrefillConfig, unpackers } from './prefill-shape.ts'
import { lastHalfOf, loadTile, tileOf } from './prefill-tiles.ts'

/** The warps that make of a unit's codes the tiles that `wgmma` reads, f16 of code · scale + minimum, rounded once. */
export function unpackTiles(c: PrefillConfig, m: PrefillMemory): void {
  const turn = consumerCursor(0)
  const from = consumerCursor(0)
  const toKeys = producerCursor()
  const toValues = producerCursor()
  const biases = loadBiases()
  /** Has a unit's keys or values unpacked; `awaitRoom` stands before the first store. */
  const unpackPart = (ring: Ring, to: Cursor, unpack: (awaitRoom: () => void) => void): void => {
    waitFull(m.rawRing, from)
    unpack(() => waitEmpty(ring, to))
    fenceAsync()
    syncWarp()
    if (laneIdx === 0) arrive(ring.full, to.stage)
    release(m.rawRing, from.stage)
    advance(from, m.rawRing, 1)
    advance(to, ring, 1)
  }
  /** The unit whose keys come next, the last half of one of its tile, and the tokens of the tile's sequence. */
  let unit: i32 = 0
  let lastHalf: i32 = -1
  let context: i32 = 0
  /** Tokens of the sequence from the unit on whose values come next; none: there is no such unit. */
  let live: i32 = 0
  for (;;) {
    if (2 * unit > lastHalf) {
      waitFull(m.tileRing, turn)
      const tile = tileOf(loadTile(m.tiles, turn.stage))
      syncWarp()
      release(m.tileRing, turn.stage)
      advance(turn, m.tileRing, 1)
      unit = tile.firstUnit
      lastHalf = tile.tokens > 0 ? lastHalfOf(c, tile) : 2 * unit - 1
      context = tile.context
    }
    // Keys are a unit ahead of values, as products of scores are.
    const hasKeys = 2 * unit <= lastHalf
    if (hasKeys)
      unpackPart(m.keyRing, toKeys, (awaitRoom) =>
        unpackKeys(c, m, biases, from.stage, toKeys.stage, 2 * unit === lastHalf, awaitRoom),
      )
    if (live > 0)
      unpackPart(m.valueRing, toValues, (awaitRoom) =>
        unpackValues(c, m, biases, from.stage, toValues.stage, live, awaitRoom),
      )
    if (!hasKeys) break
    live = context - unit * unitTokens
    unit += 1
  }
}

/** The calling warp, of those that unpack. */
const unpacker = (): i32 => warpIdx & (unpackers - 1)

/** One of the items that a warp has of so many, which are dealt in turns: that of its number, `turn` rounds further. */
interface Item {
  readonly turn: number
  /** Undefined where every warp has one. */
  readonly exists?: boolean
}

/** Those of the calling warp. */
const itemsOf = (count: number): Item[] =>
  each(ceilDiv(count, unpackers), (turn) =>
    unpackers * (turn + 1) <= count ? { turn } : { turn, exists: unpacker() + unpackers * turn < count },
  )

/** What an item is further than the warp's first, if one is `step`; what does not exist is no further. */
const further = ({ turn, exists }: Item, step: number): i32 =>
  exists === undefined ? turn * step : exists ? i32(turn * step) : i32(0)

/**
 * Has items done one after the other, each with words that have been on their way while the one before it was done. With `isHalf`
 * only those of the first half.
 */
function pipeline<T extends Item>(
  items: readonly T[],
  isHalf: boolean | undefined,
  fetch: (item: T) => u32[],
  awaitRoom: () => void,
  unpack: (item: T, words: readonly u32[]) => void,
): void {
  /** From those of the first on; returns the words of the item behind the last. */
  const unpackItems = (from: number, to: number, first: u32[]): u32[] => {
    let words = first
    for (const i of unroll(from, to)) {
      const item = items[i]!
      const current = words
      if (i + 1 < items.length) words = fetch(items[i + 1]!)
      if (item.exists === undefined) unpack(item, current)
      else if (item.exists) unpack(item, current)
    }
    return words
  }
  const first = fetch(items[0]!)
  awaitRoom()
  if (isHalf === undefined) unpackItems(0, items.length, first)
  else {
    const words = unpackItems(0, items.length / 2, first)
    if (!isHalf) unpackItems(items.length / 2, items.length, words)
  }
}

/** 1024 and 64 as f16, twice: numbers whose lowest bits take a code as it is, or as the upper half of a byte. */
interface Biases {
  readonly of1024: u32
  readonly of64: u32
}

/**
 * From the first lane, so that the assembler does not know them: an instruction that masks codes has room for one constant, and those
 * that add a bias need another.
 */
const loadBiases = (): Biases => ({
  of1024: shuffle(u32(laneIdx) + 0x64006400, 0),
  of64: shuffle(u32(laneIdx) + 0x54005400, 0),
})

/** Scales and minima of two codes, which lie side by side. */
interface Affine {
  readonly scales: f16x2
  readonly minima: f16x2
}

/** Those of two tokens, from their parameters. */
const affineOf = (first: u32, second: u32): Affine => ({
  scales: f16x2.bits(permuteBytes(first, second, 0x5410)),
  minima: f16x2.bits(permuteBytes(first, second, 0x7632)),
})

/**
 * What a word's codes stand for, two to a word: those of its first and third byte, or with `odd` of its second and fourth. With 4 bits
 * the lower and the upper halves of them.
 */
function valuesOf(c: PrefillConfig, word: u32, odd: i32, biases: Biases, { scales, minima }: Affine): u32[] {
  const value = (biased: u32, bias: number) =>
    u32.bits(fma(f16x2.bits(biased) - f16x2.bits(u32(bias)), scales, minima))
  if (kvFormats[c.kv].bits === 8)
    return [value(permuteBytes(word, biases.of1024, u32(0x5250 + 0x101 * odd)), 0x64006400)]
  const moved = odd === 1 ? word >>> 8 : word
  return [
    value((moved & 0x000f000f) | biases.of1024, 0x64006400),
    value((moved & 0x00f000f0) | biases.of64, 0x54005400),
  ]
}
/** Which of eight tokens a lane unpacks, which of four or eight chunks of it, and whether the odd columns first. */
interface KeyLane {
  readonly token: i32
  readonly near: i32
  readonly swap: i32
}

/**
 * Eight lanes that load or store together meet eight different groups of banks: with codes of 4 bits they have two chunks of four
 * tokens, even ones and odd ones, whose places differ in their lowest two bits.
 */
function nibbleLanes(): KeyLane {
  const phase = laneIdx >>> 3
  const place = (laneIdx >>> 1) & 3
  return {
    token: 2 * place + ((place & 1) ^ (phase >>> 1)),
    near: (laneIdx & 1) + 2 * ((place >>> 1) ^ (phase & 1)),
    swap: 0,
  }
}

/** With codes of 8 bits four chunks of two tokens, one even and one odd, whose places differ by two. */
function byteLanes(): KeyLane {
  const pair = 2 * (laneIdx >>> 3)
  const swap = (laneIdx >>> 2) & 1
  return { token: (swap === 1 ? pair + 5 : pair) & 7, near: laneIdx & 3, swap }
}

/**
 * Keys: 16 bytes of a token become chunks of eight f16 of its row: the even ones of four words, and the odd ones. A warp takes
 * sixteen tokens and four chunks at a time. Keys of tokens past the end may be anything.
 */
function unpackKeys(
  c: PrefillConfig,
  m: PrefillMemory,
  biases: Biases,
  from: i32,
  to: i32,
  isHalf: boolean,
  awaitRoom: () => void,
): void {
  const { bits } = kvFormats[c.kv]
  const rowBytes = (c.D * bits) / 8
  const chunks = rowBytes / 16
  /** Chunks of f16 that one of bytes becomes. */
  const parts = bits === 4 ? 4 : 2
  const { token, near, swap } = bits === 4 ? nibbleLanes() : byteLanes()
  const tileBytes = unitTokens * pitch
  /** Of the warp's first item: its row and chunk among the codes, and its place among keys. */
  const row = 16 * unpacker() + token
  const place = placeOfToken(row)
  const slot = (((parts * near) & 7) + swap) ^ (place & 7)
  const src = row * rowBytes + 16 * near
  const dst = to * tilesOf(c.D) * tileBytes + (16 * unpacker() + place) * pitch + (slot << 4)
  const items = itemsOf(unitTokens / 16).flatMap((item) =>
    each(ceilDiv(chunks, 4), (fours) => each(2, (eight) => ({ ...item, fours, eight }))).flat(),
  )
  // Tokens whose rows begin in the same bank take different halves of them.
  const chunkOf = (fours: number): i32 => near + 4 * (chunks === 8 ? fours ^ swap : fours)
  pipeline(
    items,
    isHalf,
    ({ turn, fours, eight }) => {
      const rows = 16 * unpackers * turn + 8 * eight
      const chunk = 4 * (fours + 1) <= chunks ? chunkOf(fours) : Math.min(chunkOf(fours), chunks - 1)
      return [
        ...loadWords(m.raw, [from, src + rows * rowBytes + 16 * (chunk - near)], 4),
        ...loadWords(m.rawParams, [from, 2 * (row + rows)], 1),
      ]
    },
    awaitRoom,
    ({ turn, fours, eight }, words) => {
      // Eight tokens further places are four rows further, or before, and chunks of rows are swizzled otherwise.
      const upperHalf = eight ^ (foursSwizzle(unpackers * turn) >> 1)
      const rows = 16 * unpackers * turn + 4 * upperHalf
      const at = ((parts * chunkOf(fours)) >>> 3) * tileBytes + rows * pitch
      const affine = affineOf(words[4]!, words[4]!)
      if (4 * (fours + 1) <= chunks || chunkOf(fours) < chunks) {
        for (const i of unroll(2)) {
          const values = words.slice(0, 4).map((word) => valuesOf(c, word, i ^ swap, biases, affine))
          for (const upper of unroll(parts / 2)) {
            const four = values.map((pair) => pair[upper]!)
            storeWords(m.keyBytes, [(dst ^ (16 * (4 * upperHalf + 2 * upper + i))) + at], four)
          }
        }
      }
    },
  )
}

/**
 * Values: a word is four tokens of a column already. A thread takes sixteen tokens of two columns, which it stores as two chunks
 * of the columns' rows; with 4 bits also those of the two columns half a row further. Those of tokens past the end are 0.
 */
function unpackValues(
  c: PrefillConfig,
  m: PrefillMemory,
  biases: Biases,
  from: i32,
  to: i32,
  live: i32,
  awaitRoom: () => void,
): void {
  const { bits } = kvFormats[c.kv]
  const quadBytes = (c.D * bits) / 2
  const sixteen = laneIdx & 7
  const half = sixteen >>> 2
  // Lanes that load together differ in columns as quads are swizzled, and in halves of the unit.
  const near = (laneIdx >>> 3) ^ quadSwizzle(c.D, sixteen) ^ half
  const affines = loadAffines(m, from, sixteen, live)
  /** Of the warp's first item: its first column, in fours and twos, and its place among codes. */
  const chunk = (4 * (unpacker() >>> 1)) ^ near
  const columns = 2 * ((unpacker() & 1) ^ half)
  const src = 4 * sixteen * quadBytes + 16 * chunk + 4 * columns
  const tile = to * tilesOf(unitTokens) + half
  // Lanes of the one half store even tokens where those of the other store odd ones.
  const slot = 2 * (sixteen & 3) + half
  pipeline(
    itemsOf(quadBytes / 32),
    undefined,
    (item) =>
      each(4, (i) => {
        const four = i ^ foursSwizzle(sixteen)
        const at = four * quadBytes + further(item, 32 * unpackers)
        return loadWords(m.raw, [from, (src ^ (16 * quadSwizzle(c.D, four))) + at], 2)
      }).flat(),
    awaitRoom,
    (item, words) => {
      const row = rowOfColumn(c.D, 4 * chunk + columns + 8 * unpackers * item.turn)
      const dst = (tile * c.D + row) * pitch + ((slot ^ (row & 7)) << 4)
      for (const column of unroll(2))
        for (const odd of unroll(2)) {
          const values = each(4, (i) => valuesOf(c, words[2 * i + column]!, odd, biases, affines[i]![odd]!))
          for (const upper of unroll(bits === 4 ? 2 : 1)) {
            const rows = column + 4 * upper
            const four = values.map((pair) => pair[upper]!)
            storeWords(m.valueBytes, [(dst ^ (16 * (odd ^ rows))) + rows * pitch], four)
          }
        }
    },
  )
}

/**
 * Scales and minima of sixteen tokens, by their places: of each four those of the even and of the odd ones. Those past the end may
 * be anything.
 */
function loadAffines(m: PrefillMemory, from: i32, sixteen: i32, live: i32): Affine[][] {
  const params = regs(16, u32(0))
  const firsts = each(4, (i) => 16 * sixteen + 4 * (i ^ foursSwizzle(sixteen)))
  firsts
    .flatMap((first) => loadWords(m.rawParams, [from, 2 * first], 4))
    .forEach((word, i) => {
      params[i] = word
    })
  if (live < unitTokens) {
    for (const i of unroll(16)) if (firsts[i >> 2]! + (i & 3) >= live) params[i] = 0
  }
  return each(4, (i) => each(2, (odd) => affineOf(params[4 * i + odd]!, params[4 * i + odd + 2]!)))
}
