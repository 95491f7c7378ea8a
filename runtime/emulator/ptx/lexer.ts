/** One token of PTX text. Words keep their dots (`ld.global.v4.u32`, `%tid.x`) and double colons (`.L2::128B`). */
export interface Token {
  readonly kind: 'word' | 'number' | 'string' | 'punctuation' | 'end'
  readonly text: string
  readonly line: number
  /** Position in the text, where the token starts and ends. */
  readonly start: number
  readonly end: number
}

const pattern =
  /([ \t\r]+|\/\/[^\n]*)|(\n)|(\/\*[\s\S]*?\*\/)|(0[fF][0-9a-fA-F]{8}|0[dD][0-9a-fA-F]{16}|0[xX][0-9a-fA-F]+U?|\d+\.\d+(?:[eE][+-]?\d+)?|\d+U?)|([A-Za-z_$%.](?:[\w$%.]|::(?=\w))*)|("(?:[^"\\]|\\.)*")|(.)/y

/** Splits PTX text into tokens; the last one is of kind `end`. */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = []
  let line = 1
  pattern.lastIndex = 0
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    const [whole, blank, newline, comment, number, word, quoted] = match
    if (newline) line++
    else if (comment) line += comment.split('\n').length - 1
    else if (!blank) {
      const kind = number ? 'number' : word ? 'word' : quoted ? 'string' : 'punctuation'
      tokens.push({ kind, text: whole, line, start: match.index, end: pattern.lastIndex })
    }
    if (pattern.lastIndex === text.length) break
  }
  tokens.push({ kind: 'end', text: 'the end of the text', line, start: text.length, end: text.length })
  return tokens
}
