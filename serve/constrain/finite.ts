import { choice, type Grammar, type GrammarRules, isNever, never, repeat, sequence } from './grammar.ts'

/**
 * The same texts, by a grammar in which every beginning can be ended. What never ends, such as an object that must hold
 * another of its own kind, is left out, so that nobody is led into it.
 */
export function finiteGrammar({ root, rules, counts = [] }: GrammarRules): GrammarRules {
  const ending = endingRules(rules)
  const prune = (grammar: Grammar): Grammar => {
    switch (grammar.kind) {
      case 'sequence':
        return sequence(...grammar.parts.map(prune))
      case 'choice':
        return choice(...grammar.options.map(prune))
      case 'repeat':
        return repeat(prune(grammar.part), grammar.least, grammar.most)
      case 'rule':
        return ending.has(grammar.name) ? grammar : never
      default:
        return grammar
    }
  }
  const pruned = new Map<string, Grammar>()
  for (const name of ending) pruned.set(name, prune(rules.get(name)!))
  const newRoot = prune(root)
  return { root: newRoot, rules: reachable(newRoot, pruned), counts }
}

/** Names of the rules that have a text. */
function endingRules(rules: ReadonlyMap<string, Grammar>): ReadonlySet<string> {
  const ending = new Set<string>()
  const ends = (grammar: Grammar): boolean => {
    switch (grammar.kind) {
      case 'sequence':
        return grammar.parts.every(ends)
      case 'choice':
        return grammar.options.some(ends)
      case 'repeat':
        return grammar.least === 0 || ends(grammar.part)
      case 'rule':
        return ending.has(grammar.name)
      default:
        return !isNever(grammar)
    }
  }
  // Rules that are made of others come before them, so that going backwards few rounds are needed.
  const order = [...rules].reverse()
  for (let before = -1; before !== ending.size; ) {
    before = ending.size
    for (const [name, grammar] of order) if (!ending.has(name) && ends(grammar)) ending.add(name)
  }
  return ending
}

function reachable(root: Grammar, rules: ReadonlyMap<string, Grammar>): ReadonlyMap<string, Grammar> {
  const found = new Map<string, Grammar>()
  const waiting = [root]
  for (let grammar = waiting.pop(); grammar; grammar = waiting.pop()) {
    if (grammar.kind === 'sequence') waiting.push(...grammar.parts)
    else if (grammar.kind === 'choice') waiting.push(...grammar.options)
    else if (grammar.kind === 'repeat') waiting.push(grammar.part)
    else if (grammar.kind === 'rule' && !found.has(grammar.name)) {
      const meant = rules.get(grammar.name)!
      found.set(grammar.name, meant)
      waiting.push(meant)
    }
  }
  return found
}
