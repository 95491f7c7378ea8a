const asciiClasses = 128
const other = asciiClasses + 1
const classes = other + 1

/**
 * Cuts a text where no merge can reach across: between two characters that no entry of `merged` (what the merges make)
 * holds side by side. The tokens of the parts are then the tokens of the whole, and short parts come back often enough
 * to be remembered, as whole texts do not. Characters beyond ASCII and `▁` count as one.
 *
 *   entries that start with ▁ alone      ▁the▁fox, ▁2024   becomes   ▁the  ▁fox  ,  ▁  2  0  2  4
 */
export function createSeamCutter(merged: Iterable<string>): (text: string) => string[] {
  const bridged = new Uint8Array(classes * classes)
  // A surrogate pair is one character, cut by nothing.
  bridged[other * classes + other] = 1
  for (const entry of merged)
    for (let i = 1; i < entry.length; i++)
      bridged[classOf(entry.charCodeAt(i - 1)) * classes + classOf(entry.charCodeAt(i))] = 1

  return (text) => {
    const parts: string[] = []
    let start = 0
    let left = classOf(text.charCodeAt(0))
    for (let i = 1; i < text.length; i++) {
      const right = classOf(text.charCodeAt(i))
      if (bridged[left * classes + right] === 0) {
        parts.push(text.slice(start, i))
        start = i
      }
      left = right
    }
    if (start < text.length) parts.push(text.slice(start))
    return parts
  }
}

function classOf(unit: number): number {
  if (unit < asciiClasses) return unit
  return unit === 0x2581 ? asciiClasses : other
}
