import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Template } from '@huggingface/jinja'
import { z } from 'zod'
import { readJsonFile } from '../../checkpoint/json-file.ts'
import { DeadlineError, runWithDeadline } from './deadline.ts'
import { TextError } from './error.ts'

/** A message as the OpenAI API has it; templates may read other fields too. */
export interface ChatMessage {
  readonly role: string
  readonly content: unknown
  readonly [field: string]: unknown
}

export interface ChatOptions {
  /** Ends the prompt with the opening of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean
  readonly tools?: readonly unknown[]
}

/** A model's own way to write a conversation as one text. */
export interface ChatTemplate {
  /** Its Jinja source. */
  readonly source: string
  /**
   * The text of a conversation, special tokens spelled out: encode it with `addSpecial: false`. Throws `TextError`
   * with the template's own words when it refuses the conversation, and when it takes too long or writes too much.
   */
  render(messages: readonly ChatMessage[], options?: ChatOptions): string
}

const tokenText = z
  .union([z.string(), z.object({ content: z.string() }).transform((token) => token.content)])
  .nullish()

const schema = z.object({
  bos_token: tokenText,
  eos_token: tokenText,
  chat_template: z
    .union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))])
    .nullish(),
})

/** Far above any real template. */
const maxSourceLength = 1_000_000

/** What rendering a conversation may take. */
export interface TemplateLimits {
  readonly milliseconds: number
  /** Length of the text. */
  readonly characters: number
}

const defaultLimits: TemplateLimits = { milliseconds: 1000, characters: 8_000_000 }

/**
 * Reads the chat template of a checkpoint folder, from `chat_template.jinja` or `tokenizer_config.json`; `undefined`
 * when the model has none. Throws `CheckpointError` or `TextError`.
 */
export function loadChatTemplate(folder: string): ChatTemplate | undefined {
  const path = join(folder, 'tokenizer_config.json')
  if (!existsSync(path)) return undefined
  const parsed = schema.safeParse(readJsonFile(path))
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!
    throw new TextError(`${path}: ${issue.path.join('.')}: ${issue.message}; download the file again`)
  }
  const { bos_token: bosToken, eos_token: eosToken, chat_template: inline } = parsed.data
  const ownPath = join(folder, 'chat_template.jinja')
  const tokens = { bosToken: bosToken ?? '', eosToken: eosToken ?? '' }
  if (existsSync(ownPath)) return createChatTemplate(ownPath, readFileSync(ownPath, 'utf8'), tokens)
  const source = Array.isArray(inline) ? inline.find(({ name }) => name === 'default')?.template : inline
  return source == null ? undefined : createChatTemplate(path, source, tokens)
}

/**
 * A template from its Jinja source; `path` is what errors call it. The interpreter gives the template no access to the
 * host, and the limits stop one that loops; what memory it may take until then is for the thread to bound that it runs in.
 */
export function createChatTemplate(
  path: string,
  source: string,
  tokens: { readonly bosToken: string; readonly eosToken: string },
  limits: TemplateLimits = defaultLimits,
): ChatTemplate {
  if (source.length > maxSourceLength)
    throw new TextError(
      `${path}: a chat template of ${source.length} characters is refused; the file is damaged`,
    )
  let template: Template
  try {
    template = runWithDeadline(limits.milliseconds, () => new Template(source))
  } catch (error) {
    throw new TextError(`${path}: the chat template is not valid Jinja: ${(error as Error).message}`)
  }
  return {
    source,
    render: (messages, { addGenerationPrompt = true, tools } = {}) => {
      const variables = {
        messages,
        tools: tools ?? null,
        add_generation_prompt: addGenerationPrompt,
        bos_token: tokens.bosToken,
        eos_token: tokens.eosToken,
      }
      const text = renderWithin(limits, () => template.render(variables))
      if (text.length <= limits.characters) return text
      throw new TextError(
        `the model's chat template makes ${text.length} characters of these messages, more than ${limits.characters}; ` +
          'shorten them',
      )
    },
  }
}

function renderWithin({ milliseconds }: TemplateLimits, render: () => string): string {
  try {
    return runWithDeadline(milliseconds, render)
  } catch (error) {
    const { message } = error as Error
    if (error instanceof DeadlineError)
      throw new TextError(`the model's chat template ${message} on these messages; shorten them`)
    throw new TextError(`the model's chat template refuses these messages: ${message}`)
  }
}
