/** Code points from `low` to `high`, both included. */
export type CodeRange = readonly [low: number, high: number]

/** A set of texts. */
export type Grammar =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'class'; readonly ranges: readonly CodeRange[] }
  | { readonly kind: 'sequence'; readonly parts: readonly Grammar[] }
  | { readonly kind: 'choice'; readonly options: readonly Grammar[] }
  | {
      readonly kind: 'repeat'
      readonly part: Grammar
      readonly least: number
      readonly most: number | undefined
    }
  | { readonly kind: 'rule'; readonly name: string }

/** A grammar whose parts have names, so that they may hold themselves. */
export interface GrammarRules {
  readonly root: Grammar
  readonly rules: ReadonlyMap<string, Grammar>
  /** Strings whose characters are counted, beside the grammar. */
  readonly counts?: readonly StringCount[]
}

/** How long some strings of a grammar may be, in characters. */
export interface StringCount {
  readonly least: number
  readonly most: number
  /** The character that, of all that mark counts, may stand in these strings alone; nothing else tells them apart. */
  readonly mark: string
}

/** Only the empty text. */
export const empty: Grammar = { kind: 'sequence', parts: [] }
/** No text at all. */
export const never: Grammar = { kind: 'choice', options: [] }

export const isNever = (grammar: Grammar): boolean =>
  (grammar.kind === 'choice' && grammar.options.length === 0) ||
  (grammar.kind === 'class' && grammar.ranges.length === 0)

const isEmpty = (grammar: Grammar): boolean => grammar.kind === 'sequence' && grammar.parts.length === 0

export const text = (value: string): Grammar => (value === '' ? empty : { kind: 'text', text: value })

export const rule = (name: string): Grammar => ({ kind: 'rule', name })

/** One of the characters: single ones, and pairs of a first and a last. */
export const oneOf = (...characters: (string | readonly [string, string])[]): Grammar => ({
  kind: 'class',
  ranges: sortedRanges(
    characters.map((one) => {
      const [low, high] = typeof one === 'string' ? [one, one] : one
      return [low.codePointAt(0)!, high.codePointAt(0)!]
    }),
  ),
})

/** One after the other. Texts stand for themselves. */
export function sequence(...parts: readonly (Grammar | string)[]): Grammar {
  const grammars = parts.flatMap((part) => {
    const grammar = typeof part === 'string' ? text(part) : part
    return grammar.kind === 'sequence' ? grammar.parts : [grammar]
  })
  if (grammars.some(isNever)) return never
  return grammars.length === 1 ? grammars[0]! : { kind: 'sequence', parts: grammars }
}

/** Any one of them. */
export function choice(...options: readonly (Grammar | string)[]): Grammar {
  const grammars = options.flatMap((option) => {
    const grammar = typeof option === 'string' ? text(option) : option
    if (isNever(grammar)) return []
    return grammar.kind === 'choice' ? grammar.options : [grammar]
  })
  return grammars.length === 1 ? grammars[0]! : { kind: 'choice', options: grammars }
}

/** `least` to `most` times; without `most`, as often as it likes. */
export function repeat(part: Grammar | string, least: number, most?: number): Grammar {
  const grammar = typeof part === 'string' ? text(part) : part
  if (most !== undefined && most < least) return never
  if (most === 0 || isEmpty(grammar)) return empty
  if (isNever(grammar)) return least === 0 ? empty : never
  return least === 1 && most === 1 ? grammar : { kind: 'repeat', part: grammar, least, most }
}

export const optional = (part: Grammar | string): Grammar => repeat(part, 0, 1)

/** Ranges in order, without overlaps. */
export function sortedRanges(ranges: readonly CodeRange[]): CodeRange[] {
  const sorted = ranges.filter(([low, high]) => low <= high).toSorted((a, b) => a[0] - b[0])
  const merged: [number, number][] = []
  for (const [low, high] of sorted) {
    const last = merged.at(-1)
    if (last && low <= last[1] + 1) last[1] = Math.max(last[1], high)
    else merged.push([low, high])
  }
  return merged
}

/** All characters: what may stand in UTF-8, which surrogates may not. */
export const anyCharacter: readonly CodeRange[] = [
  [0, 0xd7ff],
  [0xe000, 0x10ffff],
]

export function intersection(a: readonly CodeRange[], b: readonly CodeRange[]): CodeRange[] {
  const both: CodeRange[] = []
  for (const [low, high] of a)
    for (const [otherLow, otherHigh] of b) {
      const from = Math.max(low, otherLow)
      const to = Math.min(high, otherHigh)
      if (from <= to) both.push([from, to])
    }
  return sortedRanges(both)
}

/** All other characters. */
export function complement(ranges: readonly CodeRange[]): CodeRange[] {
  const others: CodeRange[] = []
  let next = 0
  for (const [low, high] of sortedRanges(ranges)) {
    if (low > next) others.push([next, low - 1])
    next = high + 1
  }
  if (next <= 0x10ffff) others.push([next, 0x10ffff])
  return intersection(others, anyCharacter)
}
