import {
  commitCopies,
  copyAsync,
  each,
  f32,
  fenceAsync,
  type In,
  type i32,
  idiv,
  loadWords,
  namedBarrier,
  overlay,
  packF16,
  permuteBytes,
  storeWords,
  swizzledTile,
  threadIdx,
  u32,
  unroll,
  waitCopies,
  warpgroupIdx,
} from '../../dsl/index.ts'
import { type PrefillMemory, queryShape, tileColumns } from './prefill-memory.ts'
import { groupOf, groupRows, type PrefillConfig, type PrefillShape } from './prefill-shape.ts'
import { type PrefillTile, tokenOfRow } from './prefill-tiles.ts'

export interface QueryArguments {
  readonly q: In<number, 'T HqD'>
}

/** Columns that a thread takes at a time: 32 bytes. */
const COLUMNS = 16

/** The places of a thread's queries: a row of the calling warpgroup, and the first of sixteen columns. */
function placesOf({ D }: PrefillShape): { readonly row: i32; readonly column: i32 }[] {
  const chunks = D / COLUMNS
  return each((groupRows * chunks) / 128, (i) => {
    const item = (threadIdx.x & 127) + 128 * i
    const row = idiv(item, chunks)
    return { row, column: COLUMNS * (item - row * chunks) }
  })
}

/** Where a place lies in the tile. */
const indexOf = (row: i32, column: i32): readonly i32[] => {
  const panel = idiv(column, tileColumns)
  return [warpgroupIdx, panel, row, column - panel * tileColumns]
}

/**
 * Starts the copies of a warpgroup's queries of a tile, as they are, by the warpgroup itself, whose scores of the tile before have
 * been computed.
 */
export function copyQueries(m: PrefillMemory, a: QueryArguments, c: PrefillConfig, tile: PrefillTile): void {
  const group = groupOf(c)
  const tiles = overlay<number>(m.queries, c.dtype, swizzledTile(queryShape(c.D), c.dtype))
  namedBarrier(QUERIES + warpgroupIdx, 128)
  for (const { row, column } of placesOf(c)) {
    const inTile = groupRows * warpgroupIdx + row
    const token = tile.token + tokenOfRow(c, tile, inTile)
    const head = tile.kvHead * group + (inTile - idiv(inTile, group) * group)
    for (const half of unroll(2)) {
      const to = indexOf(row, column + 8 * half)
      copyAsync(tiles, to, a.q, [token, head * c.D + column + 8 * half], 16)
    }
  }
  commitCopies()
}

/**
 * Waits for them, and makes f16 of them in the order of the keys' tiles: of each sixteen columns the even ones, then the odd
 * ones. A thread does so with what it has copied.
 */
export function awaitQueries(m: PrefillMemory, c: PrefillConfig): void {
  waitCopies(0)
  const halves = placesOf(c).map(({ row, column }) => [0, 8].map((half) => indexOf(row, column + half)))
  // All are loaded before the first is stored: whether one's place is another's the assembler cannot know.
  const loaded = halves.map((pair) => pair.flatMap((at) => loadWords(m.queries, at, 4)))
  halves.forEach((pair, i) => {
    pair.forEach((at, isOdd) => {
      const words = [0, 2, 4, 6].map((word) =>
        pairOf(c, loaded[i]![word]!, loaded[i]![word + 1]!, isOdd === 1),
      )
      storeWords(m.queries, at, words)
    })
  })
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
