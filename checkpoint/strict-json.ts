/**
 * Parses JSON and refuses what `JSON.parse` forgives: bytes that are not UTF-8 and repeated keys, of which it would
 * silently keep the last. Throws `SyntaxError` with a short reason.
 */
export function parseStrictJson(bytes: Uint8Array): unknown {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new SyntaxError('it is not UTF-8')
  }
  const value: unknown = JSON.parse(text)
  const repeated = repeatedKey(text)
  if (repeated !== undefined) throw new SyntaxError(`${JSON.stringify(repeated)} is there twice`)
  return value
}

/** The first key that occurs twice in one object of a well-formed JSON text. */
function repeatedKey(text: string): string | undefined {
  const keysOfOpenObjects: (Set<string> | undefined)[] = []
  // In well-formed JSON a string is a key exactly when a colon follows it.
  for (const [token, colon] of text.matchAll(/[{}[\]]|"(?:[^"\\]|\\.)*"(\s*:)?/g)) {
    if (token === '{') keysOfOpenObjects.push(new Set())
    else if (token === '[') keysOfOpenObjects.push(undefined)
    else if (token === '}' || token === ']') keysOfOpenObjects.pop()
    else if (colon !== undefined) {
      const key = JSON.parse(token.slice(0, token.length - colon.length)) as string
      const keys = keysOfOpenObjects.at(-1)!
      if (keys.has(key)) return key
      keys.add(key)
    }
  }
  return undefined
}
