import {
  type CodeRange,
  choice,
  type Grammar,
  intersection,
  oneOf,
  optional,
  repeat,
  rule,
  sequence,
  text,
} from './grammar.ts'

/** Digits of a number, before and behind the point, at most; a double tells so many apart. */
export const mostDigits = 15
/** Spaces of a new line. Without an end models may write white space for ever. */
const mostIndent = 64

export const digit = oneOf(['0', '9'])

/** What may stand between the tokens of JSON: nothing, a space, or a new line that is indented. */
const space: Grammar = choice('', ' ', sequence('\n', repeat(' ', 0, mostIndent)))

/** Characters that stand for themselves in a string. */
export const plainCharacters: readonly CodeRange[] = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0xd7ff],
  [0xe000, 0x10ffff],
]

const hex = oneOf(['0', '9'], ['a', 'f'], ['A', 'F'])
/** Four digits that are no half of a surrogate pair, so that every escape is a character. */
const codeUnit = choice(
  sequence(oneOf(['0', '9'], ['a', 'c'], 'e', 'f', ['A', 'C'], 'E', 'F'), repeat(hex, 3, 3)),
  sequence(oneOf('d', 'D'), oneOf(['0', '7']), repeat(hex, 2, 2)),
)
const shortEscape = oneOf('"', '\\', '/', 'b', 'f', 'n', 'r', 't')

/** Runs of plain ASCII apart from what else may stand in a string: what XGrammar is quick with. */
function stringOf(escaped: Grammar): Grammar {
  const run = repeat({ kind: 'class', ranges: intersection(plainCharacters, [[0, 0x7f]]) }, 0)
  const beyond: Grammar = { kind: 'class', ranges: intersection(plainCharacters, [[0x80, 0x10ffff]]) }
  return sequence('"', run, repeat(sequence(choice(sequence('\\', escaped), beyond), run), 0), '"')
}

/**
 * Escapes that tell strings apart whose lengths are counted, by what may stand in them: in such a string only its own mark,
 * in other strings all of them. They are of characters that mean nothing.
 */
export const mostMarks = 256
export const markOf = (count: number): string => `\\ue${count.toString(16).padStart(3, '0')}`
/** The mark of strings that are not counted. */
export const plainMark = markOf(mostMarks)

/** Strings with one of the marks that count; other characters are not escaped by their numbers in them. */
export const countedString = (mark: string): Grammar => stringOf(choice(shortEscape, mark.slice(1)))

const naturalNumber = choice('0', sequence(oneOf(['1', '9']), repeat(digit, 0, mostDigits - 1)))
const integer = sequence(optional('-'), naturalNumber)
const number = sequence(
  integer,
  optional(sequence('.', repeat(digit, 1, mostDigits))),
  optional(sequence(oneOf('e', 'E'), optional(oneOf('+', '-')), repeat(digit, 1, 2))),
)

/** What follows an element and comes before the next. */
export const comma: Grammar = sequence(rule('space'), ',', rule('space'))

/** Rules that the grammars of JSON share. */
export const jsonRules = {
  space,
  string: stringOf(choice(shortEscape, sequence('u', codeUnit))),
  integer,
  number,
  value: choice(...['string', 'number', 'object', 'array'].map(rule), ...['true', 'false', 'null'].map(text)),
  object: sequence('{', rule('space'), optional(listOf(rule('member'))), '}'),
  member: pair(rule('string'), rule('value')),
  array: sequence('[', rule('space'), optional(listOf(rule('value'))), ']'),
} satisfies Record<string, Grammar>

export type JsonRule = keyof typeof jsonRules

/** The rule of a kind of value. */
export const json = (name: JsonRule): Grammar => rule(name)

/** A key and its value. */
export function pair(key: Grammar | string, value: Grammar): Grammar {
  return sequence(key, rule('space'), ':', rule('space'), value)
}

/** One or more, with commas between, and what may follow the last. */
function listOf(element: Grammar): Grammar {
  return sequence(element, repeat(sequence(comma, element), 0), rule('space'))
}

/** The texts of a grammar as strings of JSON write them, without the quotes. */
export function inString(grammar: Grammar): Grammar {
  switch (grammar.kind) {
    case 'text':
      return text(JSON.stringify(grammar.text).slice(1, -1))
    case 'class': {
      const kept = intersection(grammar.ranges, plainCharacters)
      const others = escapedCodes.filter((code) =>
        grammar.ranges.some(([low, high]) => low <= code && code <= high),
      )
      return choice(
        { kind: 'class', ranges: kept },
        ...others.map((code) => JSON.stringify(String.fromCharCode(code)).slice(1, -1)),
      )
    }
    case 'sequence':
      return sequence(...grammar.parts.map(inString))
    case 'choice':
      return choice(...grammar.options.map(inString))
    case 'repeat':
      return repeat(inString(grammar.part), grammar.least, grammar.most)
    case 'rule':
      return grammar
  }
}

/** What cannot stand in a string as it is. */
const escapedCodes = [...Array.from({ length: 32 }, (_, code) => code), 0x22, 0x5c]
