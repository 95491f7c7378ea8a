import { blockIdx, gridDim, type In, type i32, idiv, load } from '../../dsl/index.ts'
import { groupOf, type PrefillShape, tileTokens } from './prefill-shape.ts'

/** What describes the sequences of a step, and which of their query tokens form tiles. */
export interface StepTiles {
  /** First query token of each sequence in the step, and the end of the last. */
  readonly queryStart: In<i32, 'Starts'>
  /** Tokens of each sequence that are cached after the step. */
  readonly context: In<i32, 'B'>
  /** Sequence, and first query token within it, of each tile; every key/value head has the same tiles. */
  readonly tiles: In<i32, 'Tiles 2'>
  readonly tileCount: In<i32, '1'>
  /** Tokens that a query sees, itself included. */
  readonly window: i32
}

/** A tile of the calling CTA: query tokens of one sequence, and the query heads of one key/value head. */
export interface PrefillTile {
  readonly sequence: i32
  readonly kvHead: i32
  /** The first query token in the step, and how many query tokens of the sequence follow it, itself included. */
  readonly token: i32
  readonly tokens: i32
  /** Position of the first query token. */
  readonly position: i32
  /** Tokens of the sequence's cache. */
  readonly context: i32
  /** The last position that a query of the tile sees. */
  readonly last: i32
  /** First unit that has tokens which a query sees, and the last. */
  readonly firstUnit: i32
  readonly lastUnit: i32
}

/** Tiles of all key/value heads. */
export const itemsOf = (a: StepTiles, shape: PrefillShape): i32 => a.tileCount.at(0) * shape.Hkv

/** The item that the calling CTA takes at a turn: CTAs go back and forth, as the list begins with the longest. */
export function itemOfTurn(turn: i32): i32 {
  const first = turn * gridDim.x
  return (turn & 1) === 0 ? first + blockIdx.x : first + (gridDim.x - 1 - blockIdx.x)
}

export function loadTile(a: StepTiles, shape: PrefillShape, item: i32): PrefillTile {
  const entry = idiv(item, shape.Hkv)
  const [sequence, first] = load(a.tiles, [entry, 0], 2)
  const start = a.queryStart.at(sequence!)
  const count = a.queryStart.at(sequence! + 1) - start
  const context = a.context.at(sequence!)
  const position = context - count + first!
  const tokens = count - first!
  const last = position + Math.min(tokens, tileTokens(shape)) - 1
  return {
    sequence: sequence!,
    kvHead: item - entry * shape.Hkv,
    token: start + first!,
    tokens,
    position,
    context,
    last,
    firstUnit: Math.max(position - a.window + 1, 0) >>> 7,
    lastUnit: last >>> 7,
  }
}

/** The query token of a row of a tile, from the tile's first on; rows without one take the last. */
export const tokenOfRow = (shape: PrefillShape, tile: PrefillTile, row: i32): i32 =>
  Math.min(idiv(row, groupOf(shape)), Math.min(tile.tokens, tileTokens(shape)) - 1)
