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
  /** Row tiles, and token tiles. */
  readonly rows: i32
  readonly tokens: i32
  /** CTAs of a cluster. */
  readonly cluster: number
  /** CTAs of a cluster that take neighbouring row tiles; the others share a tile. */
  readonly sharers: number
}

/** The calling CTA's tile in a grid of one cluster a tile, token tiles along x and row tiles along y. */
export const ownTile = (tiles: ProductTiles): ProductTile => ({
  row: rowTile(tiles, blockIdx.y),
  token: idiv(blockIdx.x, tiles.cluster),
})

/** The first tile of the calling CTA in a grid of clusters that take turns, along x. */
export function firstTile(tiles: ProductTiles): ProductTile {
  const index = idiv(blockIdx.x, tiles.cluster)
  const row = idiv(index, tiles.tokens)
  return { row: rowTile(tiles, row), token: index - row * tiles.tokens }
}

/**
 * Runs `body` for each tile of the calling CTA in a grid of clusters that take turns, along x. Tiles of one row are
 * neighbours, so that those in flight share weights.
 */
export function forEachTile(tiles: ProductTiles, body: (tile: ProductTile) => void): void {
  const clusters = idiv(gridDim.x, tiles.cluster)
  const first = idiv(blockIdx.x, tiles.cluster)
  const rows = rowTurns(tiles)
  // One division for the whole walk: a tile's place follows from that of the tile before it.
  const rowStep = idiv(clusters, tiles.tokens)
  const tokenStep = clusters - rowStep * tiles.tokens
  let row: i32 = idiv(first, tiles.tokens)
  let token: i32 = first - row * tiles.tokens
  for (const _ of range(first, rows * tiles.tokens, clusters)) {
    body({ row: rowTile(tiles, row), token })
    const next = token + tokenStep
    const wraps = next >= tiles.tokens
    token = wraps ? next - tiles.tokens : next
    row += wraps ? rowStep + 1 : rowStep
  }
}

/** Clusters that take all row tiles of a token tile. */
export const rowTurns = (tiles: ProductTiles): i32 =>
  tiles.sharers === 1 ? tiles.rows : idiv(tiles.rows + (tiles.sharers - 1), tiles.sharers)

/** The row tile of the calling CTA in the `index`-th of those clusters. */
export const rowTile = (tiles: ProductTiles, index: i32): i32 =>
  tiles.sharers === 1 ? index : index * tiles.sharers + (clusterRank % tiles.sharers)
