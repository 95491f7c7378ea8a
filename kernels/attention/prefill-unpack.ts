import {
  advance,
  arrive,
  type Cursor,
  consumerCursor,
  copyBulk,
  expectBytes,
  type f16,
  f16x2,
  f32,
  fenceAsync,
  highNibbles,
  type In,
  i32,
  idiv,
  laneIdx,
  load,
  loadWords,
  lowNibbles,
  producerCursor,
  range,
  regs,
  release,
  shuffle,
  shuffleUp,
  store,
  storeWords,
  syncWarp,
  threadIdx,
  unpack2,
  unroll,
  waitEmpty,
  waitFull,
  warpIdx,
} from '../../dsl/index.ts'
import { kvFormats, PAGE_TOKENS } from '../formats/kv.ts'
import { quadSwizzle } from '../formats/kv-pages.ts'
import { valueRate, valueStep } from './arithmetic.ts'
import {
  KEY_MIN,
  KEY_SCALE,
  type PrefillMemory,
  TOP,
  unitPages,
  unitTokens,
  VALUE_MIN,
  VALUE_SCALE,
  WEIGHT,
} from './prefill-memory.ts'
import type { PrefillConfig } from './prefill-shape.ts'
import { itemOfTurn, itemsOf, loadTile, type StepTiles } from './prefill-tiles.ts'

/** The cache as prefill reads it. */
export interface CacheArguments {
  readonly pages: In<i32, 'B MaxPages'>
  readonly kv: In<number, 'Pages Hkv 2 PB'>
  readonly kvParams?: In<f16, 'Pages Hkv 2 64 2'>
}

/**
 * The warpgroup that feeds the others. One thread keeps the copy engine fetching pages, some units ahead; all 128 make of a
 * unit's codes the tiles that `wgmma` reads, a byte a code, and of its parameters what the softmax multiplies with.
 */
export function feed(a: StepTiles & CacheArguments, c: PrefillConfig, m: PrefillMemory): void {
  const items = itemsOf(a, c)
  const copier = producerCursor()
  const isCopier = (threadIdx.x & 127) === 0
  if (isCopier) {
    store(m.walk, [0], [i32(-1), i32(0), i32(0), i32(0)])
    store(m.walk, [4], [i32(0), i32(-1)])
    for (const _ of range(c.rawStages)) copyNext(a, c, m, copier, items)
  }
  const from = consumerCursor(0)
  const to = producerCursor()
  let turn: i32 = 0
  for (let item: i32 = itemOfTurn(turn); item < items; item = itemOfTurn(turn)) {
    const tile = loadTile(a, c, item)
    for (const unit of range(tile.firstUnit, tile.lastUnit + 1)) {
      waitFull(m.rawRing, from)
      waitEmpty(m.ring, to)
      unpackKeys(c, m, from.stage, to.stage)
      unpackValues(c, m, from.stage, to.stage)
      unpackParams(m, from.stage, to.stage, tile.context - unit * unitTokens)
      fenceAsync()
      syncWarp()
      if (laneIdx === 0) arrive(m.ring.full, to.stage)
      release(m.rawRing, from.stage)
      if (isCopier) copyNext(a, c, m, copier, items)
      syncWarp()
      advance(from, m.rawRing, 1)
      advance(to, m.ring, 1)
    }
    turn += 1
  }
}

/**
 * Asks for the pages of the next unit of all the CTA's tiles, if there is one; pages past the last that a query sees are not
 * read. Where the walk stands lies in shared memory, since one thread alone wants to know.
 */
function copyNext(
  a: StepTiles & CacheArguments,
  c: PrefillConfig,
  m: PrefillMemory,
  at: Cursor,
  items: i32,
): void {
  const walk = regs(6, i32(0))
  ;[...load(m.walk, [0], 4), ...load(m.walk, [4], 2)].forEach((value, i) => {
    walk[i] = value
  })
  const [TURN, SEQUENCE, HEAD, PAGE, UNIT, LAST] = [0, 1, 2, 3, 4, 5]
  if (walk[UNIT]! > walk[LAST]!) {
    walk[TURN] = walk[TURN]! + 1
    const item = itemOfTurn(walk[TURN]!)
    if (item < items) {
      const tile = loadTile(a, c, item)
      walk[SEQUENCE] = tile.sequence
      walk[HEAD] = tile.kvHead
      walk[PAGE] = idiv(tile.last, PAGE_TOKENS)
      walk[UNIT] = tile.firstUnit
      walk[LAST] = tile.lastUnit
    }
  }
  if (walk[UNIT]! <= walk[LAST]!) {
    waitEmpty(m.rawRing, at)
    expectBytes(m.rawRing, at.stage, unitPages * (2 * c.PB + 512))
    for (const i of unroll(unitPages)) {
      const page = a.pages.at(walk[SEQUENCE]!, Math.min(walk[UNIT]! * unitPages + i, walk[PAGE]!))
      const [to, from] = [
        [at.stage, i, 0],
        [page, walk[HEAD]!, 0, 0],
      ]
      copyBulk(m.raw, to!, a.kv, from!, 2 * c.PB, m.rawRing.full, at.stage)
      copyBulk(m.rawParams, to!, a.kvParams!, [...from!, 0], 512, m.rawRing.full, at.stage)
    }
    advance(at, m.rawRing, 1)
    walk[UNIT] = walk[UNIT]! + 1
  }
  store(m.walk, [0], walk.slice(0, 4))
  store(m.walk, [4], walk.slice(4))
}

/**
 * Where a token's keys lie: inside of 16 rows so that a lane's accumulators are four consecutive tokens, which makes them
 * the fragments of the second product.
 */
const placeOf = (token: i32): i32 =>
  (token & ~15) + 8 * ((token >>> 1) & 1) + 2 * ((token >>> 2) & 3) + (token & 1)

/** Keys: 16 bytes of a token become one chunk of its row, or two where a byte holds two codes. */
function unpackKeys(c: PrefillConfig, m: PrefillMemory, from: i32, to: i32): void {
  const { bits } = kvFormats[c.kv]
  const rowBytes = (c.D * bits) / 8
  const chunks = rowBytes / 16
  const thread = threadIdx.x & 127
  for (const k of range(chunks)) {
    const turn = thread + 128 * k
    const token = idiv(turn, chunks)
    const chunk = turn % chunks
    const page = token >>> 6
    const words = loadWords(m.raw, [from, page, (token & 63) * rowBytes + 16 * chunk], 4)
    const row = placeOf(token)
    const wordAt = (column: i32) => row * 32 + ((column ^ (row & 7)) << 2)
    if (bits === 4) {
      storeWords(m.keyWords, [to, wordAt(2 * chunk)], words.map(lowNibbles))
      storeWords(m.keyWords, [to, wordAt(2 * chunk + 1)], words.map(highNibbles))
    } else storeWords(m.keyWords, [to, wordAt(chunk)], words)
  }
}

/** Values: a word is four tokens of a column already; a lane takes a quad of tokens, and four columns at a time. */
function unpackValues(c: PrefillConfig, m: PrefillMemory, from: i32, to: i32): void {
  const { bits } = kvFormats[c.kv]
  const chunks = (c.D * bits) / 32
  const quad = laneIdx
  const h = quad >>> 2
  const page = quad >>> 4
  const base = c.PB + (quad & 15) * ((c.D * bits) / 2)
  for (const k of range(chunks / 4)) {
    // Lanes 4 to 7 of eight take the other chunk of a pair, or the eight would meet the same banks.
    const chunk = ((warpIdx & 3) * (chunks / 4) + k) ^ (h & 1)
    const words = loadWords(m.raw, [from, page, base + ((chunk ^ quadSwizzle(c.D, quad)) << 4)], 4)
    words.forEach((word, i) => {
      const column = 4 * chunk + i
      const at = column * 32 + ((h ^ (column & 7)) << 2) + (quad & 3)
      if (bits === 4) {
        m.valueWords.put(lowNibbles(word), to, at)
        m.valueWords.put(highNibbles(word), to, at + (c.D / 2) * 32)
      } else m.valueWords.put(word, to, at)
    })
  }
}

/** Scales and minima as the softmax wants them, four tokens a lane; of tokens past the end, zeros. */
function unpackParams(m: PrefillMemory, from: i32, to: i32, live: i32): void {
  const first = 4 * laneIdx
  const pairs = (block: i32) => {
    const words = loadWords(m.rawParams, [from, first >>> 6, 2 * PAGE_TOKENS * block + 2 * (first & 63)], 4)
    return words.map((word, i) => {
      const [scale, min] = unpack2(f16x2.bits(word))
      const isLive = first + i < live
      return { scale: isLive ? f32(scale) : f32(0), min: isLive ? f32(min) : f32(0) }
    })
  }
  const put = (row: number, values: readonly f32[]) => store(m.params, [to, row, first], values)
  const role = warpIdx & 3
  if (role === 0) {
    const keys = pairs(0)
    put(
      KEY_SCALE,
      keys.map(({ scale }) => scale),
    )
    put(
      KEY_MIN,
      keys.map(({ min }) => min),
    )
  } else {
    const values = pairs(1)
    const scales = values.map(({ scale }) => scale)
    if (role === 1) {
      put(VALUE_SCALE, scales)
      put(
        VALUE_MIN,
        values.map(({ min }) => min),
      )
    } else {
      const tops = prefixMax(scales)
      if (role === 2) put(TOP, tops)
      else {
        const top = shuffle(tops[3]!, 31)
        const perStep = valueRate(top)
        put(
          WEIGHT,
          scales.map((scale) => scale * perStep),
        )
        if (laneIdx === 0) m.steps.put(valueStep(top), to, 0)
      }
    }
  }
}

/** The largest of all values up to each, four to a lane; values are not negative. */
function prefixMax(values: readonly f32[]): f32[] {
  const tops: f32[] = []
  values.forEach((value, i) => {
    tops.push(i === 0 ? value : Math.max(tops[i - 1]!, value))
  })
  let upTo: f32 = tops[3]!
  for (const step of unroll(5)) {
    const lower = shuffleUp(upTo, 2 ** step)
    upTo = Math.max(upTo, lower)
  }
  const before = shuffleUp(upTo, 1)
  return tops.map((top) => (laneIdx === 0 ? top : Math.max(top, before)))
}
