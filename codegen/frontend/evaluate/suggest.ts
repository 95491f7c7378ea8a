/** Edits that turn one word into another, up to a few. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1]!.toLowerCase() === b[j - 1]!.toLowerCase() ? 0 : 1)
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}

/** `did you mean 'x'?` for the nearest of the names, if one is near. */
export function suggestion(name: string, names: Iterable<string>): string | undefined {
  const limit = Math.max(1, Math.floor(name.length / 3))
  let best: string | undefined
  let least = limit + 1
  for (const candidate of names) {
    const d = distance(name, candidate)
    if (d < least && candidate !== name) {
      least = d
      best = candidate
    }
  }
  return best === undefined ? undefined : `did you mean '${best}'?`
}
