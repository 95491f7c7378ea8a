import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { readJsonFile } from '../../checkpoint/json-file.ts'
import { type AddedToken, addedTokenSchema, type EncodeText, splitAtTokens } from './added-tokens.ts'
import { byteLevelSpelling, byteSymbols, bytesOfByteLevelEntry } from './byte-level.ts'
import { TextError } from './error.ts'
import { parseNormalizer } from './normalizer.ts'
import { createPieceEncoder } from './piece-encoder.ts'
import { parsePostProcessor } from './post-processor.ts'
import { parsePreTokenizer } from './pre-tokenizer.ts'
import { createSeamCutter } from './seams.ts'
import { bytesOfSentencePieceEntry, characterSymbols, dropsLeadingSpace } from './sentence-piece.ts'
import { readSentencePieceModel, type SentencePieceOptions } from './sentence-piece-model.ts'
import { largestId, readMerges, readVocabulary, type Vocabulary } from './vocabulary.ts'

/** Text to token ids and back. */
export interface Tokenizer {
  /** One more than the highest id. A model's vocabulary may be larger: its last rows then stand for nothing. */
  readonly vocabSize: number
  /** Whether encoding puts a space before a text, which decoding takes away again (SentencePiece). */
  readonly dropsLeadingSpace: boolean
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

/**
 * Reads the `tokenizer.json` of a checkpoint folder, or else its `tokenizer.model`. Throws `CheckpointError` or `TextError`.
 */
export function loadTokenizer(folder: string): Tokenizer {
  const path = join(folder, 'tokenizer.json')
  const modelPath = join(folder, 'tokenizer.model')
  if (existsSync(path) || !existsSync(modelPath)) return createTokenizer(path, readJsonFile(path))
  const options = readSettings(join(folder, 'tokenizer_config.json'))
  return createTokenizer(modelPath, readSentencePieceModel(modelPath, readFileSync(modelPath), options))
}

const settingsSchema = z.object({
  add_bos_token: z.boolean().default(true),
  add_eos_token: z.boolean().default(false),
  added_tokens_decoder: z
    .record(
      z.string().regex(/^\d{1,7}$/),
      z.looseObject({ content: z.string(), special: z.boolean().default(false) }),
    )
    .default({}),
})

/** What stands beside a `tokenizer.model`; a `tokenizer.json` has it all in itself. */
function readSettings(path: string): SentencePieceOptions {
  const parsed = settingsSchema.safeParse(existsSync(path) ? readJsonFile(path) : {})
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!
    throw new TextError(`${path}: ${issue.path.join('.')}: ${issue.message}; download the file again`)
  }
  const { add_bos_token: addBos, add_eos_token: addEos, added_tokens_decoder: decoder } = parsed.data
  return {
    addBos,
    addEos,
    extraTokens: Object.entries(decoder).map(([id, token]) => ({ ...token, id: Number(id) })),
  }
}

/** A tokenizer from the content of a `tokenizer.json`; `path` is what errors call it. */
export function createTokenizer(path: string, json: unknown): Tokenizer {
  const parsed = fileSchema.safeParse(json)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!
    throw new TextError(`${path}: ${issue.path.join('.')}: ${issue.message}; download the file again`)
  }
  const file = parsed.data
  const readFamily = familyOf(path, file)
  const vocabulary = readVocabulary(path, file.model.vocab)
  const { encodePlain, bytesOfEntry, dropsLeadingSpace } = readFamily(path, file, vocabulary)
  const added = file.added_tokens
  const { before, after } = parsePostProcessor(path, file.post_processor)
  const vocabSize = Math.max(...added.map(({ id }) => id), largestId(vocabulary)) + 1
  const bytes = new Array<Uint8Array | undefined>(vocabSize)
  for (const [entry, id] of vocabulary) bytes[id] = bytesOfEntry(entry)
  for (const { id, content } of added) bytes[id] = bytesOfEntry(content)
  const special = new Set(added.filter((token) => token.special).map(({ id }) => id))
  const addedIds = new Map(added.map(({ id, content }) => [content, id]))
  const encodeText = addedTokenSplitter(parseNormalizer(path, file.normalizer), encodePlain, added)
  const none = new Uint8Array(0)

  return {
    vocabSize,
    dropsLeadingSpace,
    encode: (text, { addSpecial = true } = {}) => {
      const ids: number[] = addSpecial ? [...before] : []
      if (text !== '') encodeText(ids, text, true)
      if (addSpecial) ids.push(...after)
      return ids
    },
    decode: (ids, { skipSpecial = true } = {}) => {
      const parts = ids.filter((id) => !(skipSpecial && special.has(id))).map((id) => bytes[id] ?? none)
      const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(parts))
      return dropsLeadingSpace && text.startsWith(' ') ? text.slice(1) : text
    },
    bytesOf: (id) => bytes[id] ?? none,
    isSpecial: (id) => special.has(id),
    idOf: (token) => addedIds.get(token) ?? vocabulary.get(token),
  }
}

/** What byte-level BPE and SentencePiece do differently. */
interface Family {
  /** Encodes a normalized text without added tokens. */
  readonly encodePlain: EncodeText
  readonly bytesOfEntry: (entry: string) => Uint8Array
  readonly dropsLeadingSpace: boolean
}

type File = z.infer<typeof fileSchema>
type ReadFamily = (path: string, file: File, vocabulary: Vocabulary) => Family

function familyOf(path: string, file: File): ReadFamily {
  const mentionsByteLevel = JSON.stringify([file.pre_tokenizer, file.decoder]).includes('"ByteLevel"')
  const { type, byte_fallback: byteFallback } = file.model
  if ((type ?? 'BPE') === 'BPE' && mentionsByteLevel !== (byteFallback ?? false))
    return mentionsByteLevel ? byteLevelFamily : sentencePieceFamily
  throw new TextError(
    `${path} is a ${type ?? 'BPE'} tokenizer${byteFallback ? ' with byte fallback' : ''}, which is not supported; ` +
      'byte-level BPE (Llama 3, Qwen, GPT-2) and SentencePiece BPE with byte fallback (Llama 2, Mistral) are',
  )
}

const byteLevelFamily: ReadFamily = (path, file, vocabulary) => {
  const merges = readMerges(path, file.model.merges, vocabulary)
  const encodePiece = createPieceEncoder(
    byteSymbols(path, vocabulary),
    merges,
    file.model.ignore_merges ? (piece) => vocabulary.get(byteLevelSpelling(piece)) : undefined,
  )
  const preTokenize = parsePreTokenizer(path, file.pre_tokenizer)
  return {
    encodePlain: (dst, text, atStart) => {
      for (const piece of preTokenize(text, atStart)) encodePiece(dst, piece)
    },
    bytesOfEntry: bytesOfByteLevelEntry,
    dropsLeadingSpace: false,
  }
}

const sentencePieceFamily: ReadFamily = (path, file, vocabulary) => {
  const { merges: json, ignore_merges: ignoreMerges } = file.model
  const symbolsOf = characterSymbols(path, vocabulary)
  const merged: string[] = []
  const merges = readMerges(path, json, vocabulary, (entry) => merged.push(entry))
  const preTokenize = parsePreTokenizer(path, file.pre_tokenizer)
  // A piece that may be a token as it stands must not be cut further.
  const cutAtSeams = ignoreMerges ? (piece: string) => [piece] : createSeamCutter(merged)
  const encodePiece = createPieceEncoder(
    symbolsOf,
    merges,
    ignoreMerges ? (piece) => vocabulary.get(piece) : undefined,
  )
  return {
    encodePlain: (dst, text, atStart) => {
      for (const piece of preTokenize(text, atStart))
        for (const part of cutAtSeams(piece)) encodePiece(dst, part)
    },
    bytesOfEntry: bytesOfSentencePieceEntry,
    dropsLeadingSpace: dropsLeadingSpace(path, file.decoder),
  }
}

/**
 * Added tokens are cut out first: those marked `normalized` after normalization (of text and token alike), the others
 * before it.
 */
function addedTokenSplitter(
  normalize: (text: string) => string,
  encodePlain: EncodeText,
  added: readonly AddedToken[],
): EncodeText {
  const encodeNormalized = splitAtTokens(
    added
      .filter((token) => token.normalized)
      .map((token) => ({ ...token, content: normalize(token.content) })),
    encodePlain,
  )
  return splitAtTokens(
    added.filter((token) => !token.normalized),
    (dst, text, atStart) => {
      const normalized = normalize(text)
      if (normalized !== '') encodeNormalized(dst, normalized, atStart)
    },
  )
}
