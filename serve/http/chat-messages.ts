import type { ChatMessage } from '../text/chat-template.ts'
import type { Message } from './schemas/chat.ts'

/** Messages as chat templates read them: contents as one text, `developer` by its older name, arguments as values. */
export function templateMessages(messages: readonly Message[]): ChatMessage[] {
  return messages.map((message) => {
    const content = textOf(message.content)
    if (message.role === 'tool') return { role: 'tool', content, tool_call_id: message.tool_call_id }
    const name = message.name == null ? {} : { name: message.name }
    if (message.role !== 'assistant' || !message.tool_calls?.length)
      return { role: message.role === 'developer' ? 'system' : message.role, content, ...name }
    const calls = message.tool_calls.map((call) => ({
      ...call,
      function: { name: call.function.name, arguments: parsedArguments(call.function.arguments) },
    }))
    return { role: 'assistant', content, ...name, tool_calls: calls }
  })
}

function textOf(content: Message['content']): string {
  if (content == null) return ''
  return typeof content === 'string' ? content : content.map(({ text }) => text).join('')
}

/** Templates write arguments as JSON themselves; those that are none stay a text. */
function parsedArguments(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return json
  }
}
