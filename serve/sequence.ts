import { PAGE_TOKENS } from '../kernels/formats/kv.ts'

/** How a token is chosen; see `kernels/sample.ts` for what the numbers mean. */
export interface Sampling {
  /** 0 is greedy. */
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly minP: number
  readonly seed: number
}

/** Takes the likeliest token, whatever the seed. */
export const greedy: Sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 }

export interface GenerateRequest {
  readonly prompt: readonly number[]
  readonly maxTokens: number
  readonly sampling: Sampling
  /** Ids that end the sequence; they are not part of its output. */
  readonly stopIds: readonly number[]
}

export type FinishReason = 'stop' | 'length'

/** One request on its way: its tokens so far and its place in the cache. */
export class Sequence {
  readonly request: GenerateRequest
  /** Prompt, then what was generated. */
  readonly tokens: number[]
  /** Tokens whose keys and values are in the cache. */
  computed = 0
  pages: number[] = []
  finished: FinishReason | undefined

  constructor(request: GenerateRequest) {
    this.request = request
    this.tokens = [...request.prompt]
  }

  get generated(): number {
    return this.tokens.length - this.request.prompt.length
  }

  /** Pages that the whole request can need. */
  get pagesNeeded(): number {
    return Math.ceil((this.request.prompt.length + this.request.maxTokens) / PAGE_TOKENS)
  }

  /** Takes over a chosen token; returns whether it belongs to the output. */
  append(id: number): boolean {
    if (this.request.stopIds.includes(id)) {
      this.finished = 'stop'
      return false
    }
    this.tokens.push(id)
    if (this.generated >= this.request.maxTokens) this.finished = 'length'
    return true
  }
}
