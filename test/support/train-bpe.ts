/** A byte-pair vocabulary learnt from texts. */
export interface TrainedBpe {
  /** Characters of the texts, then what merges make. */
  readonly entries: readonly string[]
  readonly merges: readonly (readonly [string, string])[]
}

/**
 * Learns merges within the given pieces: over and over the pair that stands side by side most often, the first in the
 * order of texts among equals.
 */
export function trainBpe(pieces: Iterable<string>, count: number): TrainedBpe {
  const counts = new Map<string, number>()
  for (const piece of pieces) counts.set(piece, (counts.get(piece) ?? 0) + 1)
  const words = [...counts].map(([piece, times]) => ({ symbols: Array.from(piece), times }))
  const entries = new Set(words.flatMap(({ symbols }) => symbols))
  const merges: [string, string][] = []
  while (merges.length < count) {
    const pairs = new Map<string, number>()
    for (const { symbols, times } of words)
      for (let i = 0; i + 1 < symbols.length; i++) {
        const pair = `${symbols[i]}\0${symbols[i + 1]}`
        pairs.set(pair, (pairs.get(pair) ?? 0) + times)
      }
    let best = ''
    for (const [pair, times] of pairs) if (times > (pairs.get(best) ?? 1)) best = pair
    if (best === '') break
    const [left, right] = best.split('\0') as [string, string]
    merges.push([left, right])
    entries.add(left + right)
    for (const word of words) word.symbols = joinPairs(word.symbols, left, right)
  }
  return { entries: [...entries], merges }
}

function joinPairs(symbols: readonly string[], left: string, right: string): string[] {
  const joined: string[] = []
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      joined.push(left + right)
      i++
    } else joined.push(symbols[i]!)
  }
  return joined
}
