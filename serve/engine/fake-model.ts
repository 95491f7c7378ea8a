import type { StepPlan } from '../schedule/plan.ts'
import type { EngineRequest } from './request.ts'

export interface FakeModelOptions {
  readonly vocabSize: number
  readonly pages: number
  readonly pageTokens: number
  /**
   * Goes through the pages of the whole context for every token, so that a page which was given to another sequence too
   * early shows in the tokens. Otherwise only the place before a share's first token is read.
   */
  readonly wholeContext?: boolean
}

/**
 * A model whose next token is a hash of its context and its seed. It keeps its context where a real one does, in the pages
 * of a cache, and takes tokens that have not been read from the rows of the step before.
 */
export class FakeModel {
  readonly #options: FakeModelOptions
  /** By slot: the token, and the hash of the context up to it. */
  readonly #tokens: Int32Array
  readonly #hashes: Int32Array
  #previous = new Int32Array(0)

  constructor(options: FakeModelOptions) {
    this.#options = options
    this.#tokens = new Int32Array(options.pages * options.pageTokens).fill(-1)
    this.#hashes = new Int32Array(options.pages * options.pageTokens)
  }

  /** Runs a step; returns the sampled tokens by row. */
  run(plan: StepPlan<EngineRequest>): Int32Array {
    const { pageTokens, vocabSize, wholeContext } = this.#options
    const ids = new Int32Array(plan.rows)
    for (const { sequence, first, count, previousRow, row, draw } of plan.shares) {
      const slotOf = (position: number) =>
        sequence.pages[Math.floor(position / pageTokens)]! * pageTokens + (position % pageTokens)
      const known = previousRow < 0 ? sequence.tokens(first, first + count) : undefined
      let hash = first === 0 ? 0 : this.#hashes[slotOf(first - 1)]!
      for (let i = 0; i < count; i++) {
        const slot = slotOf(first + i)
        const token = known ? known[i]! : this.#previous[previousRow]!
        hash = mix(hash, token)
        this.#tokens[slot] = token
        this.#hashes[slot] = hash
      }
      if (row < 0) continue
      if (wholeContext) {
        hash = 0
        for (let position = 0; position < first + count; position++)
          hash = mix(hash, this.#tokens[slotOf(position)]!)
      }
      ids[row] = fakeToken(hash, sequence.request, draw, vocabSize)
    }
    this.#previous = ids
    return ids
  }
}

/** The tokens that `FakeModel` gives a request, found without a cache: up to its end, stop token included. */
export function fakeOutput(request: EngineRequest, vocabSize: number): number[] {
  let hash = 0
  for (let i = 0; i < request.prompt.length; i++) hash = mix(hash, request.prompt[i]!)
  const output: number[] = []
  while (output.length < request.maxTokens) {
    const token = fakeToken(hash, request, output.length, vocabSize)
    output.push(token)
    if (request.stopIds.includes(token)) break
    hash = mix(hash, token)
  }
  return output
}

/** As a sampler does, it draws no stop token before there are as many tokens as the request wants at least. */
function fakeToken(hash: number, request: EngineRequest, draw: number, vocabSize: number): number {
  const { sampling, stopIds } = request
  for (let mixed = mix(mix(hash, sampling.seed), draw); ; mixed = mix(mixed, 1)) {
    const token = (mixed >>> 0) % vocabSize
    if (draw >= (sampling.minTokens ?? 0) || !stopIds.includes(token)) return token
  }
}

function mix(hash: number, value: number): number {
  let mixed = Math.imul(hash ^ (value + 0x9e3779b9), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}
