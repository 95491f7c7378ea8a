import {
  bf16x2,
  f16x2,
  f32,
  type In,
  i32,
  laneIdx,
  loadWords,
  shuffleXor,
  u32,
  unpack2,
  unroll,
} from '../../dsl/index.ts'
import { queryRate, queryStep, splitProbabilities } from './arithmetic.ts'
import { groupOf, type PrefillConfig, type PrefillShape } from './prefill-shape.ts'
import { laneRows, type QueryRows } from './prefill-softmax.ts'
import { type PrefillTile, tokenOfRow } from './prefill-tiles.ts'

export interface QueryArguments {
  readonly q: In<number, 'T HqD'>
  readonly scale: f32
  readonly window: i32
}

/** Words of a lane's queries. */
export const queryWords = ({ D }: PrefillShape): number => D / 4

/** Where the words of a part begin: the upper bytes of queries, or the lower. Four words are A's registers of 32 columns. */
export const partOfQuery = ({ D }: PrefillShape, part: 'high' | 'low'): number =>
  part === 'high' ? 0 : D / 8

/**
 * Where a word of a lane's four columns of sixteen is, of row `r`: of the part 0 or 1 once they are rounded, before that of
 * the columns' first or second half.
 */
const wordAt = (c: PrefillShape, sixteen: number, word: number, r: number): number =>
  (word * c.D) / 8 + 4 * (sixteen >> 1) + 2 * (sixteen & 1) + r

/** Loads the queries of the rows `row` and `row` + 8, by the lanes that multiply them. */
export function loadQueries(
  dst: u32[],
  a: QueryArguments,
  c: PrefillConfig,
  tile: PrefillTile,
  row: i32,
): void {
  const group = groupOf(c)
  for (const r of unroll(laneRows)) {
    const head = tile.kvHead * group + ((row + 8 * r) % group)
    const token = tile.token + tokenOfRow(c, tile, row + 8 * r)
    for (const i of unroll(c.D / 16)) {
      const pair = loadWords(a.q, [token, head * c.D + 16 * i + 4 * (laneIdx & 3)], 2)
      for (const word of unroll(2)) dst[wordAt(c, i, word, r)] = pair[word]!
    }
  }
}

/** Rounds them to integers of two bytes, in place. */
export function roundQueries(
  rows: QueryRows,
  words: u32[],
  a: QueryArguments,
  c: PrefillConfig,
  tile: PrefillTile,
  row: i32,
): void {
  for (const r of unroll(laneRows)) {
    const valuesOf = (i: number): f32[] =>
      [0, 1].flatMap((word) => halvesOf(c, words[wordAt(c, i, word, r)]!))
    let top = f32(0)
    for (const i of unroll(c.D / 16)) for (const x of valuesOf(i)) top = Math.max(top, Math.abs(x))
    top = Math.max(top, shuffleXor(top, 1))
    top = Math.max(top, shuffleXor(top, 2))
    const rate = queryRate(top)
    let sum: i32 = -Math.imul(c.D / 4, CODE_ZERO)
    for (const i of unroll(c.D / 16)) {
      const codes = valuesOf(i).map((x) => i32.bits(x * rate + CODE_BIAS))
      sum = codes.reduce((x, y) => x + y, sum)
      const [x, y, z, w] = codes.map((code) => u32((code << 1) + 128))
      const { high, low } = splitProbabilities([x!, y!, z!, w!])
      words[wordAt(c, i, 0, r)] = high
      words[wordAt(c, i, 1, r)] = lowBytes(low)
    }
    sum = sum + shuffleXor(sum, 1)
    sum = sum + shuffleXor(sum, 2)
    rows.step[r] = queryStep(top, a.scale)
    rows.sum[r] = f32(sum)
    rows.last[r] = tile.position + tokenOfRow(c, tile, row + 8 * r)
  }
}

/**
 * Integers are made by adding this: they are then the lower bits of a float (`queryCode`, without the unit that converts). Its
 * own bits.
 */
const CODE_BIAS = 1.5 * 2 ** 23
const CODE_ZERO = 0x4b400000

/**
 * Four signed bytes from 128 + twice each: halved, and less 64. Of a code plus 64, twice, the second byte is what `splitQuery`
 * calls high, and the first becomes the low one.
 */
function lowBytes(doubled: u32): u32 {
  const bytes = ((doubled >>> 1) & 0x7f7f7f7f) ^ 0x40404040
  return bytes | ((bytes & 0x40404040) << 1)
}

/** The two elements of a word. */
function halvesOf(c: PrefillConfig, word: u32): f32[] {
  const pair = c.dtype === 'f16' ? unpack2(f16x2.bits(word)) : unpack2(bf16x2.bits(word))
  return [f32(pair[0]), f32(pair[1])]
}
