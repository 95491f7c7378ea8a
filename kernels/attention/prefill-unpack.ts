import {
  advance,
  arrive,
  ceilDiv,
  consumerCursor,
  each,
  f16x2,
  fenceAsync,
  fma,
  type i32,
  laneIdx,
  loadWords,
  permuteBytes,
  producerCursor,
  type Ring,
  range,
  regs,
  release,
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
import { type PrefillMemory, pitch, placeOfToken, tilesOf, unitTokens, unpackers } from './prefill-memory.ts'
import type { PrefillConfig } from './prefill-shape.ts'
import { loadTile, tileOf } from './prefill-tiles.ts'

/** The warps that make of a unit's codes the tiles that `wgmma` reads, f16 of code · scale + minimum, rounded once. */
export function feed(c: PrefillConfig, m: PrefillMemory): void {
  const turn = consumerCursor(0)
  const from = consumerCursor(0)
  /** Keys and values have the same places in their rings. */
  const to = producerCursor()
  /** Has a unit's keys or values unpacked. */
  const unpackPart = (ring: Ring, unpack: (from: i32, to: i32) => void): void => {
    waitFull(m.rawRing, from)
    waitEmpty(ring, to)
    unpack(from.stage, to.stage)
    fenceAsync()
    syncWarp()
    if (laneIdx === 0) arrive(ring.full, to.stage)
    release(m.rawRing, from.stage)
    advance(from, m.rawRing, 1)
  }
  for (;;) {
    waitFull(m.tileRing, turn)
    const tile = tileOf(loadTile(m.tiles, turn.stage))
    syncWarp()
    release(m.tileRing, turn.stage)
    advance(turn, m.tileRing, 1)
    if (tile.tokens === 0) break
    for (const unit of range(tile.firstUnit, tile.lastUnit + 1)) {
      const live = tile.context - unit * unitTokens
      // Keys first: products of scores are a unit ahead of those of values.
      unpackPart(m.keyRing, (from, to) => unpackKeys(c, m, from, to, live))
      unpackPart(m.valueRing, (from, to) => unpackValues(c, m, from, to, live))
      advance(to, m.valueRing, 1)
    }
  }
}

/** The calling warp, of those that unpack. */
const unpacker = (): i32 => (warpIdx & 3) - 1

/** Parameters of tokens, the first of which is `first`, without those past the end, which may be anything. */
function liveParams(words: readonly u32[], first: i32, live: i32): u32[] {
  const params = words.map((word) => u32(word))
  if (live < unitTokens) {
    for (const i of unroll(params.length)) if (first + i >= live) params[i] = 0
  }
  return params
}

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

/** -1024 and -64 as f16, twice. */
const LESS_1024 = 0xe400e400
const LESS_64 = 0xd400d400

/**
 * What a word's codes stand for, two to a word: those of its first and third byte, or with `odd` of its second and fourth. With 4 bits
 * the lower and the upper halves of them.
 */
function valuesOf(c: PrefillConfig, word: u32, odd: i32, { scales, minima }: Affine): u32[] {
  /** `code` has 1024 or 64 added, in the lowest bits of an f16. */
  const value = (code: u32, less: number) =>
    u32.bits(fma(f16x2.bits(code) + f16x2.bits(u32(less)), scales, minima))
  if (kvFormats[c.kv].bits === 8)
    return [value(permuteBytes(word, 0x64646464, u32(0x4240 + 0x101 * odd)), LESS_1024)]
  const moved = odd === 1 ? word >>> 8 : word
  return [
    value((moved & 0x000f000f) | 0x64006400, LESS_1024),
    value((moved & 0x00f000f0) | 0x54005400, LESS_64),
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
 * sixteen tokens and four chunks at a time.
 */
function unpackKeys(c: PrefillConfig, m: PrefillMemory, from: i32, to: i32, live: i32): void {
  const { bits } = kvFormats[c.kv]
  const rowBytes = (c.D * bits) / 8
  const chunks = rowBytes / 16
  /** Chunks of f16 that one of bytes becomes. */
  const parts = bits === 4 ? 4 : 2
  const { token, near, swap } = bits === 4 ? nibbleLanes() : byteLanes()
  const place = placeOfToken(token)
  const slot = (((parts * near) & 7) + swap) ^ (place & 7)
  const sixteens = unitTokens / 16
  const items = sixteens * ceilDiv(chunks, 4)
  const tokenOf = (item: i32, turn: number): i32 => 16 * (item & (sixteens - 1)) + token + 8 * turn
  // Tokens whose rows begin in the same bank take different halves of them.
  const chunkOf = (item: i32): i32 => near + 4 * ((item >>> 3) ^ (chunks === 8 ? swap : 0))
  /** The words of two tokens, and behind them their parameters. */
  const words = each(2, () => regs(5, u32(0)))
  const fetch = (item: i32, turn: number): void => {
    const row = tokenOf(item, turn)
    const chunk = chunks % 4 === 0 ? chunkOf(item) : Math.min(chunkOf(item), chunks - 1)
    const raw = loadWords(m.raw, [from, row * rowBytes + 16 * chunk], 4)
    ;[...raw, ...loadWords(m.rawParams, [from, 2 * row], 1)].forEach((word, i) => {
      words[turn]![i] = word
    })
  }
  for (const turn of unroll(2)) fetch(unpacker(), turn)
  for (const item of range(unpacker(), items, unpackers)) {
    const next = item + unpackers < items ? item + unpackers : item
    const chunk = chunkOf(item)
    const row = 16 * (item & (sixteens - 1)) + place
    const at = ((to * tilesOf(c.D) + ((parts * chunk) >>> 3)) * unitTokens + row) * pitch
    for (const turn of unroll(2)) {
      const [param] = liveParams(words[turn]!.slice(4), tokenOf(item, turn), live)
      const affine = affineOf(param!, param!)
      if (chunks % 4 === 0 || chunk < chunks) {
        for (const i of unroll(2)) {
          const values = words[turn]!.slice(0, 4).map((word) => valuesOf(c, word, i ^ swap, affine))
          for (const upper of unroll(parts / 2)) {
            // Eight tokens further places are four rows further, and chunks of rows are swizzled otherwise.
            const to16 = slot ^ (4 * turn + 2 * upper + i)
            const four = values.map((pair) => pair[upper]!)
            storeWords(m.keyBytes, [at + 4 * pitch * turn + (to16 << 4)], four)
          }
        }
      }
      fetch(next, turn)
    }
  }
}

/**
 * Values: a word is four tokens of a column already. A thread takes sixteen tokens of two columns, which it stores as two chunks
 * of the columns' rows; with 4 bits also those of the two columns half a row further.
 */
function unpackValues(c: PrefillConfig, m: PrefillMemory, from: i32, to: i32, live: i32): void {
  const { bits } = kvFormats[c.kv]
  const quadBytes = (c.D * bits) / 2
  const sixteen = laneIdx & 7
  const half = sixteen >>> 2
  // Lanes that load together differ in columns as quads are swizzled, and in halves of the unit.
  const near = (laneIdx >>> 3) ^ quadSwizzle(c.D, sixteen) ^ half
  // Lanes of the one half store even tokens where those of the other store odd ones.
  const slot = (2 * (sixteen & 3) + half) ^ (4 * (near & 1))
  /** Of even and of odd tokens, in each four. */
  const affines = each(4, (i) => {
    const token = 16 * sixteen + 4 * i
    const words = loadWords(m.rawParams, [from, 2 * token], 4)
    const [first, second, third, fourth] = liveParams(words, token, live)
    return [affineOf(first!, third!), affineOf(second!, fourth!)]
  })
  const items = quadBytes / 32
  const chunkOf = (item: i32): i32 => (4 * (item >>> 1)) ^ near
  const columnsOf = (item: i32): i32 => 2 * ((item & 1) ^ half)
  /** Two columns of the four quads. */
  const wordsOf = (item: i32): u32[] =>
    each(4, (i) => {
      const chunk = chunkOf(item) ^ quadSwizzle(c.D, i)
      return loadWords(m.raw, [from, (4 * sixteen + i) * quadBytes + 16 * chunk + 4 * columnsOf(item)], 2)
    }).flat()
  // Whoever has most of the keys has the fewest of these.
  const begin = (unpacker() + 1) % unpackers
  const words = wordsOf(begin)
  for (const item of range(begin, items, unpackers)) {
    // The next item's words are on their way while one's are unpacked.
    const quads = words.map((word) => u32(word))
    wordsOf(item + unpackers < items ? item + unpackers : item).forEach((word, i) => {
      words[i] = word
    })
    const row = (to * tilesOf(unitTokens) + half) * c.D + 4 * chunkOf(item) + columnsOf(item)
    for (const column of unroll(2))
      for (const odd of unroll(2)) {
        const values = each(4, (i) => valuesOf(c, quads[2 * i + column]!, odd, affines[i]![odd]!))
        const place = (slot ^ odd ^ column ^ columnsOf(item)) << 4
        for (const upper of unroll(bits === 4 ? 2 : 1)) {
          const four = values.map((pair) => pair[upper]!)
          storeWords(m.valueBytes, [(row + column + upper * (c.D / 2)) * pitch + place], four)
        }
      }
  }
}
