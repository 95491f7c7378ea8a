import { atomicAdd, gridDim, type In, type InOut, i32, idiv, load, type Shared } from '../../dsl/index.ts'
import { UNIT } from './arithmetic.ts'
import { groupOf, type PrefillShape, tileTokens } from './prefill-shape.ts'

/** The list of a step's tiles, which every key/value head has, and what else describes queries. */
export interface StepTiles {
  /**
   * Of each tile: sequence, first query token in the step, how many query tokens of the sequence follow it (itself included),
   * its position, tokens of the sequence's cache, first unit that a query of the tile sees, the last, and the last page.
   */
  readonly tiles: In<i32, 'Tiles 8'>
  readonly tileCount: In<i32, '1'>
  /** How often CTAs have taken a tile beyond their first two: 0 ahead of a launch, and behind it. */
  readonly taken: InOut<i32, '1'>
  /** Tokens that a query sees, itself included. */
  readonly window: i32
}

/** Words of a tile in the list, and in shared memory, where the key/value head stands in for the sequence. */
export const TILE_WORDS = 8

/** A tile: query tokens of one sequence, and the query heads of one key/value head. */
export interface PrefillTile {
  readonly kvHead: i32
  /** The first query token in the step, and how many query tokens of the sequence follow it, itself included. */
  readonly token: i32
  /** None behind the last tile. */
  readonly tokens: i32
  /** Position of the first query token. */
  readonly position: i32
  /** Tokens of the sequence's cache. */
  readonly context: i32
  /** First unit that has tokens which a query sees, and the last. */
  readonly firstUnit: i32
  readonly lastUnit: i32
}

/** Tiles of all key/value heads. */
export const itemsOf = (a: StepTiles, shape: PrefillShape): i32 => a.tileCount.at(0) * shape.Hkv

/**
 * Takes a turn for an item beyond the calling CTA's first two: `itemOfTurn` says which, and should do so much later, as turns are a
 * word of global memory.
 */
export const takeTurn = ({ taken }: StepTiles): i32 => atomicAdd(taken, [0], i32(1))

/**
 * The item of a turn: the longest that is left, as the list begins with the longest. There is none from `items` on. CTAs have two items
 * without a turn, there and back (the turns below 0), and take turns until there is none, so that there are as many turns as
 * items behind the first of all CTAs: the last leaves things as they were.
 */
export function itemOfTurn({ taken }: StepTiles, items: i32, turn: i32): i32 {
  if (turn === items - gridDim.x - 1) taken.put(0, 0)
  return 2 * gridDim.x + turn
}

/** The words of a tile in shared memory. */
export const loadTile = (src: Shared<i32>, at: i32): i32[] => [
  ...load(src, [at, 0], 4),
  ...load(src, [at, 4], 4),
]

/** What they say. */
export function tileOf(words: readonly i32[]): PrefillTile {
  const [kvHead, token, tokens, position, context, firstUnit, lastUnit] = words
  return {
    kvHead: kvHead!,
    token: token!,
    tokens: tokens!,
    position: position!,
    context: context!,
    firstUnit: firstUnit!,
    lastUnit: lastUnit!,
  }
}

/** The query token of a row of a tile, from the tile's first on; rows without one take the last. */
export const tokenOfRow = (shape: PrefillShape, tile: PrefillTile, row: i32): i32 =>
  Math.min(idiv(row, groupOf(shape)), Math.min(tile.tokens, tileTokens(shape)) - 1)

/** The last half unit that a row of a tile sees, of all positions: but the second one of the tile's first unit, if that is its last. */
export const lastHalfOf = (shape: PrefillShape, tile: PrefillTile): i32 => {
  const last = tile.position + Math.min(tile.tokens, tileTokens(shape)) - 1
  return Math.max(idiv(last, UNIT / 2), 2 * tile.firstUnit + 1)
}

/** Whether no row of a tile sees the second half of its last unit. */
export const endsInHalf = (shape: PrefillShape, tile: PrefillTile): boolean =>
  lastHalfOf(shape, tile) === 2 * tile.lastUnit
