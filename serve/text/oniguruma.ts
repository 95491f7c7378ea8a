import { TextError } from './error.ts'

/**
 * Compiles a regular expression in the dialect of `tokenizer.json` (Oniguruma) to a JavaScript one, flags `gu`.
 *
 * The dialects differ in silence: `\s` and `\d` have other members, `(?i:…)` is unknown to Node 20, classes nest. What
 * differs is rewritten; what cannot be, is refused, so that no text is ever split in a wrong place.
 *
 *   (?i:'s)|\s+   becomes   (?:'[sS])|\p{White_Space}+
 */
export function compilePattern(path: string, source: string): RegExp {
  const refuse = (fault: string): never => {
    throw new TextError(
      `${path}: the pattern ${source} cannot be used: ${fault}; report it with the model's name`,
    )
  }
  let out = ''
  let inClass = false
  /** Whether letters match both cases, for each open group. */
  const folding = [false]
  for (let i = 0; i < source.length; ) {
    const rest = source.slice(i)
    const character = source[i]!
    if (character === '\\') {
      const property = /^\\[pP]\{[^}]*\}/.exec(rest)
      const escaped = property ? property[0] : rest.slice(0, 2)
      out += property ? escaped : rewriteEscape(escaped, inClass, refuse)
      i += escaped.length
    } else if (inClass) {
      if (character === '[' || rest.startsWith('&&')) refuse('it has a set operation')
      if (character === ']') inClass = false
      else if (folding.at(-1) && /[a-z]/i.test(character)) refuse('it has a class inside (?i:…)')
      out += character
      i++
    } else if (character === '(') {
      const opening = /^\((?:\?(?::|=|!|<=|<!|i:))?/.exec(rest)![0]
      if (opening === '(' && rest[1] === '?') refuse(`it has ${rest.slice(0, 3)}`)
      folding.push(opening === '(?i:' || folding.at(-1)!)
      out += opening === '(?i:' ? '(?:' : opening
      i += opening.length
    } else {
      if (character === '[') inClass = true
      if (character === ')') folding.pop()
      if (character === '^' || character === '$') refuse('it has a line anchor')
      out += character === '.' ? '[^\\n]' : folding.at(-1) ? bothCases(character) : character
      i++
    }
  }
  try {
    return new RegExp(out, 'gu')
  } catch (error) {
    return refuse((error as Error).message)
  }
}

/** Oniguruma's classes are Unicode's: `\s` has U+0085 and lacks U+FEFF, unlike JavaScript's. */
function rewriteEscape(escaped: string, inClass: boolean, refuse: (fault: string) => never): string {
  switch (escaped[1]) {
    case 's':
      return '\\p{White_Space}'
    case 'S':
      return '\\P{White_Space}'
    case 'd':
      return '\\p{Nd}'
    case 'D':
      return '\\P{Nd}'
    case 'w':
      return inClass ? '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}' : '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]'
    case 'b':
    case 'B':
      return refuse('it has a word boundary')
    case 'n':
    case 'r':
    case 't':
    case 'f':
    case 'v':
      return escaped
    default:
      // An escaped letter or digit means something else here or nothing at all; an escaped sign means itself.
      if (escaped.length < 2 || /[\p{L}\p{N}]/u.test(escaped[1]!)) return refuse(`it has ${escaped}`)
      return /[\^$\\.*+?()[\]{}|/]/.test(escaped[1]!) || (inClass && escaped[1] === '-')
        ? escaped
        : escaped[1]!
  }
}

function bothCases(character: string): string {
  return /[a-z]/i.test(character) ? `[${character.toLowerCase()}${character.toUpperCase()}]` : character
}
