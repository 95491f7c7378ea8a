import { blockIdx, gridDim, idiv, range } from '../intrinsics.ts'
import type { i32 } from '../scalars.ts'
import { clusterRank } from '../warpgroups.ts'

/** A tile of a matrix product: which one along the rows of W, and which along the tokens. */
export interface ProductTile {
  readonly row: i32
  readonly token: i32
}

/** The tiles of a matrix product, for clusters of CTAs that walk over them. */
export interface ProductTiles {
  /** Row tiles of one CTA, and token tiles. */
  readonly rows: i32
  readonly tokens: i32
  /** CTAs of a cluster. */
  readonly cluster: number
  /** CTAs of a cluster that take neighbouring row tiles; the others share a tile. */
  readonly sharers: number
}

/** The calling CTA's tile of number `index`: tiles of one row are neighbours, so that those in flight share weights. */
export function tileAt(tiles: ProductTiles, index: i32): ProductTile {
  const row = idiv(index, tiles.tokens)
  return {
    row: tiles.sharers === 1 ? row : row * tiles.sharers + (clusterRank % tiles.sharers),
    token: index - row * tiles.tokens,
  }
}

/** Runs `body` for each tile of the calling CTA: clusters take turns, as many as the grid has. */
export function forEachTile(tiles: ProductTiles, body: (tile: ProductTile) => void): void {
  for (const index of range(firstTile(tiles), tileCount(tiles), clusters(tiles))) body(tileAt(tiles, index))
}

/** The number of the calling CTA's first tile. */
export const firstTile = (tiles: ProductTiles): i32 => idiv(blockIdx.x, tiles.cluster)

const clusters = (tiles: ProductTiles): i32 => idiv(gridDim.x, tiles.cluster)

/** Tiles of the whole product, those that sharers of a cluster take together counted once. */
const tileCount = (tiles: ProductTiles): i32 => {
  const rows = tiles.sharers === 1 ? tiles.rows : idiv(tiles.rows + (tiles.sharers - 1), tiles.sharers)
  return rows * tiles.tokens
}
