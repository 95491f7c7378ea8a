import { FirstCharacters, overlap } from './first-characters.ts'
import {
  type CodeRange,
  choice,
  empty,
  type Grammar,
  type GrammarRules,
  intersection,
  sequence,
} from './grammar.ts'
import { utf8Ranges } from './utf8-ranges.ts'

/** Choices within choices that are written within each other. */
const deepest = 24

/** A grammar in the notation of XGrammar: `root ::= …`, a line for each rule. */
export function printGrammar(grammar: GrammarRules): string {
  return new Printer(grammar).print()
}

/**
 * XGrammar 0.1.27 makes one automaton of a rule, and where a character may lead to several places it joins some that are not
 * the same: `[b] [x] | [a-b] [x] [x] | [a-b] [x] [x] [x]` then has texts of any length. What a character does not decide is
 * written as rules of their own, which end with a rule of the empty text, so that they stay so.
 */
class Printer {
  readonly #grammar: GrammarRules
  readonly #first: FirstCharacters
  readonly #lines: string[] = []
  #apart = 0
  #depth = 0

  constructor(grammar: GrammarRules) {
    this.#grammar = grammar
    this.#first = new FirstCharacters(grammar.rules)
  }

  print(): string {
    const { root, rules } = this.#grammar
    this.#lines.push(`root ::= ${this.#print(root)}`)
    for (const [name, grammar] of rules) this.#lines.push(`${name} ::= ${this.#print(grammar)}`)
    if (this.#apart > 0) this.#lines.push('end ::= ""')
    return `${this.#lines.join('\n')}\n`
  }

  #print(grammar: Grammar): string {
    switch (grammar.kind) {
      case 'text':
        return `"${Array.from(grammar.text, (character) => escaped(character.codePointAt(0)!)).join('')}"`
      case 'class':
        return printClass(grammar.ranges)
      case 'sequence':
        return this.#printSequence(grammar.parts)
      case 'choice':
        return this.#printChoice(grammar.options)
      case 'repeat':
        return this.#printRepeat(grammar, [])
      case 'rule':
        return grammar.name
    }
  }

  #printSequence(parts: readonly Grammar[]): string {
    if (parts.length === 0) return '""'
    const printed = parts.map((part, i) => {
      if (part.kind === 'repeat') return this.#printRepeat(part, parts.slice(i + 1))
      const first = this.#first.of(part)
      const mayBeSkipped = first.nullable && overlap(first, this.#first.ofSequence(parts.slice(i + 1)))
      return part.kind === 'choice' && mayBeSkipped ? this.#keepApart(part) : this.#print(part)
    })
    return `(${printed.join(' ')})`
  }

  #printChoice(given: readonly Grammar[]): string {
    const options = factored(given)
    if (this.#depth >= deepest) return this.#keepApart(choice(...options))
    this.#depth++
    const firsts = options.map((option) => this.#first.of(option))
    const printed = options.map((option, i) =>
      firsts.every((other, j) => i === j || !overlap(firsts[i]!, other))
        ? this.#print(option)
        : this.#keepApart(option),
    )
    this.#depth--
    return `(${printed.join(' | ')})`
  }

  #printRepeat(
    { part, least, most }: Extract<Grammar, { kind: 'repeat' }>,
    behind: readonly Grammar[],
  ): string {
    const next = this.#first.ofSequence(behind)
    const isCharacter = part.kind === 'class' || (part.kind === 'text' && part.text.length === 1)
    const isDecided = isCharacter || !(next.nullable || overlap(this.#first.of(part), next))
    const printed = isDecided ? this.#print(part) : this.#keepApart(part)
    return (part.kind === 'repeat' ? `(${printed})` : printed) + printCount(least, most)
  }

  #keepApart(grammar: Grammar): string {
    const name = `apart${this.#apart++}`
    const depth = this.#depth
    this.#depth = 0
    this.#lines.push(`${name} ::= ${this.#print(grammar)} end`)
    this.#depth = depth
    return name
  }
}

/** Options that begin with the same text as one that begins with it. */
function factored(options: readonly Grammar[]): readonly Grammar[] {
  const whole: Grammar[] = []
  const byFirst = new Map<string, { head: string; tail: Grammar }[]>()
  for (const option of options) {
    const parts = option.kind === 'sequence' ? option.parts : [option]
    const [head, ...tail] = parts
    if (head?.kind !== 'text') {
      whole.push(option)
      continue
    }
    const first = String.fromCodePoint(head.text.codePointAt(0)!)
    const group = byFirst.get(first) ?? []
    group.push({ head: head.text, tail: sequence(...tail) })
    byFirst.set(first, group)
  }
  if (whole.filter((option) => option === empty).length > 1) whole.splice(whole.indexOf(empty), 1)
  for (const group of byFirst.values()) {
    const common = commonBeginning(group.map(({ head }) => head))
    const rests = group.map(({ head, tail }) => sequence(head.slice(common.length), tail))
    whole.push(sequence(common, choice(...factored(rests))))
  }
  return whole
}

/** The longest beginning of all texts that ends with a whole character. */
function commonBeginning([first, ...others]: readonly string[]): string {
  let common = Array.from(first!)
  for (const other of others) {
    const characters = Array.from(other)
    const end = common.findIndex((character, i) => character !== characters[i])
    if (end >= 0) common = common.slice(0, end)
  }
  return common.join('')
}

/** A class of ASCII; what is beyond is written as the bytes of UTF-8, as which XGrammar 0.1.27 takes it. */
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
