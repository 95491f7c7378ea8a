import { mergePiece } from './bpe.ts'
import type { Merges } from './merges.ts'

/** Appends the tokens of a piece that nothing cuts any more. */
export type PieceEncoder = (dst: number[], piece: string) => void

/** Pieces up to this length are remembered with their tokens; longer ones hardly ever come back. */
const longestCached = 64
const mostCached = 1 << 16

/**
 * Byte-pair encoding that remembers pieces. `symbolsOf` gives the tokens that merging starts from, `wholeOf` the token
 * that a piece is without any merging, where there is one.
 */
export function createPieceEncoder(
  symbolsOf: (piece: string) => ArrayLike<number>,
  merges: Merges,
  wholeOf: (piece: string) => number | undefined = () => undefined,
): PieceEncoder {
  const encode = (piece: string): readonly number[] => {
    const whole = wholeOf(piece)
    return whole === undefined ? mergePiece(symbolsOf(piece), merges) : [whole]
  }
  const cache = new Map<string, readonly number[]>()
  return (dst, piece) => {
    let ids = cache.get(piece)
    if (ids === undefined) {
      ids = encode(piece)
      if (piece.length <= longestCached) {
        if (cache.size >= mostCached) cache.clear()
        cache.set(piece, ids)
      }
    }
    for (let i = 0; i < ids.length; i++) dst.push(ids[i]!)
  }
}
