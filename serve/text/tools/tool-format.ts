/** How the models of a family write calls of tools. */
export interface ToolFormat {
  readonly name: ToolFormatName
  /**
   * What opens a call or a list of calls. Where it is a special token of a tokenizer, the parser has to see it
   * (`Detokenizer`'s `shown`).
   */
  readonly opening: string
  /** An object that begins a message is a call too, when it names a tool. */
  readonly bare: boolean
  /** The opening may be followed by a name and the object of its arguments, instead of one object with both. */
  readonly named: boolean
  /** The object after the opening may stand in a list. */
  readonly list: boolean
  /** What may stand between a call and the next, or its closing. */
  readonly between: RegExp
  /** Another object between is another call. */
  readonly repeats: boolean
  /** What closes a call, or the list. */
  readonly closing: string | undefined
}

export type ToolFormatName = 'llama3' | 'qwen' | 'mistral'

export const toolFormats: Readonly<Record<ToolFormatName, ToolFormat>> = {
  /** Llama 3.1 and later: `<|python_tag|>{"name": …, "parameters": …}`, or the object alone; several with `;` between. */
  llama3: {
    name: 'llama3',
    opening: '<|python_tag|>',
    bare: true,
    named: false,
    list: false,
    between: /[\s;]/,
    repeats: true,
    closing: undefined,
  },
  /** Qwen 2.5 and 3, as Hermes: `<tool_call>{"name": …, "arguments": …}</tool_call>`, one after the other. */
  qwen: {
    name: 'qwen',
    opening: '<tool_call>',
    bare: false,
    named: false,
    list: false,
    between: /\s/,
    repeats: false,
    closing: '</tool_call>',
  },
  /**
   * Mistral: `[TOOL_CALLS][{"name": …, "arguments": …}, …]`, and since its eleventh tokenizer `[TOOL_CALLS]NAME[ARGS]{…}`,
   * with or without `[ARGS]`, one after the other.
   */
  mistral: {
    name: 'mistral',
    opening: '[TOOL_CALLS]',
    bare: false,
    named: true,
    list: true,
    between: /[\s,]/,
    repeats: true,
    closing: ']',
  },
}

/** The format that a chat template speaks of; `undefined` when it knows no tools of these kinds. */
export function toolFormatOf(templateSource: string): ToolFormat | undefined {
  if (templateSource.includes('[TOOL_CALLS]')) return toolFormats.mistral
  if (templateSource.includes('<tool_call>')) return toolFormats.qwen
  // The templates of Llama 3.2 and 3.3 explain the object to the model and never write the tag.
  return /<\|python_tag\|>|"parameters":/.test(templateSource) ? toolFormats.llama3 : undefined
}
