import type { GenerationConfig } from '../../checkpoint/config.ts'
import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import type { ConstraintService, GrammarVocabulary } from '../constrain/grammar-threads.ts'
import type { InferenceEngine } from '../engine/inference-engine.ts'
import type { ChatTemplate } from '../text/chat-template.ts'
import type { TextService } from '../text/text-service.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import { type ToolFormat, toolFormatOf } from '../text/tools/tool-format.ts'

export interface ServedModelParts {
  /** What clients call it. */
  readonly name: string
  readonly engine: InferenceEngine
  readonly tokenizer: Tokenizer
  /** Makes tokens of prompts. */
  readonly text: TextService
  readonly chatTemplate: ChatTemplate | undefined
  /** Opens what follows grammars, for tokens of this model. */
  readonly openConstraints: (vocabulary: Omit<GrammarVocabulary, 'folder'>) => ConstraintService
  /** Tokens that end a text. */
  readonly endIds: readonly number[]
  /** What the model's authors suggest. */
  readonly suggested: GenerationConfig | undefined
}

/** A model that requests are answered with. */
export class ServedModel {
  readonly name: string
  readonly engine: InferenceEngine
  readonly tokenizer: Tokenizer
  readonly text: TextService
  readonly constraints: ConstraintService
  readonly endIds: readonly number[]
  readonly suggested: GenerationConfig | undefined
  /** Whether it has a chat template. */
  readonly chats: boolean
  readonly toolFormat: ToolFormat | undefined
  /** Special tokens that the reader of tool calls has to see. */
  readonly toolTokens: ReadonlySet<number>
  /** When it began to be served, in seconds since 1970. */
  readonly created = Math.floor(Date.now() / 1000)

  constructor(parts: ServedModelParts) {
    this.name = parts.name
    this.engine = parts.engine
    this.tokenizer = parts.tokenizer
    // A configuration may name tokens that the model does not have, which it will not draw either.
    this.endIds = parts.endIds.filter((id) => id < parts.engine.bounds.vocabSize)
    this.suggested = parts.suggested
    this.text = parts.text
    this.chats = parts.chatTemplate !== undefined
    this.toolFormat = parts.chatTemplate && toolFormatOf(parts.chatTemplate.source)
    this.toolTokens = specialTokensOf(this.toolFormat, parts.tokenizer)
    this.constraints = parts.openConstraints({
      vocabSize: parts.engine.bounds.vocabSize,
      endIds: this.endIds,
      shownIds: [...this.toolTokens],
    })
  }

  /** Ends its engine and its threads. */
  async close(): Promise<void> {
    await Promise.all([this.engine.close(), this.text.close(), this.constraints.close()])
  }

  /** Tokens of one sequence, prompt and output. */
  get context(): number {
    return this.engine.limits.context
  }

  /** Tokens that may follow a prompt of so many; below one, none may. */
  roomAfter(promptTokens: number): number {
    const { context, pages } = this.engine.limits
    // The last token needs no place in the cache.
    return Math.min(context, pages * PAGE_TOKENS + 1) - promptTokens
  }
}

/** What opens calls, and marks of theirs, where they are single special tokens. */
function specialTokensOf(format: ToolFormat | undefined, tokenizer: Tokenizer): ReadonlySet<number> {
  if (format === undefined) return new Set()
  const texts = [format.opening, ...(format.closing ? [format.closing] : []), '[ARGS]', '[CALL_ID]']
  return new Set(texts.flatMap((text) => tokenizer.idOf(text) ?? []).filter((id) => tokenizer.isSpecial(id)))
}
