import { PAGE_TOKENS } from '../kernels/formats/kv.ts'

/**
 * What one step of a model computes: tokens of any number of sequences, flattened. Results depend on a token's own context
 * alone, and on which of its tokens are a prompt's: these are attended for by other arithmetic than generated ones.
 */
export interface StepInput {
  /** Token ids. */
  readonly ids: Int32Array
  /** Position of each token in its sequence. */
  readonly positions: Int32Array
  /** Where each token's key and value go: page · 64 + offset. */
  readonly slots: Int32Array
  /** First token of each sequence, and behind the last one the number of tokens: one entry more than sequences. */
  readonly queryStart: Int32Array
  /** Tokens of each sequence that are in the cache after this step; 0 where a row has no sequence. */
  readonly context: Int32Array
  /** 1 for each sequence whose tokens are a prompt's, 0 where they were generated: `DECODE_QUERIES` at most then. */
  readonly prompts: Int32Array
  /** Pages of each sequence, `pagesPerSequence` entries a row. */
  readonly pages: Int32Array
  /** The tokens whose logits are wanted, as indices into `ids`. */
  readonly logitRows: Int32Array
}

/** A sequence's part of a step: some of its tokens, all before which are in the cache. */
export interface StepPart {
  readonly ids: readonly number[]
  /** Position of the first of them. */
  readonly position: number
  /** Whether they are a prompt's; else they were generated, and are `DECODE_QUERIES` at most. */
  readonly isPrompt: boolean
  /** The sequence's pages, at least as far as its tokens reach. */
  readonly pages: readonly number[]
  /** Of how many tokens, from the last one back, the logits are wanted. */
  readonly logits: number
}

/** The most query tokens of a sequence that decode attention takes at once: so many generated ones a step may have. */
export const DECODE_QUERIES = 8

/** The step that computes these parts, one sequence each, in their order. Throws `RangeError` for too many generated tokens. */
export function stepOf(parts: readonly StepPart[], pagesPerSequence: number): StepInput {
  let tokens = 0
  let rows = 0
  for (const part of parts) {
    tokens += part.ids.length
    rows += part.logits
  }
  const ids = new Int32Array(tokens)
  const positions = new Int32Array(tokens)
  const slots = new Int32Array(tokens)
  const queryStart = new Int32Array(parts.length + 1)
  const context = new Int32Array(parts.length)
  const prompts = new Int32Array(parts.length)
  const pages = new Int32Array(parts.length * pagesPerSequence)
  const logitRows = new Int32Array(rows)
  let token = 0
  let row = 0
  // Loops, for this stands between two steps of hundreds of sequences.
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!
    const count = part.ids.length
    if (count > DECODE_QUERIES && !part.isPrompt)
      throw new RangeError(
        `a step takes at most ${DECODE_QUERIES} generated tokens of a sequence, got ${count}: compute them in several steps`,
      )
    pages.set(part.pages, i * pagesPerSequence)
    for (let j = 0; j < count; j++, token++) {
      const position = part.position + j
      ids[token] = part.ids[j]!
      positions[token] = position
      slots[token] = slotOf(part.pages, position)
    }
    queryStart[i + 1] = token
    context[i] = part.position + count
    prompts[i] = part.isPrompt ? 1 : 0
    for (let of = token - part.logits; of < token; of++) logitRows[row++] = of
  }
  return { ids, positions, slots, queryStart, context, prompts, pages, logitRows }
}

/** Which kernels a step needs. */
export interface StepKind {
  /** Sequences have so many generated tokens at most: kernels for one are leaner, and prompts alone need none. */
  readonly queries: 0 | 1 | typeof DECODE_QUERIES
  /** Whether there are tokens of prompts. */
  readonly prompts: boolean
}

/** A step in which each sequence has one token, which was generated. */
export const decodeStep: StepKind = { queries: 1, prompts: false }

/** All kinds of steps. */
export const stepKinds: readonly StepKind[] = [
  decodeStep,
  { queries: 0, prompts: true },
  { queries: 1, prompts: true },
  { queries: DECODE_QUERIES, prompts: false },
  { queries: DECODE_QUERIES, prompts: true },
]

export function kindOf({ queryStart, prompts }: Pick<StepInput, 'queryStart' | 'prompts'>): StepKind {
  let most = 0
  let hasPrompts = false
  for (let i = 0; i < prompts.length; i++) {
    const count = queryStart[i + 1]! - queryStart[i]!
    if (prompts[i] !== 0 && count > 0) hasPrompts = true
    else most = Math.max(most, count)
  }
  if (most > 1) return { queries: DECODE_QUERIES, prompts: hasPrompts }
  return { queries: hasPrompts && most === 0 ? 0 : 1, prompts: hasPrompts }
}

/** What attention knows of the sequences of a step; the fields of a `StepInput`. */
export type AttendedSequences = Pick<StepInput, 'queryStart' | 'context' | 'prompts' | 'pages'>

/**
 * The same tokens as sequences of at most `most` query tokens each: longer ones are cut into pieces with the pages of the
 * whole, of which each is behind the ones before it.
 */
export function cutSequences(step: AttendedSequences, most: number): AttendedSequences {
  const { queryStart, context, prompts, pages } = step
  if (context.every((_, b) => queryStart[b + 1]! - queryStart[b]! <= most)) return step
  const width = pages.length / context.length
  const pieces = [...context].flatMap((end, b) => {
    const count = queryStart[b + 1]! - queryStart[b]!
    const length = Math.min(most, Math.max(count, 1))
    return Array.from({ length: Math.max(1, Math.ceil(count / length)) }, (_, i) => ({
      sequence: b,
      start: queryStart[b]! + i * length,
      context: end - Math.max(0, count - (i + 1) * length),
    }))
  })
  const rows = new Int32Array(pieces.length * width)
  pieces.forEach(({ sequence }, i) => {
    rows.set(pages.subarray(sequence * width, (sequence + 1) * width), i * width)
  })
  return {
    queryStart: Int32Array.from([...pieces.map(({ start }) => start), queryStart.at(-1)!]),
    context: Int32Array.from(pieces, (piece) => piece.context),
    prompts: Int32Array.from(pieces, ({ sequence }) => prompts[sequence]!),
    pages: rows,
  }
}

/** Where a position's key and value go. */
export const slotOf = (pages: readonly number[], position: number): number =>
  pages[Math.floor(position / PAGE_TOKENS)]! * PAGE_TOKENS + (position % PAGE_TOKENS)

/** How large steps may become; buffers are allocated for it once. */
export interface StepLimits {
  /** Tokens of one step. */
  readonly tokens: number
  /** Sequences of one step. */
  readonly sequences: number
  /** Pages of one sequence. */
  readonly pagesPerSequence: number
  /** Rows of logits of one step. */
  readonly logitRows: number
}
