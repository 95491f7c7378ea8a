import { maxTokenId } from './added-tokens.ts'
import { TextError } from './error.ts'
import { readFields } from './protobuf.ts'
import { metaspace } from './sentence-piece.ts'

/** What an entry of the vocabulary is, by the numbers of SentencePiece's own format. */
const kinds = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const

interface Piece {
  readonly text: string
  /** Of two merges, that which makes the piece of the higher score comes first. */
  readonly score: number
  readonly kind: number
}

/** A token that a checkpoint adds to its vocabulary. */
export interface ExtraToken {
  readonly id: number
  readonly content: string
  readonly special: boolean
}

export interface SentencePieceOptions {
  /** Whether texts are begun and ended with the model's own tokens. */
  readonly addBos: boolean
  readonly addEos: boolean
  readonly extraTokens: readonly ExtraToken[]
}

/**
 * Reads a `tokenizer.model` of SentencePiece, a BPE with byte fallback as Llama 2 and Mistral have, as the
 * `tokenizer.json` that says the same. Throws `TextError`, which calls the file `path`.
 */
export function readSentencePieceModel(
  path: string,
  bytes: Uint8Array,
  { addBos, addEos, extraTokens }: SentencePieceOptions,
): unknown {
  const { pieces, prefixes, bosId, eosId } = parseModel(path, bytes)
  const vocabulary = new Map<string, number>()
  for (const [id, { text }] of pieces.entries()) {
    if (vocabulary.has(text))
      throw new TextError(
        `${path}: ${JSON.stringify(text)} is twice in the vocabulary; download the file again`,
      )
    vocabulary.set(text, id)
  }
  const isOwn = ({ kind }: Piece) => kind === kinds.control || kind === kinds.unknown
  const added = pieces.flatMap((piece, id) =>
    isOwn(piece) || piece.kind === kinds.userDefined
      ? [{ id, content: piece.text, special: isOwn(piece) }]
      : [],
  )
  const known = new Set(extraTokens.map(({ id }) => id))
  const around = (adds: boolean, id: number) =>
    adds && id >= 0 && id < pieces.length ? [{ SpecialToken: { id: pieces[id]!.text } }] : []
  return {
    added_tokens: [...added.filter(({ id }) => !known.has(id)), ...extraTokens],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        ...(prefixes ? [{ type: 'Prepend', prepend: metaspace }] : []),
        { type: 'Replace', pattern: { String: ' ' }, content: metaspace },
      ],
    },
    post_processor: {
      type: 'TemplateProcessing',
      single: [...around(addBos, bosId), { Sequence: { id: 'A' } }, ...around(addEos, eosId)],
      special_tokens: Object.fromEntries(
        pieces.flatMap(({ text }, id) => ([bosId, eosId].includes(id) ? [[text, { ids: [id] }]] : [])),
      ),
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: metaspace }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefixes ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: 'BPE',
      byte_fallback: true,
      vocab: Object.fromEntries(vocabulary),
      merges: mergesOf(pieces, vocabulary),
    },
  }
}

/** Every two pieces that make a third, those first that make the one of the highest score. */
function mergesOf(pieces: readonly Piece[], vocabulary: ReadonlyMap<string, number>): [string, string][] {
  const isPart = (text: string) => pieces[vocabulary.get(text) ?? -1]?.kind === kinds.normal
  return pieces
    .filter(({ kind }) => kind === kinds.normal)
    .toSorted((a, b) => b.score - a.score)
    .flatMap(({ text }) => {
      const characters = Array.from(text)
      return characters.slice(1).flatMap((_, i): [string, string][] => {
        const left = characters.slice(0, i + 1).join('')
        const right = characters.slice(i + 1).join('')
        return isPart(left) && isPart(right) ? [[left, right]] : []
      })
    })
}

/** The trainer's number of a BPE. */
const bpe = 2

function parseModel(path: string, bytes: Uint8Array) {
  const pieces: Piece[] = []
  const model = { prefixes: true, bosId: 1, eosId: 2 }
  let type = 1
  for (const { number, value } of readFields(path, bytes)) {
    if (typeof value === 'number') continue
    if (number === 1) pieces.push(parsePiece(path, value))
    else if (number === 2)
      for (const field of readFields(path, value)) {
        if (typeof field.value !== 'number') continue
        if (field.number === 3) type = field.value
        else if (field.number === 41) model.bosId = signed(field.value)
        else if (field.number === 42) model.eosId = signed(field.value)
      }
    else if (number === 3) model.prefixes = parseNormalizerSpec(path, value)
    if (pieces.length > maxTokenId) throw new TextError(`${path} has more than ${maxTokenId} tokens`)
  }
  if (pieces.length === 0)
    throw new TextError(`${path} has no vocabulary; it is no model of SentencePiece, or was cut off`)
  if (type !== bpe)
    throw new TextError(
      `${path} is no BPE, which is not supported; take a checkpoint that has a tokenizer.json`,
    )
  return { pieces, ...model }
}

/** Numbers below zero are written as what they are modulo 2⁶⁴. */
const signed = (value: number): number => (value >= 2 ** 63 ? -1 : value)

function parsePiece(path: string, bytes: Uint8Array): Piece {
  const piece = { text: '', score: 0, kind: kinds.normal as number }
  for (const { number, value, float } of readFields(path, bytes)) {
    if (number === 1 && typeof value !== 'number') piece.text = textOf(path, value)
    else if (number === 2 && float !== undefined) piece.score = float
    else if (number === 3 && typeof value === 'number') piece.kind = value
  }
  if (piece.text === '' || !Object.values<number>(kinds).includes(piece.kind) || Number.isNaN(piece.score))
    throw new TextError(`${path} has an entry that makes no sense; download the file again`)
  return piece
}

/** Whether a space is put before texts. */
function parseNormalizerSpec(path: string, bytes: Uint8Array): boolean {
  const flags = { prefixes: true, removes: true, escapes: true, map: 0 }
  for (const { number, value } of readFields(path, bytes)) {
    if (number === 2 && typeof value !== 'number') flags.map = value.length
    else if (number === 3) flags.prefixes = value === 1
    else if (number === 4) flags.removes = value === 1
    else if (number === 5) flags.escapes = value === 1
  }
  if (flags.map > 0 || flags.removes || !flags.escapes)
    throw new TextError(
      `${path} changes texts in ways that are not supported; take a checkpoint that has a tokenizer.json`,
    )
  return flags.prefixes
}

function textOf(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new TextError(`${path} has an entry that is no UTF-8; download the file again`)
  }
}
