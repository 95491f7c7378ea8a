import {
  ceilDiv,
  each,
  f32,
  type In,
  type InOut,
  type i32,
  laneIdx,
  load,
  range,
  regs,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'

/**
 * How a row of logits is looked at: tiles of 2048 logits for a warp, in which each lane has a *group* of 64, sixteen quads
 * of four neighbours that lie 128 apart. What is known of a group (its largest logit, its sum of weights) is worth as
 * much as that of any other 64 logits, and costs no exchange between lanes. The division depends on the vocabulary
 * alone, and with it every order of additions.
 */

const QUADS = 16
const QUAD_STRIDE = 128
export const TILE_LOGITS = QUADS * QUAD_STRIDE
export const GROUP_LOGITS = 4 * QUADS

export const tilesOf = (V: number): number => ceilDiv(V, TILE_LOGITS)
export const groupsOf = (V: number): number => 32 * tilesOf(V)
/** Words of a row of bits, one for each logit, that fill whole tiles. */
export const bitWordsOf = (V: number): number => (TILE_LOGITS / 32) * tilesOf(V)

/** Warps of a CTA that has a whole row: two at least, whose reductions go through shared memory, and are one to all. */
export const rowWarps = (V: number): number => Math.max(2, Math.min(8, tilesOf(V)))

export type Logits = In<f32, string> | InOut<f32, string>

/** Device: the first id of a quad of a group. */
export function quadStart(tile: i32, lane: i32, quad: i32): i32 {
  return tile * TILE_LOGITS + quad * QUAD_STRIDE + 4 * lane
}

/**
 * Device: four neighbouring logits of a row, or `outside` where there are none: what is outside is not read, so a quad of
 * any id may be asked for.
 */
export function loadQuad(logits: Logits, V: number, first: i32, outside: f32): f32[] {
  const row = logits as In<f32, string>
  if (V % 4 === 0) {
    const values = load(row, [Math.min(first, V - 4)], 4)
    return values.map((value) => (first < V ? value : outside))
  }
  return [0, 1, 2, 3].map((i) => {
    const value = row.at(Math.min(first + i, V - 1))
    return first + i < V ? value : outside
  })
}

/** Device: the 64 logits of the calling lane's group of a tile, −∞ behind the row's end. */
export function loadGroup(logits: Logits, V: number, tile: i32): f32[] {
  const values = regs(GROUP_LOGITS, f32(Number.NEGATIVE_INFINITY))
  const quads = (loadFour: (first: i32) => f32[]) => {
    for (const quad of unroll(QUADS)) {
      const four = loadFour(quadStart(tile, laneIdx, quad))
      for (const i of unroll(4)) values[4 * quad + i] = four[i]!
    }
  }
  if ((tile + 1) * TILE_LOGITS <= V)
    quads((first) =>
      V % 4 === 0 ? load(logits as In<f32, string>, [first], 4) : each(4, (i) => logits.at(first + i)),
    )
  else quads((first) => loadQuad(logits, V, first, f32(Number.NEGATIVE_INFINITY)))
  return values
}

/** Device: calls `use` for the logits of the calling lane's group of a tile, ids rising, sixteen of them loaded at a time. */
export function eachOfGroup(logits: Logits, V: number, tile: i32, use: (logit: f32) => void): void {
  for (const first of range(0, QUADS, 4)) {
    const quads = each(4, (quad) =>
      loadQuad(logits, V, quadStart(tile, laneIdx, first + quad), f32(Number.NEGATIVE_INFINITY)),
    )
    for (const logit of quads.flat()) use(logit)
  }
}

/** Device: sixty-four bits of the calling lane's group from a row of `bitWordsOf` words: eight quads to a word. */
export function loadGroupBits(words: { at(...index: i32[]): number }, slot: i32, tile: i32): i32[] {
  const quads = Array.from({ length: QUADS }, (_, quad) => {
    const word = words.at(slot, tile * (TILE_LOGITS / 32) + quad * (QUAD_STRIDE / 32) + (laneIdx >> 3))
    return (word >>> (4 * (laneIdx & 7))) & 15
  })
  return [0, 8].map((start) =>
    quads.slice(start, start + 8).reduce((bits, four, i) => bits | (four << (4 * i))),
  )
}

/** Device: the id of a bit of `loadGroupBits`. */
export function idOfGroupBit(tile: i32, half: number, bit: i32): i32 {
  return quadStart(tile, laneIdx, 8 * half + (bit >> 2)) + (bit & 3)
}

/** Device: one value for each group that the calling thread looks after, of a CTA of `warps` warps; `none` past the end. */
export function loadOwnGroups(values: In<f32, string>, V: number, warps: number, none: f32): f32[] {
  const tiles = tilesOf(V)
  return Array.from({ length: ceilDiv(tiles, warps) }, (_, turn) => {
    const tile = ownTile(turn, warps)
    const value = values.at(32 * Math.min(tile, tiles - 1) + laneIdx)
    return tile < tiles ? value : none
  })
}

/** Device: the tile of the calling thread's group of a turn. */
export function ownTile(turn: number, warps: number): i32 {
  return turn * warps + warpIdx
}
