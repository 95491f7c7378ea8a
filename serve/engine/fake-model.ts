import type { EngineStep, StepPart } from './engine-step.ts'
import type { EngineRequest } from './request.ts'

/** What decides how tokens are drawn. */
type Drawing = Pick<EngineRequest, 'sampling' | 'stopIds'>

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

/** What a slot knows of its sequence: how tokens are drawn, and how many have been. */
interface Slot {
  readonly request: Drawing
  steps: number
}

/**
 * A model whose next token is a hash of its context, of which of its tokens are a prompt's, and of its seed. It keeps its context where a real one does, in the pages
 * of a cache, takes tokens that have not been read from the rows of the step before, and remembers of a request what it was
 * told when the slot was opened.
 */
export class FakeModel {
  readonly #options: FakeModelOptions
  /** By place in the cache: the token as it is kept there, and the hash of the context up to it. */
  readonly #tokens: Int32Array
  readonly #hashes: Int32Array
  readonly #slots: Slot[] = []
  #previous = new Int32Array(0)

  constructor(options: FakeModelOptions) {
    this.#options = options
    this.#tokens = new Int32Array(options.pages * options.pageTokens).fill(-1)
    this.#hashes = new Int32Array(options.pages * options.pageTokens)
  }

  /** Runs a step; returns the sampled tokens by row. */
  run({ parts, unread, opened, slots, masks }: EngineStep): Int32Array {
    for (const { slot, request } of opened)
      this.#slots[slot] = {
        request: { sampling: request.sampling, stopIds: request.endIds ?? [] },
        steps: request.output?.length ?? 0,
      }
    const flat = parts.flatMap(({ ids }) => ids)
    for (const { row, token, count } of unread)
      for (let i = 0; i < count; i++) flat[token + i] = this.#previous[row + i]!
    const sampled = new Int32Array(slots.length)
    const maskOf = new Map(masks.map(({ slot, bits }) => [slot, bits]))
    let start = 0
    let row = 0
    for (const part of parts) {
      const hash = this.#append(part, flat.slice(start, start + part.ids.length))
      start += part.ids.length
      if (!part.samples) continue
      const slot = this.#slots[slots[row]!]!
      const mask = maskOf.get(slots[row]!)
      sampled[row++] = fakeToken(hash, slot.request, slot.steps++, this.#options.vocabSize, mask)
    }
    this.#previous = sampled
    return sampled
  }

  /** Puts tokens into their pages; returns the hash of the context up to the last of them. */
  #append({ position, isPrompt, pages }: StepPart, tokens: readonly number[]): number {
    const { pageTokens, wholeContext } = this.#options
    const placeOf = (at: number) => pages[Math.floor(at / pageTokens)]! * pageTokens + (at % pageTokens)
    let hash = position === 0 ? 0 : this.#hashes[placeOf(position - 1)]!
    for (const [i, token] of tokens.entries()) {
      const place = placeOf(position + i)
      const kept = keptToken(token, isPrompt)
      hash = mix(hash, kept)
      this.#tokens[place] = kept
      this.#hashes[place] = hash
    }
    if (!wholeContext) return hash
    hash = 0
    for (let at = 0; at < position + tokens.length; at++) hash = mix(hash, this.#tokens[placeOf(at)]!)
    return hash
  }
}

/** The tokens that `FakeModel` gives a request, found without a cache: up to its end, stop token included. */
export function fakeOutput(request: EngineRequest, vocabSize: number): number[] {
  let hash = 0
  for (let i = 0; i < request.prompt.length; i++) hash = mix(hash, keptToken(request.prompt[i]!, true))
  const output: number[] = []
  while (output.length < request.maxTokens) {
    const token = fakeToken(hash, request, output.length, vocabSize)
    output.push(token)
    if (request.stopIds.includes(token)) break
    hash = mix(hash, keptToken(token, false))
  }
  return output
}

/** A token as the cache has it: keys and values of a prompt's are others than those of the same token generated. */
const keptToken = (token: number, isPrompt: boolean): number => 2 * token + (isPrompt ? 1 : 0)

/** As a sampler does, it draws no stop token before there are as many tokens as the request wants at least. */
function fakeToken(
  hash: number,
  { sampling, stopIds }: Drawing,
  draw: number,
  vocabSize: number,
  mask?: Uint32Array,
): number {
  const choices = mask && tokensOf(mask).filter((token) => token < vocabSize)
  const goesOn = draw < (sampling.minTokens ?? 0) && !choices?.every((token) => stopIds.includes(token))
  for (let mixed = mix(mix(hash, sampling.seed), draw); ; mixed = mix(mixed, 1)) {
    const token = choices ? choices[(mixed >>> 0) % choices.length]! : (mixed >>> 0) % vocabSize
    if (!goesOn || !stopIds.includes(token)) return token
  }
}

/** The tokens whose bits are set. */
function tokensOf(mask: Uint32Array): number[] {
  const tokens: number[] = []
  for (const [i, word] of mask.entries())
    for (let left = word; left !== 0; left &= left - 1) tokens.push(32 * i + 31 - Math.clz32(left & -left))
  return tokens
}

function mix(hash: number, value: number): number {
  let mixed = Math.imul(hash ^ (value + 0x9e3779b9), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}
