import {
  ceilDiv,
  type DType,
  dtypeBytes,
  each,
  f16x2,
  f32,
  type In,
  type InOut,
  type i32,
  idiv,
  laneIdx,
  load,
  loadWords,
  pack2,
  range,
  regs,
  storeWords,
  to,
  u32,
  unpack2,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'

/**
 * How a row of logits is looked at: tiles of 2048 logits for a warp, in which each lane has a *group* of 64, in pieces of 16
 * bytes that lie 32 pieces apart. What is known of a group (its largest logit, its sum of weights) is worth as much as that
 * of any other 64 logits, and costs no exchange between lanes. The division depends on the vocabulary and the type of the
 * logits alone, and with it every order of additions.
 */

export const TILE_LOGITS = 2048
export const GROUP_LOGITS = TILE_LOGITS / 32

/** The types that logits may have. */
export type LogitType = 'f32' | 'f16'

/** Neighbouring logits of a piece, and pieces of a group. */
export const pieceLogits = (dtype: DType): number => 16 / dtypeBytes[dtype]
export const groupPieces = (dtype: DType): number => GROUP_LOGITS / pieceLogits(dtype)

export const tilesOf = (V: number): number => ceilDiv(V, TILE_LOGITS)
export const groupsOf = (V: number): number => 32 * tilesOf(V)
/** Words of a row of bits, one for each logit, that fill whole tiles. */
export const bitWordsOf = (V: number): number => (TILE_LOGITS / 32) * tilesOf(V)

/** Warps of a CTA that has a whole row: two at least, whose reductions go through shared memory, and are one to all. */
export const rowWarps = (V: number): number => Math.max(2, Math.min(8, tilesOf(V)))

export type Logits = In<number, string> | InOut<number, string>

/** Device: the first id of a piece of a group. */
export function pieceStart(dtype: DType, tile: i32, lane: i32, piece: i32): i32 {
  return tile * TILE_LOGITS + (32 * piece + lane) * pieceLogits(dtype)
}

/**
 * Device: `width` neighbouring logits of a row, 1, 2 or a piece, in f32; −∞ where there are none: what is outside is not
 * read, so logits behind any id may be asked for.
 */
export function loadNeighbours(logits: Logits, V: number, first: i32, width: number): f32[] {
  const row = logits as In<number, string>
  const outside = f32(Number.NEGATIVE_INFINITY)
  if (V % width === 0) {
    const values = load(row, [Math.min(first, V - width)], width)
    return values.map((value) => (first < V ? f32(value) : outside))
  }
  return each(width, (i) => {
    const value = f32(row.at(Math.min(first + i, V - 1)))
    return first + i < V ? value : outside
  })
}

/** Device: a piece as words, 16-bit logits two to a word; −∞ behind the row's end. */
export function loadPiece(logits: Logits, V: number, first: i32): u32[] {
  const { dtype } = logits
  const row = logits as In<number, string>
  const width = pieceLogits(dtype)
  if (V % width === 0) {
    const words = loadWords(row, [Math.min(first, V - width)], 4)
    return words.map((word) => (first < V ? word : u32(OUTSIDE[width / 4 - 1]!)))
  }
  const element = (i: number) =>
    first + i < V ? row.at(Math.min(first + i, V - 1)) : to(dtype, f32(Number.NEGATIVE_INFINITY))
  return each(4, (i) =>
    dtype === 'f32' ? u32.bits(element(i)) : u32.bits(pack2(element(2 * i), element(2 * i + 1))),
  )
}

/** Device: the logits in words, in their own type. */
export const wordLogits = (words: readonly u32[], dtype: DType): number[] =>
  words.flatMap((word): number[] => (dtype === 'f32' ? [f32.bits(word)] : unpack2(f16x2.bits(word))))

/**
 * Device: reads the calling lane's group of a tile into registers, as words: 16-bit logits take half as many. What lies
 * behind the row's end is what `groupValues` makes −∞.
 */
export function loadGroupWords(words: u32[], logits: Logits, V: number, tile: i32): void {
  const { dtype } = logits
  const row = logits as In<number, string>
  const width = pieceLogits(dtype)
  for (const piece of unroll(groupPieces(dtype))) {
    const first = pieceStart(dtype, tile, laneIdx, piece)
    const element = (i: number) => row.at(Math.min(first + i, V - 1))
    const loaded =
      V % width === 0
        ? loadWords(row, [Math.min(first, V - width)], 4)
        : each(4, (i) =>
            dtype === 'f32' ? u32.bits(element(i)) : u32.bits(pack2(element(2 * i), element(2 * i + 1))),
          )
    for (const i of unroll(4)) words[4 * piece + i] = loaded[i]!
  }
}

/** Registers for a group's words. */
export const groupWords = (dtype: DType): u32[] => regs(4 * groupPieces(dtype), u32(0))

/** Device: the logits in a group's words, ids rising, in their own type; −∞ behind the row's end. */
export function groupValues(words: u32[], dtype: DType, V: number, tile: i32): number[] {
  if ((tile + 1) * TILE_LOGITS > V) {
    for (const piece of unroll(groupPieces(dtype))) {
      for (const i of unroll(4)) {
        const perWord = pieceLogits(dtype) / 4
        const first = pieceStart(dtype, tile, laneIdx, piece) + perWord * i
        const own = words[4 * piece + i]!
        words[4 * piece + i] =
          first + perWord <= V ? own : first < V ? (own & 0xffff) | 0xfc000000 : u32(OUTSIDE[perWord - 1]!)
      }
    }
  }
  return wordLogits(words, dtype)
}

/**
 * Device: makes those logits of a group −∞ whose bits (of `loadGroupBits`) are not set, in its words and in the row, and
 * stores no piece of which all stay.
 */
export function maskGroup(
  words: u32[],
  halves: readonly u32[],
  logits: InOut<number, string>,
  V: number,
  tile: i32,
): void {
  const { dtype } = logits
  const width = pieceLogits(dtype)
  const perWord = width / 4
  for (const piece of unroll(groupPieces(dtype))) {
    const place = piece * width
    const bits = (halves[Math.floor(place / 32)]! >>> (place % 32)) & (2 ** width - 1)
    const first = pieceStart(dtype, tile, laneIdx, piece)
    if (bits !== 2 ** width - 1 && first < V) {
      for (const i of unroll(4)) {
        const own = words[4 * piece + i]!
        const outside = u32(OUTSIDE[perWord - 1]!)
        const kept =
          perWord === 1 ? ones(bits, i) : (ones(bits, 2 * i) & 0xffff) | (ones(bits, 2 * i + 1) & 0xffff0000)
        words[4 * piece + i] = (own & kept) | (outside & ~kept)
      }
      if (V % width === 0) storeWords(logits, [first], words.slice(4 * piece, 4 * piece + 4))
      else
        for (const i of unroll(width))
          if (first + i < V && ((bits >>> i) & 1) === 0)
            logits.put(to(dtype, f32(Number.NEGATIVE_INFINITY)), first + i)
    }
  }
}

/** Device: all ones where a bit is set, else 0. */
const ones = (bits: u32, bit: number): u32 => (((bits >>> bit) & 1) === 1 ? u32(0xffffffff) : u32(0))

/** −∞ as f32, and twice as f16. */
const OUTSIDE = [0xff800000, 0xfc00fc00]

/** Device: calls `use` for the logits of the calling lane's group of a tile, ids rising, `together` pieces loaded at a time. */
export function eachOfGroup(
  logits: Logits,
  V: number,
  tile: i32,
  together: number,
  use: (logit: f32) => void,
): void {
  const width = pieceLogits(logits.dtype)
  for (const first of range(0, groupPieces(logits.dtype), together)) {
    const pieces = each(together, (i) =>
      loadNeighbours(logits, V, pieceStart(logits.dtype, tile, laneIdx, first + i), width),
    )
    for (const logit of pieces.flat()) use(logit)
  }
}

/** Device: sixty-four bits of the calling lane's group from a row of `bitWordsOf` words, as two words in the order of ids. */
export function loadGroupBits(
  words: { at(...index: i32[]): number },
  slot: i32,
  dtype: DType,
  tile: i32,
): u32[] {
  const width = pieceLogits(dtype)
  const pieces = each(groupPieces(dtype), (piece) => {
    // A piece's bits lie in one word.
    const first = (32 * piece + laneIdx) * width
    const word = words.at(slot, tile * (TILE_LOGITS / 32) + (first >> 5))
    return (word >>> (first & 31)) & (2 ** width - 1)
  })
  const perWord = 32 / width
  return [0, perWord].map((start) =>
    pieces.slice(start, start + perWord).reduce((bits, piece, i) => bits | (piece << (width * i))),
  )
}

/** Device: the id of a bit of `loadGroupBits`. */
export function idOfGroupBit(dtype: DType, tile: i32, half: i32, bit: i32): i32 {
  const width = pieceLogits(dtype)
  const piece = half * (32 / width) + idiv(bit, width)
  return pieceStart(dtype, tile, laneIdx, piece) + (bit & (width - 1))
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
