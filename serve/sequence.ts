import { PAGE_TOKENS } from '../kernels/formats/kv.ts'
import type { Sampling } from './sampling.ts'

export { greedy, type Sampling } from './sampling.ts'

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
  /** Its place in the sampler while it runs. */
  slot = -1
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
