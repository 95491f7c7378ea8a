import { ConstraintError } from './error.ts'
import { finiteGrammar } from './finite.ts'
import { type Grammar, type GrammarRules, isNever, type StringCount } from './grammar.ts'
import { countedString, jsonRules, markOf, mostMarks } from './json-text.ts'

/** A grammar that is being made: the rules of JSON, and what else is added. */
export class GrammarDraft {
  readonly rules = new Map<string, Grammar>(Object.entries(jsonRules))
  readonly #counts: StringCount[] = []

  /** A string of a length that is counted. Throws `ConstraintError` for too many lengths. */
  countedString(least: number, most: number): Grammar {
    let count = this.#counts.find((one) => one.least === least && one.most === most)
    if (count === undefined) {
      if (this.#counts.length === mostMarks)
        throw new ConstraintError(`strings have more than ${mostMarks} different lengths; use fewer`)
      count = { least, most, mark: markOf(this.#counts.length) }
      this.#counts.push(count)
    }
    return countedString(count.mark)
  }

  /** The grammar, without what never ends. Throws `ConstraintError` when nothing is left. */
  finish(root: Grammar): GrammarRules {
    const finite = finiteGrammar({ root, rules: this.rules, counts: this.#counts })
    if (isNever(finite.root)) throw new ConstraintError('no value that ends is allowed; allow one')
    return finite
  }
}
