import { type CodeRange, type Grammar, type GrammarRules, intersection } from './grammar.ts'
import { utf8Ranges } from './utf8-ranges.ts'

/** A grammar in the notation of XGrammar: `root ::= …`, a line for each rule. */
export function printGrammar({ root, rules }: GrammarRules): string {
  const lines = [`root ::= ${print(root)}`]
  for (const [name, grammar] of rules) lines.push(`${name} ::= ${print(grammar)}`)
  return `${lines.join('\n')}\n`
}

function print(grammar: Grammar): string {
  switch (grammar.kind) {
    case 'text':
      return `"${Array.from(grammar.text, (character) => escaped(character.codePointAt(0)!)).join('')}"`
    case 'class':
      return printClass(grammar.ranges)
    case 'sequence':
      return grammar.parts.length === 0 ? '""' : `(${grammar.parts.map(print).join(' ')})`
    case 'choice':
      return `(${grammar.options.map(print).join(' | ')})`
    case 'repeat':
      return printRepeated(grammar.part) + printCount(grammar.least, grammar.most)
    case 'rule':
      return grammar.name
  }
}

const printRepeated = (part: Grammar): string => (part.kind === 'repeat' ? `(${print(part)})` : print(part))

/**
 * XGrammar 0.1.27 takes what is above U+007F in a class for single bytes, and lets bytes that are no UTF-8 pass as
 * characters other than some; so all of this is written as the bytes that it is.
 */
function printClass(ranges: readonly CodeRange[]): string {
  const ascii = intersection(ranges, [[0, 0x7f]])
  const beyond = utf8Ranges(intersection(ranges, [[0x80, 0x10ffff]]))
  const options = [
    ...(ascii.length > 0 ? [`[${ascii.map(printRange).join('')}]`] : []),
    ...beyond.map((bytes) => `(${bytes.map(printByte).join(' ')})`),
  ]
  return options.length === 1 ? options[0]! : `(${options.join(' | ')})`
}

/** A class of one character would be read as that character, so that it is written twice. */
const printByte = ([low, high]: CodeRange): string =>
  low === high ? `[${escaped(low)}${escaped(low)}]` : `[${escaped(low)}-${escaped(high)}]`

const printRange = ([low, high]: CodeRange): string =>
  low === high ? escaped(low) : `${escaped(low)}-${escaped(high)}`

function printCount(least: number, most: number | undefined): string {
  if (most === undefined) return least === 0 ? '*' : least === 1 ? '+' : `{${least},}`
  return least === 0 && most === 1 ? '?' : `{${least},${most}}`
}

/** Letters, digits and spaces as they are; all else by its number, so that nothing has a meaning. */
function escaped(code: number): string {
  const character = String.fromCodePoint(code)
  if (/[A-Za-z0-9 ]/.test(character)) return character
  return code < 0x10000
    ? `\\u${code.toString(16).padStart(4, '0')}`
    : `\\U${code.toString(16).padStart(8, '0')}`
}
