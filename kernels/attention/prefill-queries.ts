import {
  f32,
  fenceAsync,
  type In,
  idiv,
  loadWords,
  namedBarrier,
  packF16,
  permuteBytes,
  storeWords,
  threadIdx,
  u32,
  unroll,
  warpgroupIdx,
} from '../../dsl/index.ts'
import { type PrefillMemory, tileColumns } from './prefill-memory.ts'
import { groupOf, groupRows, type PrefillConfig } from './prefill-shape.ts'
import { type PrefillTile, tokenOfRow } from './prefill-tiles.ts'

export interface QueryArguments {
  readonly q: In<number, 'T HqD'>
}

/** Columns that a thread takes at a time. */
const COLUMNS = 16

/**
 * Stores a warpgroup's queries of a tile as f16 where `wgmma` reads them, columns in the order of the keys' tiles: of each
 * sixteen the even ones, then the odd ones. Called by the whole warpgroup, whose scores of the tile before have been computed.
 */
export function storeQueries(m: PrefillMemory, a: QueryArguments, c: PrefillConfig, tile: PrefillTile): void {
  const group = groupOf(c)
  const thread = threadIdx.x & 127
  // Eight lanes that store together have eight rows, whose chunks meet different banks.
  const row = thread & (groupRows - 1)
  const inTile = groupRows * warpgroupIdx + row
  const token = tile.token + tokenOfRow(c, tile, inTile)
  const head = tile.kvHead * group + (inTile - idiv(inTile, group) * group)
  for (const i of unroll(c.D / (2 * COLUMNS))) {
    const column = COLUMNS * (2 * i + idiv(thread, groupRows))
    const words = [0, 8].flatMap((half) => loadWords(a.q, [token, head * c.D + column + half], 4))
    const pairs = (isOdd: boolean): u32[] =>
      [0, 2, 4, 6].map((word) => pairOf(c, words[word]!, words[word + 1]!, isOdd))
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
