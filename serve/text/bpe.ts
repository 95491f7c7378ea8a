/** The merge table of a byte-pair encoding. */
export interface Merges {
  readonly vocabSize: number
  /** The rank of the merge of two adjacent tokens by `left * vocabSize + right`; lower ranks go first. */
  readonly ranks: ReadonlyMap<number, number>
  /** The token that a merge gives, by rank. */
  readonly results: Int32Array
}

const positions = 2 ** 32

/**
 * Merges adjacent tokens of one piece until no merge applies: always the one of lowest rank, the leftmost of equals.
 * A linked list holds the tokens and a heap the candidate pairs, so a piece of n bytes costs O(n log n), however long.
 */
export function mergePiece(initial: ArrayLike<number>, merges: Merges): number[] {
  const { ranks, results, vocabSize } = merges
  const length = initial.length
  const token = Int32Array.from(initial)
  const next = Int32Array.from(initial, (_, i) => i + 1)
  const previous = Int32Array.from(initial, (_, i) => i - 1)
  const candidates = new MinHeap()

  const rankAt = (position: number): number | undefined => {
    const after = next[position]!
    return after < length ? ranks.get(token[position]! * vocabSize + token[after]!) : undefined
  }
  const consider = (position: number): void => {
    const rank = rankAt(position)
    // Rank and position in one number: ranks stay below 2^21, as vocabularies do.
    if (rank !== undefined) candidates.push(rank * positions + position)
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
