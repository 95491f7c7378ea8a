import { z } from 'zod'
import { TextError } from './error.ts'
import type { Vocabulary } from './vocabulary.ts'

/** How SentencePiece writes a space (U+2581). */
export const metaspace = '▁'

const byteEntry = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`

/** What merging starts from: the tokens of a text's characters, and of the bytes of those that have none. */
export function characterSymbols(path: string, vocabulary: Vocabulary): (piece: string) => Int32Array {
  const idOfByte = Int32Array.from({ length: 256 }, (_, byte) => {
    const id = vocabulary.get(byteEntry(byte))
    if (id === undefined)
      throw new TextError(
        `${path}: the vocabulary lacks ${byteEntry(byte)}, one of the 256 bytes; download the file again`,
      )
    return id
  })
  const encoder = new TextEncoder()
  return (piece) => {
    const symbols: number[] = []
    for (const character of piece) {
      const id = vocabulary.get(character)
      if (id !== undefined) symbols.push(id)
      else for (const byte of encoder.encode(character)) symbols.push(idOfByte[byte]!)
    }
    return Int32Array.from(symbols)
  }
}

/** The bytes that a vocabulary entry stands for: `<0x0A>` is one byte, and `▁` a space. */
export function bytesOfSentencePieceEntry(entry: string): Uint8Array {
  if (/^<0x[\dA-F]{2}>$/.test(entry)) return Uint8Array.of(Number.parseInt(entry.slice(3, 5), 16))
  return new TextEncoder().encode(entry.replaceAll(metaspace, ' '))
}

const decoderSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('Replace'),
    pattern: z.object({ String: z.literal(metaspace) }),
    content: z.literal(' '),
  }),
  z.object({ type: z.literal('ByteFallback') }),
  z.object({ type: z.literal('Fuse') }),
  z.object({
    type: z.literal('Strip'),
    content: z.literal(' '),
    start: z.int().min(0).max(1),
    stop: z.literal(0),
  }),
  z.object({
    type: z.literal('Metaspace'),
    replacement: z.literal(metaspace).default(metaspace),
    prepend_scheme: z.enum(['first', 'always', 'never']).default('always'),
  }),
])

/** Reads the `decoder` of a SentencePiece `tokenizer.json`: whether decoding drops a space that begins the text. */
export function dropsLeadingSpace(path: string, json: unknown): boolean {
  const sequence = z.object({ type: z.literal('Sequence'), decoders: z.array(z.unknown()) }).safeParse(json)
  const steps = sequence.success ? sequence.data.decoders : [json]
  return steps
    .map((step) => {
      const parsed = decoderSchema.safeParse(step)
      if (!parsed.success)
        throw new TextError(
          `${path}: the decoder ${JSON.stringify(step)?.slice(0, 200)} is not supported; ` +
            'Replace of ▁ by a space, ByteFallback, Fuse, Strip and Metaspace are',
        )
      const { data } = parsed
      if (data.type === 'Strip') return data.start === 1
      return data.type === 'Metaspace' && data.prepend_scheme !== 'never'
    })
    .includes(true)
}
