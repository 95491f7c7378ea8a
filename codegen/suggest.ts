/** The name that `name` was most likely meant to be: the nearest of `known`, within a third of its letters, rounded up. */
export function suggest(name: string, known: Iterable<string>): string | undefined {
  let best: string | undefined
  let least = Math.ceil(name.length / 3) + 1
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance < least && candidate !== name) {
      best = candidate
      least = distance
    }
  }
  return best
}

/** `did you mean 'x'?`, where there is such a name. */
export function suggestion(name: string, known: Iterable<string>): string | undefined {
  const near = suggest(name, known)
  return near === undefined ? undefined : `did you mean '${near}'?`
}

/** Levenshtein distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length]!
}
