import { join } from 'node:path'
import { z } from 'zod'
import { readJsonFile } from '../../checkpoint/json-file.ts'
import { type AddedToken, addedTokenSchema, maxTokenId, splitAtTokens } from './added-tokens.ts'
import { type Merges, mergePiece } from './bpe.ts'
import { byteCharacters, bytesOfEntry } from './byte-level.ts'
import { TextError } from './error.ts'
import { parseNormalizer } from './normalizer.ts'
import { parsePostProcessor } from './post-processor.ts'
import { type PreTokenizer, parsePreTokenizer } from './pre-tokenizer.ts'

/** Text to token ids and back. */
export interface Tokenizer {
  /** One more than the highest id. A model's vocabulary may be larger: its last rows then stand for nothing. */
  readonly vocabSize: number
  /** Token ids of a text. `addSpecial` (default true) adds what the model wants around every text, such as BOS. */
  encode(text: string, options?: { readonly addSpecial?: boolean }): number[]
  /** The text of token ids. `skipSpecial` (default true) leaves special tokens out. Unknown ids stand for nothing. */
  decode(ids: readonly number[], options?: { readonly skipSpecial?: boolean }): string
  /** The bytes of one token, possibly a part of a character; empty for an unknown id. Not to be written to. */
  bytesOf(id: number): Uint8Array
  /** Whether a token is special, such as BOS or the end of a turn. */
  isSpecial(id: number): boolean
  /** The id of a vocabulary entry or added token, as it is spelled in the file. */
  idOf(token: string): number | undefined
}

const fileSchema = z.object({
  added_tokens: z.array(addedTokenSchema).default([]),
  normalizer: z.unknown().optional(),
  pre_tokenizer: z.unknown().optional(),
  post_processor: z.unknown().optional(),
  decoder: z.unknown().optional(),
  // Vocabulary and merges are large, and checked by hand.
  model: z.looseObject({
    type: z.string().nullish(),
    ignore_merges: z.boolean().nullish(),
    byte_fallback: z.boolean().nullish(),
  }),
})

/** Pieces up to this length are remembered with their tokens; longer ones hardly ever come back. */
const longestCached = 64
const mostCached = 1 << 16

/** Reads the `tokenizer.json` of a checkpoint folder. Throws `CheckpointError` or `TextError`. */
export function loadTokenizer(folder: string): Tokenizer {
  const path = join(folder, 'tokenizer.json')
  return createTokenizer(path, readJsonFile(path))
}

/** A tokenizer from the content of a `tokenizer.json`; `path` is what errors call it. */
export function createTokenizer(path: string, json: unknown): Tokenizer {
  const parsed = fileSchema.safeParse(json)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!
    throw new TextError(`${path}: ${issue.path.join('.')}: ${issue.message}; download the file again`)
  }
  const file = parsed.data
  requireByteLevelBpe(path, file)
  const vocabulary = readVocabulary(path, file.model.vocab)
  const added = file.added_tokens
  const vocabSize = Math.max(...added.map(({ id }) => id), largestId(vocabulary)) + 1
  const encodePiece = pieceEncoder(
    path,
    vocabulary,
    readMerges(path, file.model.merges, vocabulary, vocabSize),
    file,
  )
  const normalize = parseNormalizer(path, file.normalizer)
  const preTokenize = parsePreTokenizer(path, file.pre_tokenizer)
  const encodePlain = plainEncoder(normalize, preTokenize, encodePiece, added)
  const { before, after } = parsePostProcessor(path, file.post_processor)
  const bytes = tokenBytes(vocabulary, added, vocabSize)
  const special = new Set(added.filter((token) => token.special).map(({ id }) => id))
  const addedIds = new Map(added.map(({ id, content }) => [content, id]))
  const none = new Uint8Array(0)

  return {
    vocabSize,
    encode: (text, { addSpecial = true } = {}) => {
      const ids: number[] = addSpecial ? [...before] : []
      encodePlain(ids, text)
      if (addSpecial) ids.push(...after)
      return ids
    },
    decode: (ids, { skipSpecial = true } = {}) => {
      const parts = ids.filter((id) => !(skipSpecial && special.has(id))).map((id) => bytes[id] ?? none)
      return new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(parts))
    },
    bytesOf: (id) => bytes[id] ?? none,
    isSpecial: (id) => special.has(id),
    idOf: (token) => addedIds.get(token) ?? vocabulary.get(token),
  }
}

function requireByteLevelBpe(path: string, file: z.infer<typeof fileSchema>): void {
  const mentionsByteLevel = JSON.stringify([file.pre_tokenizer, file.decoder]).includes('"ByteLevel"')
  const { type, byte_fallback: byteFallback } = file.model
  if ((type ?? 'BPE') === 'BPE' && mentionsByteLevel && !byteFallback) return
  throw new TextError(
    `${path} is a ${type ?? 'BPE'} tokenizer${byteFallback ? ' with byte fallback' : ''}: ` +
      'SentencePiece and Unigram tokenizers are not supported yet, byte-level BPE is (Llama 3, Qwen 2, GPT-2)',
  )
}

function readVocabulary(path: string, json: unknown): Map<string, number> {
  if (typeof json !== 'object' || json === null)
    throw new TextError(`${path}: model.vocab is missing; download the file again`)
  const vocabulary = new Map<string, number>()
  for (const [entry, id] of Object.entries(json)) {
    if (!Number.isInteger(id) || id < 0 || id > maxTokenId)
      throw new TextError(
        `${path}: model.vocab gives ${JSON.stringify(entry)} the id ${id}; download the file again`,
      )
    vocabulary.set(entry, id)
  }
  return vocabulary
}

function largestId(vocabulary: ReadonlyMap<string, number>): number {
  let largest = -1
  for (const id of vocabulary.values()) largest = Math.max(largest, id)
  return largest
}

/** Merges come as `"left right"` in older files and as `["left", "right"]` in newer ones. */
function readMerges(
  path: string,
  json: unknown,
  vocabulary: ReadonlyMap<string, number>,
  vocabSize: number,
): Merges {
  if (!Array.isArray(json)) throw new TextError(`${path}: model.merges is missing; download the file again`)
  const ranks = new Map<number, number>()
  const results = new Int32Array(json.length)
  for (const [rank, merge] of json.entries()) {
    const [left, right] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : []
    const ids = [vocabulary.get(left), vocabulary.get(right), vocabulary.get(left + right)] as const
    if (ids[0] === undefined || ids[1] === undefined || ids[2] === undefined)
      throw new TextError(
        `${path}: merge ${rank}, ${JSON.stringify(merge)}, is not made of vocabulary entries; download the file again`,
      )
    ranks.set(ids[0] * vocabSize + ids[1], rank)
    results[rank] = ids[2]
  }
  return { vocabSize, ranks, results }
}

type EncodePiece = (piece: string) => readonly number[]

function pieceEncoder(
  path: string,
  vocabulary: ReadonlyMap<string, number>,
  merges: Merges,
  file: z.infer<typeof fileSchema>,
): EncodePiece {
  const idOfByte = Int32Array.from(byteCharacters, (character) => {
    const id = vocabulary.get(character)
    if (id === undefined)
      throw new TextError(
        `${path}: the vocabulary lacks ${character}, one of the 256 bytes; download the file again`,
      )
    return id
  })
  const encoder = new TextEncoder()
  const encode = (piece: string): readonly number[] => {
    const bytes = encoder.encode(piece)
    if (file.model.ignore_merges) {
      const whole = vocabulary.get(Array.from(bytes, (byte) => byteCharacters[byte]).join(''))
      if (whole !== undefined) return [whole]
    }
    return mergePiece(
      Int32Array.from(bytes, (byte) => idOfByte[byte]!),
      merges,
    )
  }
  const cache = new Map<string, readonly number[]>()
  return (piece) => {
    if (piece.length > longestCached) return encode(piece)
    let ids = cache.get(piece)
    if (ids === undefined) {
      ids = encode(piece)
      if (cache.size >= mostCached) cache.clear()
      cache.set(piece, ids)
    }
    return ids
  }
}

/**
 * Added tokens are cut out first: those marked `normalized` after normalization, the others before it. Of tokens that
 * begin at the same place, the longest wins.
 */
function plainEncoder(
  normalize: (text: string) => string,
  preTokenize: PreTokenizer,
  encodePiece: EncodePiece,
  added: readonly AddedToken[],
): (dst: number[], text: string) => void {
  const encodeNormalized = splitAtTokens(
    added.filter((token) => token.normalized),
    (dst, text) => {
      for (const piece of preTokenize(text)) for (const id of encodePiece(piece)) dst.push(id)
    },
  )
  return splitAtTokens(
    added.filter((token) => !token.normalized),
    (dst, text) => encodeNormalized(dst, normalize(text)),
  )
}

function tokenBytes(
  vocabulary: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
  vocabSize: number,
): (Uint8Array | undefined)[] {
  const bytes = new Array<Uint8Array | undefined>(vocabSize)
  for (const [entry, id] of vocabulary) bytes[id] = bytesOfEntry(entry)
  for (const { id, content } of added) bytes[id] = new TextEncoder().encode(content)
  return bytes
}
