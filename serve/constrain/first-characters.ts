import { type CodeRange, type Grammar, intersection, sortedRanges } from './grammar.ts'

/** What texts begin with. */
export interface First {
  readonly ranges: readonly CodeRange[]
  /** Whether the empty text is one of them. */
  readonly nullable: boolean
}

/** Finds out what the texts of grammars begin with. */
export class FirstCharacters {
  readonly #rules: ReadonlyMap<string, Grammar>
  readonly #known = new Map<string, First>()

  constructor(rules: ReadonlyMap<string, Grammar>) {
    this.#rules = rules
  }

  of(grammar: Grammar): First {
    switch (grammar.kind) {
      case 'text': {
        const code = grammar.text.codePointAt(0)!
        return { ranges: [[code, code]], nullable: false }
      }
      case 'class':
        return { ranges: grammar.ranges, nullable: false }
      case 'sequence':
        return this.ofSequence(grammar.parts)
      case 'choice': {
        const firsts = grammar.options.map((option) => this.of(option))
        return {
          ranges: sortedRanges(firsts.flatMap(({ ranges }) => ranges)),
          nullable: firsts.some(({ nullable }) => nullable),
        }
      }
      case 'repeat': {
        const { ranges, nullable } = this.of(grammar.part)
        return { ranges, nullable: nullable || grammar.least === 0 }
      }
      case 'rule':
        return this.#ofRule(grammar.name)
    }
  }

  ofSequence(parts: readonly Grammar[]): First {
    const ranges: CodeRange[] = []
    for (const part of parts) {
      const first = this.of(part)
      ranges.push(...first.ranges)
      if (!first.nullable) return { ranges: sortedRanges(ranges), nullable: false }
    }
    return { ranges: sortedRanges(ranges), nullable: true }
  }

  #ofRule(name: string): First {
    let first = this.#known.get(name)
    if (first === undefined) {
      // A rule that begins with itself adds nothing to what it begins with.
      this.#known.set(name, { ranges: [], nullable: false })
      first = this.of(this.#rules.get(name)!)
      this.#known.set(name, first)
    }
    return first
  }
}

/** Whether two sets of texts may begin with the same character, so that one character does not tell which it is. */
export const overlap = (a: First, b: First): boolean => intersection(a.ranges, b.ranges).length > 0
