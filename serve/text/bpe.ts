import type { Merges } from './merges.ts'

/** Up to so many tokens, looking at every pair for each merge is quicker than keeping a heap of them. */
const longestScan = 32
const scanned = { tokens: new Int32Array(longestScan), ranks: new Int32Array(longestScan) }

const none = -1

/**
 * Merges adjacent tokens of one piece until no merge applies: always the one of lowest rank, the leftmost of equals.
 * A piece of n tokens costs O(n log n), however long.
 */
export function mergePiece(initial: ArrayLike<number>, merges: Merges): number[] {
  return initial.length <= longestScan ? mergeByScan(initial, merges) : mergeByHeap(initial, merges)
}

function mergeByScan(initial: ArrayLike<number>, merges: Merges): number[] {
  const { tokens, ranks } = scanned
  let length = initial.length
  for (let i = 0; i < length; i++) tokens[i] = initial[i]!
  for (let i = 0; i + 1 < length; i++) ranks[i] = merges.rankOf(tokens[i]!, tokens[i + 1]!)
  for (;;) {
    let best = none
    for (let i = 0; i + 1 < length; i++)
      if (ranks[i] !== none && (best === none || ranks[i]! < ranks[best]!)) best = i
    if (best === none) return Array.from(tokens.subarray(0, length))
    tokens[best] = merges.results[ranks[best]!]!
    length--
    for (let i = best + 1; i < length; i++) {
      tokens[i] = tokens[i + 1]!
      ranks[i] = ranks[i + 1]!
    }
    if (best > 0) ranks[best - 1] = merges.rankOf(tokens[best - 1]!, tokens[best]!)
    if (best + 1 < length) ranks[best] = merges.rankOf(tokens[best]!, tokens[best + 1]!)
  }
}

const positions = 2 ** 32

/** A linked list holds the tokens and a heap the candidate pairs. */
function mergeByHeap(initial: ArrayLike<number>, merges: Merges): number[] {
  const { results } = merges
  const length = initial.length
  const token = Int32Array.from(initial)
  const next = Int32Array.from(initial, (_, i) => i + 1)
  const previous = Int32Array.from(initial, (_, i) => i - 1)
  const candidates = new MinHeap()

  const rankAt = (position: number): number => {
    const after = next[position]!
    return after < length ? merges.rankOf(token[position]!, token[after]!) : none
  }
  const consider = (position: number): void => {
    const rank = rankAt(position)
    // Rank and position in one number: ranks stay below 2^21, as vocabularies do.
    if (rank !== none) candidates.push(rank * positions + position)
  }

  for (let position = 0; position + 1 < length; position++) consider(position)
  for (let candidate = candidates.pop(); candidate !== undefined; candidate = candidates.pop()) {
    const position = candidate % positions
    const rank = (candidate - position) / positions
    // Its neighbourhood may have changed since it was pushed; a token that was merged away is -1.
    if (token[position] === -1 || rankAt(position) !== rank) continue
    const after = next[position]!
    token[position] = results[rank]!
    token[after] = -1
    next[position] = next[after]!
    if (next[after]! < length) previous[next[after]!] = position
    consider(position)
    if (previous[position]! >= 0) consider(previous[position]!)
  }

  const merged: number[] = []
  for (let position = 0; position < length; position = next[position]!) merged.push(token[position]!)
  return merged
}

class MinHeap {
  readonly #items: number[] = []

  push(item: number): void {
    const items = this.#items
    let hole = items.length
    items.push(item)
    while (hole > 0) {
      const parent = (hole - 1) >>> 1
      if (items[parent]! <= item) break
      items[hole] = items[parent]!
      hole = parent
    }
    items[hole] = item
  }

  pop(): number | undefined {
    const items = this.#items
    const least = items[0]
    const item = items.pop()
    if (item === undefined || items.length === 0) return least
    let hole = 0
    for (let child = 1; child < items.length; child = 2 * hole + 1) {
      if (child + 1 < items.length && items[child + 1]! < items[child]!) child++
      if (items[child]! >= item) break
      items[hole] = items[child]!
      hole = child
    }
    items[hole] = item
    return least
  }
}
