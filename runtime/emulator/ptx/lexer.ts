/** One token of PTX text. Words keep their dots (`ld.global.v4.u32`, `%tid.x`) and double colons (`.L2::128B`). */
export interface Token {
  readonly kind: 'word' | 'number' | 'string' | 'punctuation' | 'end'
  readonly text: string
  readonly line: number
  /** Position in the text, where the token starts and ends. */
  readonly start: number
  readonly end: number
}

/** Classes of ASCII characters; others count as punctuation. */
const blank = 1
const digit = 2
const letter = 4
/** Letters, and what else a word may contain: digits, `.`, `%`, `$`, `_`. */
const inWord = 8

const classes = new Uint8Array(128)
for (const character of ' \t\r') classes[character.charCodeAt(0)] = blank
for (let code = 48; code < 58; code++) classes[code] = digit | inWord
for (let code = 65; code < 91; code++) {
  classes[code] = letter | inWord
  classes[code + 32] = letter | inWord
}
for (const character of '.%$_') classes[character.charCodeAt(0)] = letter | inWord

const newline = 10
const quote = 34
const star = 42
const minus = 45
const plus = 43
const dot = 46
const slash = 47
const colon = 58
const backslash = 92

/** Splits PTX text into tokens; the last one is of kind `end`. */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = []
  const { length } = text
  let line = 1
  let at = 0
  const classOf = (position: number): number => {
    const code = text.charCodeAt(position)
    return code < 128 ? classes[code]! : 0
  }
  const push = (kind: Token['kind'], end: number): void => {
    tokens.push({ kind, text: text.slice(at, end), line, start: at, end })
    at = end
  }
  while (at < length) {
    const code = text.charCodeAt(at)
    const found = code < 128 ? classes[code]! : 0
    if (found === blank) at++
    else if (code === newline) {
      line++
      at++
    } else if (code === slash && text.charCodeAt(at + 1) === slash) {
      const end = text.indexOf('\n', at)
      at = end < 0 ? length : end
    } else if (code === slash && text.charCodeAt(at + 1) === star) {
      const end = text.indexOf('*/', at + 2)
      const after = end < 0 ? length : end + 2
      for (let i = at; i < after; i++) if (text.charCodeAt(i) === newline) line++
      at = after
    } else if (found & letter) {
      let end = at + 1
      while (end < length) {
        if (classOf(end) & inWord) end++
        else if (text.charCodeAt(end) === colon && text.charCodeAt(end + 1) === colon) end += 2
        else break
      }
      push('word', end)
    } else if (found & digit) push('number', numberEnd(text, at))
    else if (code === quote) {
      let end = at + 1
      while (end < length && text.charCodeAt(end) !== quote) end += text.charCodeAt(end) === backslash ? 2 : 1
      push('string', end + 1)
    } else push('punctuation', at + 1)
  }
  tokens.push({ kind: 'end', text: 'the end of the text', line, start: length, end: length })
  return tokens
}

/** Behind a number: `0x…`, `0f…` and `0d…` with hexadecimal digits, decimal ones with a fraction and an exponent. */
function numberEnd(text: string, start: number): number {
  let end = start + 1
  const isWordAt = (position: number): boolean => {
    const code = text.charCodeAt(position)
    return code < 128 && (classes[code]! & inWord) !== 0 && code !== dot
  }
  while (isWordAt(end)) end++
  if (text.charCodeAt(end) !== dot) return end
  end++
  while (isWordAt(end)) end++
  const sign = text.charCodeAt(end)
  if (/[eE]/.test(text[end - 1]!) && (sign === minus || sign === plus)) {
    end++
    while (isWordAt(end)) end++
  }
  return end
}
