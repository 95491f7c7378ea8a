import { TextError } from './error.ts'
import type { Vocabulary } from './vocabulary.ts'

/**
 * The alphabet of byte-level BPE (GPT-2): every byte is written as one visible character in the vocabulary. Printable
 * Latin-1 bytes stand for themselves, the others for the characters from U+0100 on, in order.
 */
export const byteCharacters: readonly string[] = alphabet()

const byteOfCharacter = new Map(byteCharacters.map((character, byte) => [character, byte]))

function alphabet(): string[] {
  const visible = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad)
  let next = 0x100
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(visible(byte) ? byte : next++))
}

/** The bytes that a vocabulary entry stands for; an entry outside the alphabet stands for its own UTF-8. */
export function bytesOfByteLevelEntry(entry: string): Uint8Array {
  const bytes = new Uint8Array(entry.length)
  for (let i = 0; i < entry.length; i++) {
    const byte = byteOfCharacter.get(entry[i]!)
    if (byte === undefined) return new TextEncoder().encode(entry)
    bytes[i] = byte
  }
  return bytes
}

/** What merging starts from: the tokens of a text's bytes. */
export function byteSymbols(path: string, vocabulary: Vocabulary): (piece: string) => Int32Array {
  const idOfByte = Int32Array.from(byteCharacters, (character) => {
    const id = vocabulary.get(character)
    if (id === undefined)
      throw new TextError(
        `${path}: the vocabulary lacks ${character}, one of the 256 bytes; download the file again`,
      )
    return id
  })
  const encoder = new TextEncoder()
  return (piece) => Int32Array.from(encoder.encode(piece), (byte) => idOfByte[byte]!)
}

/** How a text is spelled in the vocabulary. */
export function byteLevelSpelling(piece: string): string {
  let spelling = ''
  for (const byte of new TextEncoder().encode(piece)) spelling += byteCharacters[byte]
  return spelling
}
