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
  /**
   * Token tiles of a band: clusters that take turns go through all row tiles of one band before they begin the next, so that
   * its activations stay in the caches. One band unless given, and where it does not divide the token tiles.
   */
  readonly band?: number
  /** Whether the tiles of a last wave that would leave half of the clusters idle or more are cut in two along the tokens. */
  readonly halves?: boolean
}

/** The calling CTA's tile in a grid of one cluster a tile, token tiles along x and row tiles along y. */
export const ownTile = (tiles: ProductTiles): ProductTile => ({
  row: rowTile(tiles, blockIdx.y),
  token: idiv(blockIdx.x, tiles.cluster),
})

/** The first tile of the calling CTA in a grid of clusters that take turns, along x. */
export function firstTile(tiles: ProductTiles): ProductTile {
  const index = idiv(blockIdx.x, tiles.cluster)
  const width = bandWidth(tiles)
  const row = idiv(index, width)
  return inBand(tiles, width, row, index - row * width)
}

/** Token tiles of a band. */
function bandWidth({ band, tokens }: ProductTiles): i32 {
  if (band === undefined) return tokens
  return tokens % band === 0 ? band : tokens
}

/** The tile of bands that are put one below the other: `row` counts the clusters' turns of all of them. */
function inBand(tiles: ProductTiles, width: i32, row: i32, token: i32): ProductTile {
  if (tiles.band === undefined) return { row: rowTile(tiles, row), token }
  const rows = rowTurns(tiles)
  const band = idiv(row, rows)
  return { row: rowTile(tiles, row - band * rows), token: band * width + token }
}

/**
 * Runs `body` for each tile of the calling CTA in a grid of clusters that take turns, along x. Tiles of one row are
 * neighbours, so that those in flight share weights.
 */
export function forEachTile(tiles: ProductTiles, body: (tile: ProductTile) => void): void {
  const clusters = idiv(gridDim.x, tiles.cluster)
  const first = idiv(blockIdx.x, tiles.cluster)
  const rows = rowTurns(tiles)
  const width = bandWidth(tiles)
  // One division for the whole walk: a tile's place follows from that of the tile before it.
  const rowStep = idiv(clusters, width)
  const tokenStep = clusters - rowStep * width
  let row: i32 = idiv(first, width)
  let token: i32 = first - row * width
  for (const _ of range(first, wholeTiles(tiles, rows, clusters), clusters)) {
    body(inBand(tiles, width, row, token))
    const next = token + tokenStep
    const wraps = next >= width
    token = wraps ? next - width : next
    row += wraps ? rowStep + 1 : rowStep
  }
}

/** Tiles that clusters take whole: all, unless the last wave is of halves. */
function wholeTiles(tiles: ProductTiles, rows: i32, clusters: i32): i32 {
  const count = rows * tiles.tokens
  if (!tiles.halves) return count
  const left = count % clusters
  return count > clusters && 2 * left <= clusters ? count - left : count
}

/**
 * Behind `forEachTile`, where `halves` says so: runs `body` for the calling CTA's half of a tile, if it has one. `token`
 * counts halves there.
 */
export function forHalfTile(tiles: ProductTiles, body: (half: ProductTile) => void): void {
  const clusters = idiv(gridDim.x, tiles.cluster)
  const half = idiv(blockIdx.x, tiles.cluster)
  const rows = rowTurns(tiles)
  const index = wholeTiles(tiles, rows, clusters) + (half >>> 1)
  if (index < rows * tiles.tokens) {
    const row = idiv(index, tiles.tokens)
    const token = index - row * tiles.tokens
    body({ row: rowTile(tiles, row), token: 2 * token + (half & 1) })
  }
}

/** Clusters that take all row tiles of a token tile. */
export const rowTurns = (tiles: ProductTiles): i32 =>
  tiles.sharers === 1 ? tiles.rows : idiv(tiles.rows + (tiles.sharers - 1), tiles.sharers)

/** The row tile of the calling CTA in the `index`-th of those clusters. */
export const rowTile = (tiles: ProductTiles, index: i32): i32 =>
  tiles.sharers === 1 ? index : index * tiles.sharers + (clusterRank % tiles.sharers)
