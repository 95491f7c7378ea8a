import { randomInt } from 'node:crypto'
import type { ToolEvent } from '../text/tools/tool-events.ts'
import type { ToolFormat } from '../text/tools/tool-format.ts'
import { ToolParser } from '../text/tools/tool-parser.ts'
import type { ChatToolCall } from './schemas/chat.ts'

/** A part of an assistant's message, as streams carry it. */
export interface MessageDelta {
  readonly role?: 'assistant'
  readonly content?: string
  readonly tool_calls?: readonly ({ readonly index: number } & Partial<Pick<ChatToolCall, 'id' | 'type'>> & {
      readonly function: Partial<ChatToolCall['function']>
    })[]
}

/** One choice's message as it is written: text, and calls of tools where the request has some. */
export class AssistantTurn {
  readonly #parser: ToolParser | undefined
  #text = ''
  readonly #calls: { id: string; name: string; arguments: string }[] = []

  constructor(tools: { readonly format: ToolFormat; readonly names: readonly string[] } | undefined) {
    this.#parser = tools && new ToolParser(tools.format, tools.names)
  }

  /** What more text adds to the message. */
  push(text: string): MessageDelta[] {
    return this.#add(this.#parser ? this.#parser.push(text) : [{ type: 'text', text }])
  }

  /** What the end of the text adds. */
  end(): MessageDelta[] {
    return this.#add(this.#parser?.end() ?? [])
  }

  get called(): boolean {
    return this.#calls.length > 0
  }

  /** The message so far. */
  get message(): { role: 'assistant'; content: string | null; refusal: null; tool_calls?: ChatToolCall[] } {
    const calls = this.#calls.map(
      ({ id, name, arguments: text }): ChatToolCall => ({
        id,
        type: 'function',
        function: { name, arguments: text },
      }),
    )
    const content = this.called && this.#text === '' ? null : this.#text
    return { role: 'assistant', content, refusal: null, ...(this.called ? { tool_calls: calls } : {}) }
  }

  #add(events: readonly ToolEvent[]): MessageDelta[] {
    return events.flatMap((event) => this.#addOne(event))
  }

  #addOne(event: ToolEvent): MessageDelta[] {
    switch (event.type) {
      case 'text':
        if (event.text === '') return []
        this.#text += event.text
        return [{ content: event.text }]
      case 'call': {
        const { index, name } = event
        const id = callId()
        this.#calls[index] = { id, name, arguments: '' }
        return [{ tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] }]
      }
      case 'arguments': {
        const { index, text } = event
        this.#calls[index]!.arguments += text
        return [{ tool_calls: [{ index, function: { arguments: text } }] }]
      }
    }
  }
}

const idCharacters = '0123456789abcdefghijklmnopqrstuvwxyz'

/** Nine letters and digits, which is all that Mistral's templates take. */
const callId = (): string =>
  Array.from({ length: 9 }, () => idCharacters[randomInt(idCharacters.length)]).join('')
