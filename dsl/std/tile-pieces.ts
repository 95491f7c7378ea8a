import { blockIdx, gridDim, idiv } from '../intrinsics.ts'
import type { i32 } from '../scalars.ts'
import type { ProductTile } from './product-tiles.ts'

/**
 * Tiles whose last wave is shared out by steps along K (stream-K). CTAs take whole tiles in turns as long as there is one
 * for each; the steps of what is left over, tile after tile, are cut into equal runs of neighbouring steps, one for a CTA.
 * A run is a tile at most, so it ends one tile and begins another: two pieces.
 */
export interface StreamedTiles {
  /** Row tiles, and token tiles. */
  readonly rows: i32
  readonly tokens: i32
  /** Steps of a tile. */
  readonly steps: i32
  /** CTAs that share a tile of the last wave, about: few tiles left are for few CTAs. */
  readonly pieces: number
}

/** Steps `begin` to `end` - 1 of a tile. */
export interface Piece {
  readonly begin: i32
  readonly end: i32
  /** Where the tile is one of the last wave: which of them, and below zero elsewhere. */
  readonly shared: i32
}

/** A tile, and the piece of it that a CTA has. */
export interface PieceTile extends ProductTile {
  readonly piece: Piece
}

/** The last wave: its tiles, the first of them, and the CTAs that share their steps. */
interface LastWave {
  readonly first: i32
  readonly count: i32
  readonly ctas: i32
  /** Whole tiles that each CTA has before. */
  readonly turns: i32
}

function lastWave({ rows, tokens, steps, pieces }: StreamedTiles): LastWave {
  const turns = idiv(rows * tokens, gridDim.x)
  const first = turns * gridDim.x
  const count = rows * tokens - first
  // A run has a step at least.
  return { first, count, ctas: Math.min(gridDim.x, count * Math.min(pieces, steps)), turns }
}

/** The step of the last wave, counted over all its tiles, with which the run of a CTA begins; the last one's end with `ctas`. */
const runBegin = (tiles: StreamedTiles, { count, ctas }: LastWave, cta: i32): i32 =>
  idiv(count * tiles.steps * Math.min(cta, ctas), Math.max(ctas, 1))

/** A CTA's piece of a turn: a whole tile, or behind those the piece that ends its run of steps `from` to `until` - 1. */
function pieceAt(tiles: StreamedTiles, wave: LastWave, turn: i32, from: i32, until: i32): PieceTile {
  const isWhole = turn < wave.turns
  const shared = idiv(Math.max(until - 1, 0), tiles.steps)
  const index = isWhole ? turn * gridDim.x + blockIdx.x : wave.first + shared
  const begin = isWhole ? 0 : Math.max(from - shared * tiles.steps, 0)
  const end = isWhole ? tiles.steps : until - shared * tiles.steps
  const row = idiv(index, tiles.tokens)
  return { row, token: index - row * tiles.tokens, piece: { begin, end, shared: isWhole ? -1 : shared } }
}

/** The first piece of the calling CTA; of no steps where it has none. */
export function firstPiece(tiles: StreamedTiles): PieceTile {
  const wave = lastWave(tiles)
  const from = runBegin(tiles, wave, blockIdx.x)
  return pieceAt(tiles, wave, 0, from, runBegin(tiles, wave, blockIdx.x + 1))
}

/**
 * Runs `body` for each piece of the calling CTA in a grid along x: whole tiles, then those of its run, the last one first.
 * So who has the end of a tile comes to it when all others have had theirs for a while.
 */
export function forEachPiece(tiles: StreamedTiles, body: (tile: PieceTile) => void): void {
  const wave = lastWave(tiles)
  const from = runBegin(tiles, wave, blockIdx.x)
  let until: i32 = runBegin(tiles, wave, blockIdx.x + 1)
  for (let turn: i32 = 0; turn < wave.turns || from < until; turn++) {
    const tile = pieceAt(tiles, wave, turn, from, until)
    body(tile)
    until -= turn < wave.turns ? 0 : tile.piece.end - tile.piece.begin
  }
}

/** The first CTA that has a piece of a tile of the last wave: those from there to the one that has its end share it. */
export function firstSharer(tiles: StreamedTiles, shared: i32): i32 {
  const wave = lastWave(tiles)
  // Run r begins at ⌊r · steps / ctas⌋: the last run that begins at the tile's first step or before.
  return idiv((shared * tiles.steps + 1) * wave.ctas - 1, wave.count * tiles.steps)
}

/** The step of its tile with which the calling CTA's run begins, and that which its end would be the next: 0 at a tile's end. */
export function runEnds(tiles: StreamedTiles): { readonly begin: i32; readonly end: i32 } {
  const wave = lastWave(tiles)
  const ofTile = (step: i32): i32 => step - idiv(step, tiles.steps) * tiles.steps
  return {
    begin: ofTile(runBegin(tiles, wave, blockIdx.x)),
    end: ofTile(runBegin(tiles, wave, blockIdx.x + 1)),
  }
}
