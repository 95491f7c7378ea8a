import type { ToolFormatName } from '../text/tools/tool-format.ts'
import { ConstraintError } from './error.ts'
import { choice, type Grammar, repeat, sequence } from './grammar.ts'
import type { GrammarDraft } from './grammar-draft.ts'
import { readSchema } from './json-schema.ts'

/** A tool that may be called. */
export interface CallableTool {
  readonly name: string
  /** JSON Schema of its arguments; without it, it has none. */
  readonly parameters?: unknown
}

/** How the calls of a family look: what is around all of them and around each, and what stands between. */
interface CallShape {
  readonly before: string
  readonly after: string
  readonly call: (name: string, values: Grammar) => Grammar
  readonly between: string
}

const object = (key: string) => (name: string, values: Grammar) =>
  sequence(`{"name": ${JSON.stringify(name)}, "${key}": `, values, '}')

const shapes: Readonly<Record<ToolFormatName, CallShape>> = {
  llama3: { before: '', after: '', call: object('parameters'), between: '; ' },
  qwen: {
    before: '',
    after: '',
    call: (name, values) => sequence('<tool_call>\n', object('arguments')(name, values), '\n</tool_call>'),
    between: '\n',
  },
  mistral: { before: '[TOOL_CALLS][', after: ']', call: object('arguments'), between: ', ' },
}

/** Calls of tools with the arguments that their schemas allow. Throws `ConstraintError`. */
export function callsGrammar(
  format: ToolFormatName,
  tools: readonly CallableTool[],
  several: boolean,
  draft: GrammarDraft,
): Grammar {
  const { before, after, call, between } = shapes[format]
  const calls = tools.map(({ name, parameters }, i) => {
    try {
      return call(name, readSchema(parameters ?? { type: 'object', properties: {} }, draft, `t${i}`))
    } catch (error) {
      if (error instanceof ConstraintError) throw new ConstraintError(`the tool ${name}: ${error.message}`)
      throw error
    }
  })
  const one = choice(...calls)
  return sequence(before, several ? sequence(one, repeat(sequence(between, one), 0)) : one, after)
}
