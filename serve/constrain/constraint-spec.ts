import type { ToolFormatName } from '../text/tools/tool-format.ts'
import { ConstraintError } from './error.ts'
import { choice, type Grammar, type GrammarRules } from './grammar.ts'
import { GrammarDraft } from './grammar-draft.ts'
import { readSchema } from './json-schema.ts'
import { json } from './json-text.ts'
import { regexGrammar } from './regex.ts'
import { type CallableTool, callsGrammar } from './tool-calls.ts'

/** What a text is to be. It is plain JSON, so that threads and caches can have it. */
export type ConstraintSpec =
  /** Any object. */
  | { readonly kind: 'json' }
  /** What a JSON Schema allows. */
  | { readonly kind: 'schema'; readonly schema: unknown }
  /** What a regular expression matches as a whole. */
  | { readonly kind: 'regex'; readonly pattern: string }
  | { readonly kind: 'choice'; readonly options: readonly string[] }
  /** A call of one of the tools, or of several one after the other, as models of a family write them. */
  | {
      readonly kind: 'calls'
      readonly format: ToolFormatName
      readonly tools: readonly CallableTool[]
      readonly several: boolean
    }
  /** Calls of tools, or else an answer. */
  | { readonly kind: 'either'; readonly options: readonly ConstraintSpec[] }

/** Whether the special tokens that open calls of tools may come. */
export const hasCalls = (spec: ConstraintSpec): boolean => spec.kind === 'calls' || spec.kind === 'either'

/** The texts that a constraint allows. Throws `ConstraintError`. */
export function grammarOf(spec: ConstraintSpec): GrammarRules {
  const draft = new GrammarDraft()
  return draft.finish(rootOf(spec, draft))
}

function rootOf(spec: ConstraintSpec, draft: GrammarDraft): Grammar {
  switch (spec.kind) {
    case 'json':
      return json('object')
    case 'schema':
      return readSchema(spec.schema, draft, 's')
    case 'regex':
      return regexGrammar(spec.pattern)
    case 'choice':
      if (spec.options.includes('')) throw new ConstraintError('an empty text is no choice; leave it out')
      return choice(...spec.options)
    case 'calls':
      return callsGrammar(spec.format, spec.tools, spec.several, draft)
    case 'either':
      return choice(...spec.options.map((option) => rootOf(option, draft)))
  }
}
