import type { ConstraintSpec } from '../constrain/constraint-spec.ts'
import type { ToolFormatName } from '../text/tools/tool-format.ts'
import { HttpError } from './errors.ts'
import type { ChatRequest } from './schemas/chat.ts'
import type { CompletionRequest } from './schemas/completion.ts'

type ConstraintBody = Pick<
  CompletionRequest,
  'response_format' | 'guided_json' | 'guided_regex' | 'guided_choice' | 'structured_outputs' | 'ignore_eos'
>

/** What a request wants its texts to be. Throws `HttpError` when it wants two things. */
export function textConstraint(body: ConstraintBody): ConstraintSpec | undefined {
  const wanted = [...formatOf(body), ...guidesOf(body)]
  if (wanted.length > 1)
    throw new HttpError(
      400,
      `${wanted[0]!.field} and ${wanted[1]!.field} both say what the text is; send one`,
      {
        param: wanted[1]!.field,
      },
    )
  const [one] = wanted
  if (one && body.ignore_eos) throw endlessError()
  return one?.spec
}

/** What a conversation's answer is to be: calls of tools where they have to be called, and otherwise what it says. */
export function chatConstraint(
  body: ChatRequest,
  format: ToolFormatName | undefined,
): ConstraintSpec | undefined {
  const text = textConstraint(body)
  const forced = forcedTools(body)
  if (format === undefined || (forced === undefined && text === undefined)) return text
  if (body.ignore_eos) throw endlessError()
  const tools = (forced ?? body.tools!).map(({ function: { name, parameters } }) => ({
    name,
    ...(parameters ? { parameters } : {}),
  }))
  const named = typeof body.tool_choice === 'object'
  const several = !named && body.parallel_tool_calls !== false
  const calls: ConstraintSpec = { kind: 'calls', format, tools, several }
  return forced || text === undefined ? calls : { kind: 'either', options: [calls, text] }
}

/** The tools of which one has to be called. */
function forcedTools({ tools, tool_choice: choice }: ChatRequest): ChatRequest['tools'] | undefined {
  if (choice == null || choice === 'none' || choice === 'auto') return undefined
  if (!tools?.length)
    throw new HttpError(400, 'there are no tools to call; send tools', { param: 'tool_choice' })
  if (choice === 'required') return tools
  const { name } = choice.function
  const found = tools.filter((tool) => tool.function.name === name)
  if (found.length > 0) return found
  throw new HttpError(400, `there is no tool ${JSON.stringify(name)}; tools has those that there are`, {
    param: 'tool_choice',
  })
}

interface Wanted {
  readonly field: string
  readonly spec: ConstraintSpec
}

function formatOf({ response_format: format }: ConstraintBody): Wanted[] {
  const field = 'response_format'
  if (format == null || format.type === 'text') return []
  if (format.type === 'json_object') return [{ field, spec: { kind: 'json' } }]
  // A schema that is not there allows everything.
  return [{ field, spec: { kind: 'schema', schema: format.json_schema.schema ?? true } }]
}

function guidesOf(body: ConstraintBody): Wanted[] {
  const { structured_outputs: outputs } = body
  const wanted: Wanted[] = []
  const add = (prefix: string, values: Guides) => {
    const { json, regex, choice, json_object: object } = values
    if (json != null) wanted.push({ field: `${prefix}json`, spec: schemaSpec(`${prefix}json`, json) })
    if (regex != null) wanted.push({ field: `${prefix}regex`, spec: { kind: 'regex', pattern: regex } })
    if (choice != null) wanted.push({ field: `${prefix}choice`, spec: { kind: 'choice', options: choice } })
    if (object) wanted.push({ field: `${prefix}json_object`, spec: { kind: 'json' } })
  }
  add('guided_', { json: body.guided_json, regex: body.guided_regex, choice: body.guided_choice })
  if (outputs) {
    add('structured_outputs.', outputs)
    if (wanted.length === 0)
      throw new HttpError(400, 'structured_outputs has none of json, regex, choice and json_object', {
        param: 'structured_outputs',
      })
  }
  return wanted
}

type Guides = NonNullable<ConstraintBody['structured_outputs']>

function schemaSpec(field: string, json: unknown): ConstraintSpec {
  if (typeof json !== 'string') return { kind: 'schema', schema: json }
  try {
    return { kind: 'schema', schema: JSON.parse(json) }
  } catch (error) {
    throw new HttpError(400, `${field} is no JSON: ${(error as Error).message.slice(0, 200)}`, {
      param: field,
    })
  }
}

const endlessError = (): HttpError =>
  new HttpError(400, 'a text that has to follow something ends with it; leave ignore_eos out', {
    param: 'ignore_eos',
  })
