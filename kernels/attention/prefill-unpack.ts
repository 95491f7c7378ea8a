import {
  advance,
  arrive,
  ceilDiv,
  consumerCursor,
  each,
  f16x2,
  f32,
  fenceAsync,
  highNibbles,
  i32,
  idiv,
  laneIdx,
  loadWords,
  lowNibbles,
  producerCursor,
  range,
  release,
  shuffle,
  shuffleUp,
  store,
  storeWords,
  syncWarp,
  threadIdx,
  type u32,
  unpack2,
  unroll,
  waitEmpty,
  waitFull,
  warpIdx,
} from '../../dsl/index.ts'
import { kvFormats, PAGE_TOKENS } from '../formats/kv.ts'
import { quadSwizzle } from '../formats/kv-pages.ts'
import { UNIT, valueRate, valueStep } from './arithmetic.ts'
import { beginWalk, copyNext } from './prefill-copies.ts'
import {
  KEY_MIN,
  KEY_SCALE,
  type PrefillMemory,
  pitch,
  TOP,
  unitPages,
  VALUE_MIN,
  VALUE_SCALE,
  WALK_TILES,
  WEIGHT,
} from './prefill-memory.ts'
import type { PrefillConfig } from './prefill-shape.ts'
import { loadTile, tileOf } from './prefill-tiles.ts'
import type { PrefillArguments } from './prefill-wgmma.ts'

/**
 * The warpgroup that feeds the others. One thread keeps the copy engine fetching pages, some units ahead. All 128 make
 * of a unit's codes the tiles that `wgmma` reads, a byte a code, and of its parameters what the softmax
 * multiplies with.
 */
export function feed(a: PrefillArguments, c: PrefillConfig, m: PrefillMemory): void {
  const isCopier = (threadIdx.x & 127) === 0
  const walk = beginWalk(a, c, m, isCopier)
  const from = consumerCursor(0)
  /** Keys and values have the same places in their rings. */
  const to = producerCursor()
  let turn: i32 = 0
  for (;;) {
    waitFull(m.rawRing, from)
    const tile = tileOf(loadTile(m.tiles, turn & (WALK_TILES - 1)))
    if (tile.tokens === 0) break
    for (const unit of range(tile.firstUnit, tile.lastUnit + 1)) {
      const stages = each(unitPages, () => {
        waitFull(m.rawRing, from)
        const { stage } = from
        advance(from, m.rawRing, 1)
        return stage
      })
      // Keys first: products of scores are a unit ahead of those of values.
      waitEmpty(m.keyRing, to)
      unpackKeys(c, m, stages, to.stage)
      fenceAsync()
      syncWarp()
      if (laneIdx === 0) arrive(m.keyRing.full, to.stage)
      waitEmpty(m.valueRing, to)
      unpackParams(m, stages, to.stage, tile.context - unit * UNIT)
      unpackValues(c, m, stages, to.stage)
      fenceAsync()
      syncWarp()
      if (laneIdx === 0) arrive(m.valueRing.full, to.stage)
      advance(to, m.valueRing, 1)
      for (const stage of stages) release(m.rawRing, stage)
      if (isCopier) copyNext(a, c, m, walk)
      syncWarp()
    }
    turn += 1
  }
}

/**
 * Where a token's keys lie: inside of 16 rows so that a lane's accumulators are four consecutive tokens, which makes them
 * the fragments of the second product.
 */
const placeOf = (token: i32): i32 =>
  (token & ~15) + 8 * ((token >>> 1) & 1) + 2 * ((token >>> 2) & 3) + (token & 1)

/** Keys: 16 bytes of a token become one chunk of its row, or two where a byte holds two codes. */
function unpackKeys(c: PrefillConfig, m: PrefillMemory, stages: readonly i32[], to: i32): void {
  const { bits } = kvFormats[c.kv]
  const rowBytes = (c.D * bits) / 8
  const chunks = rowBytes / 16
  const thread = threadIdx.x & 127
  // Threads take chunks in their order, or a token each where the chunks of a token do not divide them evenly.
  const byChunk = 128 % chunks === 0
  const first = byChunk ? idiv(thread, chunks) : thread
  const place = placeOf(first)
  // Places repeat after 16 tokens, and swizzles after eight places.
  const firstPlace = (to * UNIT + place) * pitch
  const put = (row: number, chunk: i32, words: readonly u32[]): void => {
    const at = firstPlace + (((bits === 4 ? 2 * chunk : chunk) ^ (place & 7)) << 4) + row * pitch
    if (bits === 4) {
      storeWords(m.keyBytes, [at], words.map(lowNibbles))
      storeWords(m.keyBytes, [at ^ 16], words.map(highNibbles))
    } else storeWords(m.keyBytes, [at], words)
  }
  for (const turn of unroll(chunks)) {
    if (byChunk) {
      const row = (turn * 128) / chunks
      const inPage = first + (row % PAGE_TOKENS)
      const stage = stages[Math.floor(row / PAGE_TOKENS)]!
      put(row, thread % chunks, loadWords(m.raw, [stage, inPage * rowBytes + 16 * (thread % chunks)], 4))
    } else {
      const stage = stageOf(stages, first)
      put(0, i32(turn), loadWords(m.raw, [stage, (first & (PAGE_TOKENS - 1)) * rowBytes + 16 * turn], 4))
    }
  }
}

/** The stage of a token's page. */
const stageOf = (stages: readonly i32[], token: i32): i32 => (token < PAGE_TOKENS ? stages[0]! : stages[1]!)

/**
 * Values: a word is four tokens of a column already. A thread takes sixteen tokens of four columns, which it stores as chunks
 * of the columns' rows; with 4 bits also those of the four columns half a row further.
 */
function unpackValues(c: PrefillConfig, m: PrefillMemory, stages: readonly i32[], to: i32): void {
  const { bits } = kvFormats[c.kv]
  const quadBytes = (c.D * bits) / 2
  const items = (UNIT / 16) * (quadBytes / 16)
  for (const turn of unroll(ceilDiv(items, 128))) {
    const item = (threadIdx.x & 127) + 128 * turn
    if (items % 128 === 0 || item < items) {
      const sixteen = item & 7
      // Lanes that load together differ in columns as quads are swizzled: two of eight meet the same banks, and none that store.
      const chunk = (item >>> 3) ^ quadSwizzle(c.D, sixteen)
      const from = c.PB + ((4 * sixteen) & 15) * quadBytes
      const stage = stageOf(stages, 16 * sixteen)
      const quads = each(4, (i) =>
        loadWords(m.raw, [stage, from + i * quadBytes + ((chunk ^ quadSwizzle(c.D, i32(i))) << 4)], 4),
      )
      const first = (to * c.D + 4 * chunk) * pitch
      const place = sixteen ^ (4 * (chunk & 1))
      for (const column of unroll(4)) {
        const words = quads.map((quad) => quad[column]!)
        const at = first + column * pitch + ((place ^ column) << 4)
        if (bits === 4) {
          storeWords(m.valueBytes, [at], words.map(lowNibbles))
          storeWords(m.valueBytes, [at + (c.D / 2) * pitch], words.map(highNibbles))
        } else storeWords(m.valueBytes, [at], words)
      }
    }
  }
}

/** Scales and minima as the softmax wants them, four tokens a lane; of tokens past the end, zeros. */
function unpackParams(m: PrefillMemory, stages: readonly i32[], to: i32, live: i32): void {
  const first = 4 * laneIdx
  const stage = stageOf(stages, first)
  const pairs = (block: i32) => {
    const words = loadWords(m.rawParams, [stage, 2 * PAGE_TOKENS * block + 2 * (first & 63)], 4)
    return words.map((word, i) => {
      const [scale, min] = unpack2(f16x2.bits(word))
      const isLive = first + i < live
      return { scale: isLive ? f32(scale) : f32(0), min: isLive ? f32(min) : f32(0) }
    })
  }
  const put = (row: number, values: readonly f32[]) => store(m.params, [to, row, first], values)
  // The first warp has the thread that copies pages, which takes as long as any of these.
  const role = warpIdx & 3
  if (role === 1) {
    const keys = pairs(0)
    put(
      KEY_SCALE,
      keys.map(({ scale }) => scale),
    )
    put(
      KEY_MIN,
      keys.map(({ min }) => min),
    )
  } else if (role > 1) {
    const values = pairs(1)
    const scales = values.map(({ scale }) => scale)
    if (role === 2) {
      put(VALUE_SCALE, scales)
      put(
        VALUE_MIN,
        values.map(({ min }) => min),
      )
    } else {
      const tops = prefixMax(scales)
      put(TOP, tops)
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
