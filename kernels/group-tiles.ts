import {
  blockDim,
  blockIdx,
  ceilDiv,
  each,
  gridDim,
  type In,
  i32,
  idiv,
  kernel,
  laneIdx,
  load,
  type Out,
  range,
  shuffle,
  store,
  threadIdx,
  unroll,
  warpIdx,
  warpPrefixSum,
} from '../dsl/index.ts'
import { type Piece, type ProductTile, type ProductTiles, rowTile, rowTurns } from '../dsl/std/index.ts'

/**
 * The token tiles of a grouped product: tokens are sorted by expert, each expert has weights of its own, and a tile holds
 * tokens of one expert alone. The list lies in device memory, so that routing may change from step to step without the
 * host: a launch is for the longest list, and what lies past the count is left.
 *
 * An entry stands for a tile, and says of the tile's expert what places all of its tiles: the expert, its first token, the
 * end of its tokens, and the number of its first tile. Entries of one expert are therefore equal.
 */
export interface GroupTiles {
  readonly tiles: In<i32, 'Tiles 4'>
  readonly tileCount: In<i32, '1'>
}

/** A tile of a product, grouped or not. */
export interface TokenTile extends ProductTile {
  /** In a grouped product: the tile's expert, whose tokens are `start` to `end` − 1 and whose tiles `token` counts. */
  readonly expert?: i32
  readonly start?: i32
  readonly end?: i32
  /** Where CTAs share tiles: the steps that are the CTA's. */
  readonly piece?: Piece
}

/** The first of `tokens` tokens of a tile. */
export const firstToken = ({ start, token }: TokenTile, tokens: number): i32 =>
  start === undefined ? token * tokens : start + token * tokens

/** The end of the tokens that a tile may have, of M in all. */
export const endToken = (tile: TokenTile, M: i32): i32 => tile.end ?? M

/** What rows have: once, or once for each expert. */
export type OfExpert<T> = In<T, 'N'> | In<T, 'Experts N'>

/** That of the rows of one expert. */
export const ofExpert = <T>(tensor: OfExpert<T>, expert: i32 | undefined): In<T, 'N'> =>
  (expert === undefined ? tensor : tensor.row(expert)) as In<T, 'N'>

/** Entries of the longest list for M tokens: every expert but one with a single token in its last tile. */
export function mostGroupTiles(M: number, experts: number, tokens: number): number {
  const used = Math.min(M, experts)
  return used + Math.floor((M - used) / tokens)
}

// ---- tiles of a CTA -------------------------------------------------------------------------------------------------

/** The first tile of the calling CTA in a grid of clusters that take turns, along x. */
export const firstGroupTile = (list: GroupTiles, product: ProductTiles, tokens: number): TokenTile =>
  turnTile(list, product, tokens, idiv(blockIdx.x, product.cluster))

/**
 * Runs `body` for each tile of the calling CTA in a grid of clusters that take turns, along x. `product.tokens` counts the
 * entries of the list. Tiles of one expert are neighbours, then tiles of one row: those in flight share activations, which
 * are few for an expert, as well as weights.
 */
export function eachGroupTile(
  list: GroupTiles,
  product: ProductTiles,
  tokens: number,
  body: (tile: TokenTile) => void,
): void {
  const clusters = idiv(gridDim.x, product.cluster)
  const first = idiv(blockIdx.x, product.cluster)
  for (const turn of range(first, rowTurns(product) * product.tokens, clusters)) {
    body(turnTile(list, product, tokens, turn))
  }
}

/** The calling CTA's tile in a grid of one cluster a tile, entries along x and row tiles along y. */
export function ownGroupTile(list: GroupTiles, product: ProductTiles): TokenTile {
  const entry = idiv(blockIdx.x, product.cluster)
  const [expert, start, end, firstTile] = load(list.tiles, [entry, 0], 4)
  return {
    expert: expert!,
    start: start!,
    end: end!,
    row: rowTile(product, blockIdx.y),
    token: entry - firstTile!,
  }
}

function turnTile({ tiles }: GroupTiles, product: ProductTiles, tokens: number, turn: i32): TokenTile {
  const rows = rowTurns(product)
  // The turns of an expert begin at its first tile's and are as many as its tiles have rows.
  const [expert, start, end, firstTile] = load(tiles, [idiv(turn, rows), 0], 4)
  const own = idiv(end! - start! + (tokens - 1), tokens)
  const place = turn - firstTile! * rows
  const row = idiv(place, own)
  return {
    expert: expert!,
    start: start!,
    end: end!,
    row: rowTile(product, row),
    token: place - row * own,
  }
}

// ---- the list -------------------------------------------------------------------------------------------------------

export interface GroupTilesConfig {
  readonly Experts: number
  /** Tokens of a tile at most: those of the product's. */
  readonly tokens: number
}

const threads = 256

/**
 * The list of the tiles for experts with `counts` tokens each, and its length. Entries past the length are left as they
 * were; the list has room for `mostGroupTiles` of all tokens.
 */
export const groupTiles = kernel(
  import.meta.url,
  { grid: () => [1], block: [threads] },
  function groupTiles(
    a: { counts: In<i32, 'Experts'>; tiles: Out<i32, 'Tiles 4'>; tileCount: Out<i32, '1'> },
    c: GroupTilesConfig,
  ) {
    const warps = blockDim.x / 32
    const chunks = ceilDiv(c.Experts, 32)
    // Every warp goes through all experts, 32 at a time, and lists the tiles of some of them.
    const counts = each(chunks, (chunk) => {
      const expert = chunk * 32 + laneIdx
      const isExpert = (chunk + 1) * 32 <= c.Experts || expert < c.Experts
      return isExpert ? a.counts.at(expert) : i32(0)
    })
    let firstToken: i32 = 0
    let firstTile: i32 = 0
    for (const chunk of unroll(chunks)) {
      const count = counts[chunk]!
      const tiles = idiv(count + (c.tokens - 1), c.tokens)
      const tokensToHere = firstToken + warpPrefixSum(count)
      const tilesToHere = firstTile + warpPrefixSum(tiles)
      for (const lane of range(warpIdx, Math.min(32, c.Experts - chunk * 32), warps)) {
        const end = shuffle(tokensToHere, lane)
        const start = end - shuffle(count, lane)
        const own = shuffle(tiles, lane)
        const first = shuffle(tilesToHere, lane) - own
        const expert = chunk * 32 + lane
        for (const tile of range(laneIdx, own, 32))
          store(a.tiles, [first + tile, 0], [expert, start, end, first])
      }
      firstToken = shuffle(tokensToHere, 31)
      firstTile = shuffle(tilesToHere, 31)
    }
    if (threadIdx.x === 0) a.tileCount.put(firstTile, 0)
  },
)

/** The list on the host: four numbers an entry. */
export function groupTilesReference(counts: readonly number[], tokens: number): number[] {
  const list: number[] = []
  let start = 0
  for (const [expert, count] of counts.entries()) {
    const first = list.length / 4
    for (let tile = 0; tile < Math.ceil(count / tokens); tile++)
      list.push(expert, start, start + count, first)
    start += count
  }
  return list
}
