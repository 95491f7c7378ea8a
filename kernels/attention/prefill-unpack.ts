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
import { type PrefillMemory, pitch, placeOfToken, tilesOf, unitTokens, unpackers } from './prefill-memory.ts'
import type { PrefillConfig } from './prefill-shape.ts'
import { loadTile, tileOf } from './prefill-tiles.ts'

/** The warps that make of a unit's codes the tiles that `wgmma` reads, f16 of code · scale + minimum, rounded once. */
export function feed(c: PrefillConfig, m: PrefillMemory): void {
  const turn = consumerCursor(0)
  const from = consumerCursor(0)
  /** Keys and values have the same places in their rings. */
  const to = producerCursor()
  const biases = loadBiases()
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
      // Keys first: products of scores are a unit ahead of those of values.
      unpackPart(m.keyRing, (from, to) => unpackKeys(c, m, biases, from, to))
      const live = tile.context - unit * unitTokens
      unpackPart(m.valueRing, (from, to) => unpackValues(c, m, biases, from, to, live))
      advance(to, m.valueRing, 1)
    }
  }
}

/** The calling warp, of those that unpack. */
const unpacker = (): i32 => (warpIdx & 3) - 1

/**
 * What a warp has of `count` items, which are dealt in turns from warp `first` on: calls `run` with each, and how many steps of
 * `unpackers` it is behind the warp's first.
 */
function forItems(first: number, count: number, run: (begin: i32, step: number) => void): void {
  const begin = (unpacker() + unpackers - first) % unpackers
  for (const step of unroll(ceilDiv(count, unpackers))) {
    if (unpackers * (step + 1) <= count) run(begin, step)
    else if (begin < count - unpackers * step) run(begin, step)
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
function unpackKeys(c: PrefillConfig, m: PrefillMemory, biases: Biases, from: i32, to: i32): void {
  const { bits } = kvFormats[c.kv]
  const rowBytes = (c.D * bits) / 8
  const chunks = rowBytes / 16
  /** Chunks of f16 that one of bytes becomes. */
  const parts = bits === 4 ? 4 : 2
  const { token, near, swap } = bits === 4 ? nibbleLanes() : byteLanes()
  const place = placeOfToken(token)
  const slot = (((parts * near) & 7) + swap) ^ (place & 7)
  for (const fours of unroll(ceilDiv(chunks, 4))) {
    // Tokens whose rows begin in the same bank take different halves of them.
    const chunk = near + 4 * (chunks === 8 ? fours ^ swap : fours)
    const loaded = 4 * (fours + 1) <= chunks ? chunk : Math.min(chunk, chunks - 1)
    forItems(fours, unitTokens / 16, (begin, step) => {
      const sixteen = begin + unpackers * step
      const at = ((to * tilesOf(c.D) + ((parts * chunk) >>> 3)) * unitTokens + 16 * sixteen + place) * pitch
      for (const turn of unroll(2)) {
        const row = 16 * sixteen + token + 8 * turn
        const words = loadWords(m.raw, [from, row * rowBytes + 16 * loaded], 4)
        const [param] = loadWords(m.rawParams, [from, 2 * row], 1)
        const affine = affineOf(param!, param!)
        if (4 * (fours + 1) <= chunks || chunk < chunks) {
          for (const i of unroll(2)) {
            const values = words.map((word) => valuesOf(c, word, i ^ swap, biases, affine))
            for (const upper of unroll(parts / 2)) {
              // Eight tokens further places are four rows further, and chunks of rows are swizzled otherwise.
              const to16 = slot ^ (4 * turn + 2 * upper + i)
              const four = values.map((pair) => pair[upper]!)
              storeWords(m.keyBytes, [at + 4 * pitch * turn + (to16 << 4)], four)
            }
          }
        }
      }
    })
  }
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
): void {
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
    const params = loadWords(m.rawParams, [from, 2 * token], 4).map((word) => u32(word))
    // Those past the end may be anything.
    if (live < unitTokens) {
      for (const j of unroll(params.length)) if (token + j >= live) params[j] = 0
    }
    const [first, second, third, fourth] = params
    return [affineOf(first!, third!), affineOf(second!, fourth!)]
  })
  forItems((unitTokens / 16) % unpackers, quadBytes / 32, (begin, step) => {
    const item = begin + unpackers * step
    const chunk = (4 * (item >>> 1)) ^ near
    const columns = 2 * ((item & 1) ^ half)
    const quads = each(4, (i) => {
      const at = 16 * (chunk ^ quadSwizzle(c.D, i)) + 4 * columns
      return loadWords(m.raw, [from, (4 * sixteen + i) * quadBytes + at], 2)
    })
    const row = (to * tilesOf(unitTokens) + half) * c.D + 4 * chunk + columns
    for (const column of unroll(2))
      for (const odd of unroll(2)) {
        const values = quads.map((quad, i) => valuesOf(c, quad[column]!, odd, biases, affines[i]![odd]!))
        const place = (slot ^ odd ^ column ^ columns) << 4
        for (const upper of unroll(bits === 4 ? 2 : 1)) {
          const four = values.map((pair) => pair[upper]!)
          storeWords(m.valueBytes, [(row + column + upper * (c.D / 2)) * pitch + place], four)
        }
      }
  })
}
