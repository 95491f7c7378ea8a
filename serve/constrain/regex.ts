import { ConstraintError } from './error.ts'
import {
  anyCharacter,
  type CodeRange,
  choice,
  complement,
  type Grammar,
  repeat,
  sequence,
  sortedRanges,
  text,
} from './grammar.ts'

const longestPattern = 8192
const deepestGroups = 50
const mostRepeats = 10_000
/** Repetitions within repetitions, multiplied. */
const mostNested = 100_000

const digits: readonly CodeRange[] = [[0x30, 0x39]]
const wordCharacters: readonly CodeRange[] = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
]
const spaces = sortedRanges([
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
])
const lineEnds: readonly CodeRange[] = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
]
const classes: Readonly<Record<string, readonly CodeRange[]>> = {
  d: digits,
  D: complement(digits),
  w: wordCharacters,
  W: complement(wordCharacters),
  s: spaces,
  S: complement(spaces),
}
const controls: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, 0: 0 }

export interface RegexOptions {
  /** The pattern is looked for anywhere, unless `^` and `$` say where; otherwise it is the whole text. */
  readonly search?: boolean
}

/**
 * The texts that a regular expression of ECMAScript matches, but for what looks around or back, which no grammar can say.
 * Throws `ConstraintError` with the place of what is wrong.
 */
export function regexGrammar(pattern: string, { search = false }: RegexOptions = {}): Grammar {
  return new RegexReader(pattern, search).read()
}

class RegexReader {
  readonly #pattern: string
  readonly #characters: readonly string[]
  readonly #search: boolean
  #at = 0
  #depth = 0

  constructor(pattern: string, search: boolean) {
    this.#pattern = pattern
    this.#characters = Array.from(pattern)
    this.#search = search
    if (pattern.length > longestPattern)
      throw new ConstraintError(
        `a regular expression of ${pattern.length} characters is too long; ${longestPattern} may be`,
      )
  }

  read(): Grammar {
    const { grammar } = this.#readChoice()
    if (this.#at < this.#characters.length) this.#fail('there is a ")" that nothing opens')
    return grammar
  }

  /** Alternatives up to a `)` or the end, and how often the longest repetition in them repeats. */
  #readChoice(): { grammar: Grammar; nested: number } {
    if (++this.#depth > deepestGroups) this.#fail(`groups are more than ${deepestGroups} deep`)
    const options: Grammar[] = []
    let nested = 1
    do {
      const option = this.#readSequence()
      options.push(option.grammar)
      nested = Math.max(nested, option.nested)
    } while (this.#accept('|'))
    this.#depth--
    return { grammar: choice(...options), nested }
  }

  #readSequence(): { grammar: Grammar; nested: number } {
    const parts: Grammar[] = []
    const outer = this.#depth === 1
    const anywhere = repeat({ kind: 'class', ranges: anyCharacter }, 0)
    let nested = 1
    if (this.#accept('^')) {
      if (!outer) this.#fail('"^" may stand at the beginning only')
    } else if (outer && this.#search) parts.push(anywhere)
    for (;;) {
      const character = this.#characters[this.#at]
      if (character === undefined || character === '|' || character === ')') {
        if (outer && this.#search) parts.push(anywhere)
        break
      }
      if (character === '$') {
        this.#at++
        const next = this.#characters[this.#at]
        if (!outer || (next !== undefined && next !== '|')) this.#fail('"$" may stand at the end only')
        break
      }
      const part = this.#readRepeated()
      parts.push(part.grammar)
      nested = Math.max(nested, part.nested)
    }
    return { grammar: sequence(...parts), nested }
  }

  #readRepeated(): { grammar: Grammar; nested: number } {
    const { grammar, nested } = this.#readAtom()
    const count = this.#readCount()
    if (count === undefined) return { grammar, nested }
    const { least, most } = count
    if (most !== undefined && most < least)
      this.#fail(`{${least},${most}} has its numbers the wrong way round`)
    if (Math.max(least, most ?? 0) > mostRepeats)
      this.#fail(`nothing may be repeated more than ${mostRepeats} times`)
    const product = nested * Math.max(1, least, most ?? 1)
    if (product > mostNested) this.#fail('repetitions within repetitions come to too much')
    if (this.#readCount() !== undefined) this.#fail('nothing stands before a repetition')
    return { grammar: repeat(grammar, least, most), nested: product }
  }

  /** A quantifier. Whether it is lazy makes no difference to what is matched. */
  #readCount(): { least: number; most: number | undefined } | undefined {
    const start = this.#at
    let count: { least: number; most: number | undefined } | undefined
    if (this.#accept('*')) count = { least: 0, most: undefined }
    else if (this.#accept('+')) count = { least: 1, most: undefined }
    else if (this.#accept('?')) count = { least: 0, most: 1 }
    else if (this.#accept('{')) {
      const least = this.#readNumber()
      const open = this.#accept(',')
      const most = open ? this.#readNumber() : least
      if (least === undefined || !this.#accept('}')) {
        // As in ECMAScript without the flag u, a brace that counts nothing is a brace.
        this.#at = start
        return undefined
      }
      count = { least, most }
    }
    if (count) this.#accept('?')
    return count
  }

  #readNumber(): number | undefined {
    let written = ''
    while (/^\d$/.test(this.#characters[this.#at] ?? '') && written.length < 10)
      written += this.#characters[this.#at++]
    return written === '' ? undefined : Number(written)
  }

  #readAtom(): { grammar: Grammar; nested: number } {
    const character = this.#characters[this.#at++]!
    const one = (grammar: Grammar) => ({ grammar, nested: 1 })
    switch (character) {
      case '(':
        return this.#readGroup()
      case '[':
        return one({ kind: 'class', ranges: this.#readClass() })
      case '.':
        return one({ kind: 'class', ranges: complement(lineEnds) })
      case '\\':
        return one(this.#readEscape())
      case '*':
      case '+':
      case '?':
        this.#at--
        return this.#fail('nothing stands before a repetition')
      case '^':
        this.#at--
        return this.#fail('"^" may stand at the beginning only')
      default:
        return one(text(character))
    }
  }

  #readGroup(): { grammar: Grammar; nested: number } {
    if (this.#accept('?')) {
      if (this.#accept('<')) {
        if (['=', '!'].includes(this.#characters[this.#at] ?? '')) this.#fail('looking back is not supported')
        while (this.#at < this.#characters.length && this.#characters[this.#at] !== '>') this.#at++
        if (!this.#accept('>')) this.#fail("the group's name has no end")
      } else if (!this.#accept(':')) this.#fail('looking ahead, and flags in groups, are not supported')
    }
    const inner = this.#readChoice()
    if (!this.#accept(')')) this.#fail('a group has no ")"')
    return inner
  }

  #readEscape(): Grammar {
    const character = this.#characters[this.#at++]
    if (character === undefined) return this.#fail('a "\\" stands at the end')
    if (/[1-9k]/.test(character)) return this.#fail('references to groups are not supported')
    if (/[bB]/.test(character)) return this.#fail('borders of words are not supported')
    if (/[pP]/.test(character)) return this.#fail('properties of characters are not supported')
    const ranges = classes[character]
    if (ranges) return { kind: 'class', ranges }
    return text(String.fromCodePoint(this.#escapedCode(character)))
  }

  #escapedCode(character: string): number {
    const control = controls[character]
    if (control !== undefined) return control
    if (character === 'x') return this.#readHex(2)
    if (character === 'c') {
      const letter = this.#characters[this.#at++] ?? ''
      if (!/^[A-Za-z]$/.test(letter)) this.#fail('"\\c" is followed by no letter')
      return letter.charCodeAt(0) % 32
    }
    if (character === 'u') {
      if (!this.#accept('{')) return this.#joinSurrogates(this.#readHex(4))
      let written = ''
      while (/^[\da-fA-F]$/.test(this.#characters[this.#at] ?? '')) written += this.#characters[this.#at++]
      const code = Number.parseInt(written, 16)
      if (!this.#accept('}') || !(code <= 0x10ffff)) this.#fail('"\\u{" is followed by no code point')
      return this.#whole(code)
    }
    if (/^[A-Za-z\d]$/.test(character)) return this.#fail(`"\\${character}" means nothing`)
    return character.codePointAt(0)!
  }

  /** Two escapes that are one character. */
  #joinSurrogates(high: number): number {
    if (high < 0xd800 || high > 0xdbff) return this.#whole(high)
    if (this.#accept('\\') && this.#accept('u')) {
      const low = this.#readHex(4)
      if (low >= 0xdc00 && low <= 0xdfff) return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
    }
    return this.#whole(high)
  }

  #whole(code: number): number {
    return code >= 0xd800 && code <= 0xdfff ? this.#fail('half a surrogate pair is no character') : code
  }

  #readHex(length: number): number {
    const written = this.#characters.slice(this.#at, this.#at + length).join('')
    if (!/^[\da-fA-F]+$/.test(written) || written.length < length)
      this.#fail(`an escape wants ${length} hexadecimal digits`)
    this.#at += length
    return Number.parseInt(written, 16)
  }

  #readClass(): readonly CodeRange[] {
    const negated = this.#accept('^')
    const ranges: CodeRange[] = []
    for (;;) {
      const character = this.#characters[this.#at]
      if (character === undefined) this.#fail('a "[" has no "]"')
      if (this.#accept(']')) break
      const low = this.#readClassAtom()
      if (this.#characters[this.#at] !== '-' || this.#characters[this.#at + 1] === ']') {
        ranges.push(...low)
        continue
      }
      this.#at++
      if (this.#at >= this.#characters.length) this.#fail('a "[" has no "]"')
      const high = this.#readClassAtom()
      if (low.length !== 1 || high.length !== 1 || low[0]![0] !== low[0]![1] || high[0]![0] !== high[0]![1])
        this.#fail('a range has a class at one of its ends')
      if (low[0]![0] > high[0]![0]) this.#fail('a range goes backwards')
      ranges.push([low[0]![0], high[0]![0]])
    }
    const sorted = sortedRanges(ranges)
    return negated ? complement(sorted) : sorted
  }

  #readClassAtom(): readonly CodeRange[] {
    const character = this.#characters[this.#at++]!
    if (character !== '\\') return [[character.codePointAt(0)!, character.codePointAt(0)!]]
    const escaped = this.#characters[this.#at++]
    if (escaped === undefined) return this.#fail('a "\\" stands at the end')
    if (/[pP]/.test(escaped)) return this.#fail('properties of characters are not supported')
    const ranges = classes[escaped]
    if (ranges) return ranges
    const code = escaped === 'b' ? 8 : this.#escapedCode(escaped)
    return [[code, code]]
  }

  #accept(character: string): boolean {
    if (this.#characters[this.#at] !== character) return false
    this.#at++
    return true
  }

  #fail(what: string): never {
    const shown = this.#pattern.length > 60 ? `${this.#pattern.slice(0, 60)}…` : this.#pattern
    throw new ConstraintError(
      `the regular expression ${JSON.stringify(shown)} cannot be followed: at character ${this.#at}, ${what}`,
    )
  }
}
