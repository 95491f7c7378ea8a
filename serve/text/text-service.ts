import type { ChatMessage, ChatTemplate } from './chat-template.ts'
import { TextError } from './error.ts'
import type { Tokenizer } from './tokenizer.ts'

/** Texts and conversations to token ids. Both reject with `TextError` for what the model cannot take. */
export interface TextService {
  /** The ids of a text; `addSpecial` adds what the model wants around every text. */
  encodeText(text: string, addSpecial: boolean): Promise<ArrayLike<number>>
  /** The ids of a conversation, the opening of the assistant's turn at its end. */
  encodeChat(
    messages: readonly ChatMessage[],
    tools: readonly unknown[] | undefined,
  ): Promise<ArrayLike<number>>
  close(): Promise<void>
}

/** Does it in this thread. */
export function localTextService(tokenizer: Tokenizer, chatTemplate: ChatTemplate | undefined): TextService {
  return {
    encodeText: async (text, addSpecial) => tokenizer.encode(text, { addSpecial }),
    encodeChat: async (messages, tools) => {
      if (chatTemplate === undefined)
        throw new TextError('the model has no chat template; send a text to complete')
      return tokenizer.encode(chatTemplate.render(messages, tools ? { tools } : {}), { addSpecial: false })
    },
    close: async () => {},
  }
}
