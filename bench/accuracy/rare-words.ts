/**
 * A text with its rarest words, about that share of all, replaced by `<unk>`, as WikiText-2 has it for words that its
 * training text has less than three times. A calibration text that is marked alike shows the quantizer what a sixth of the
 * tokens of WikiText-2 are, which a model that was trained on plain text has never seen.
 */
export function markRareWords(text: string, share: number): string {
  const counts = new Map<string, number>()
  const words = text.match(word) ?? []
  for (const each of words) counts.set(each, (counts.get(each) ?? 0) + 1)
  const byCount = new Map<number, number>()
  for (const count of counts.values()) byCount.set(count, (byCount.get(count) ?? 0) + count)
  // All words of a count are replaced, or none, so the share is met as nearly as counts allow.
  let [limit, replaced] = [0, 0]
  for (const [count, total] of [...byCount].sort(([a], [b]) => a - b)) {
    if (Math.abs(replaced + total - share * words.length) > Math.abs(replaced - share * words.length)) break
    limit = count
    replaced += total
  }
  return text.replace(word, (each) => (counts.get(each)! <= limit ? '<unk>' : each))
}

/** Letters between spaces: numbers and signs are never rare. */
const word = /(?<=^|\s)\p{L}[\p{L}\p{M}.'-]*(?=\s|$)/gu
