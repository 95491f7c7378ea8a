import {
  ceilDiv,
  f32,
  fenceAsync,
  type In,
  type i32,
  idiv,
  loadWords,
  namedBarrier,
  packF16,
  permuteBytes,
  prefetch,
  range,
  storeWords,
  threadIdx,
  u32,
  unroll,
  warpgroupIdx,
} from '../../dsl/index.ts'
import { type PrefillMemory, tileColumns } from './prefill-memory.ts'
import { groupOf, groupRows, type PrefillConfig, type PrefillShape } from './prefill-shape.ts'
import { type PrefillTile, tokenOfRow } from './prefill-tiles.ts'

export interface QueryArguments {
  readonly q: In<number, 'T HqD'>
}

/** Columns that a thread takes at a time, and their words. */
const COLUMNS = 16
const WORDS = COLUMNS / 2

/** Words of a thread's share of a warpgroup's queries. */
export const queryWords = ({ D }: PrefillShape): number => (groupRows * D) / 128 / 2

/** A row of a tile, counted in it, and sixteen of its columns. */
interface QueryPlace {
  readonly row: i32
  readonly column: i32
}

/** What a thread has of a warpgroup's queries: lanes beside each other have columns beside each other. */
function placeOf({ D }: PrefillShape, i: number): QueryPlace {
  const item = (threadIdx.x & 127) + 128 * i
  const row = idiv(item, D / COLUMNS)
  return { row, column: COLUMNS * (item - row * (D / COLUMNS)) }
}

/** Where the query of a row of the calling warpgroup is in `q`. */
function queryAt(c: PrefillConfig, tile: PrefillTile, row: i32): readonly [token: i32, column: i32] {
  const inTile = groupRows * warpgroupIdx + row
  const group = groupOf(c)
  const head = tile.kvHead * group + (inTile - idiv(inTile, group) * group)
  return [tile.token + tokenOfRow(c, tile, inTile), head * c.D]
}

/** Asks for a warpgroup's queries of a tile that it will load before long. */
export function prefetchQueries(a: QueryArguments, c: PrefillConfig, tile: PrefillTile): void {
  const lines = ceilDiv(2 * c.D, 128)
  for (const item of range(threadIdx.x & 127, groupRows * lines, 128)) {
    const row = idiv(item, lines)
    const [token, column] = queryAt(c, tile, row)
    prefetch(a.q, [token, column + 64 * (item - row * lines)])
  }
}

/** Loads a warpgroup's queries of a tile, a share a thread. */
export function loadQueries(words: u32[], a: QueryArguments, c: PrefillConfig, tile: PrefillTile): void {
  for (const i of unroll(words.length / WORDS)) {
    const { row, column } = placeOf(c, i)
    const [token, first] = queryAt(c, tile, row)
    for (const half of unroll(2))
      loadWords(a.q, [token, first + column + 8 * half], 4).forEach((word, j) => {
        words[WORDS * i + 4 * half + j] = word
      })
  }
}

/**
 * Stores them as f16 where `wgmma` reads them, columns in the order of the keys' tiles: of each sixteen the even ones, then the
 * odd ones. Called by the whole warpgroup, whose scores of the tile before have been computed.
 */
export function storeQueries(m: PrefillMemory, c: PrefillConfig, words: readonly u32[]): void {
  for (const i of unroll(words.length / WORDS)) {
    const { row, column } = placeOf(c, i)
    const own = words.slice(WORDS * i, WORDS * i + WORDS)
    const pairs = (isOdd: boolean): u32[] =>
      [0, 2, 4, 6].map((word) => pairOf(c, own[word]!, own[word + 1]!, isOdd))
    const panel = idiv(column, tileColumns)
    const at = column - panel * tileColumns
    storeWords(m.queries, [warpgroupIdx, panel, row, at], pairs(false))
    storeWords(m.queries, [warpgroupIdx, panel, row, at + 8], pairs(true))
  }
  fenceAsync()
  namedBarrier(QUERIES + warpgroupIdx, 128)
}

/** The first of the barriers at which warpgroups see their queries stored. */
const QUERIES = 3

/** Even or odd elements of two words, as f16. */
function pairOf(c: PrefillConfig, first: u32, second: u32, isOdd: boolean): u32 {
  if (c.dtype === 'f16') return permuteBytes(first, second, isOdd ? 0x7632 : 0x5410)
  const elementOf = (word: u32) => f32.bits(isOdd ? word & 0xffff0000 : word << 16)
  return u32.bits(packF16(finite(elementOf(first)), finite(elementOf(second))))
}

/** The largest f16. */
const LARGEST = 65504

/** A number that is an f16 when it is rounded, and not infinite. */
const finite = (x: f32): f32 => Math.min(Math.max(x, -LARGEST), LARGEST)
