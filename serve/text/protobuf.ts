import { TextError } from './error.ts'

/** A field of a message: a number for those of fixed length and variable ones, else its bytes. */
export interface ProtobufField {
  readonly number: number
  readonly value: number | Uint8Array
  /** Set with four bytes, which may be a float. */
  readonly float?: number
}

/**
 * The fields of a protocol buffers message, in their order. Throws `TextError`, which calls the file `path`, for bytes that
 * are none. Numbers beyond 2⁵³ lose their last bits.
 */
export function* readFields(path: string, bytes: Uint8Array): Generator<ProtobufField> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  const fail = (): never => {
    throw new TextError(`${path} is no model of SentencePiece, or was cut off; download the file again`)
  }
  const varint = (): number => {
    let value = 0
    for (let i = 0; i < 10; i++) {
      const byte = bytes[at++] ?? fail()
      value += (byte & 0x7f) * 2 ** (7 * i)
      if (byte < 0x80) return value
    }
    return fail()
  }
  const take = (length: number): number => {
    const start = at
    if (length > bytes.length - at) fail()
    at += length
    return start
  }
  while (at < bytes.length) {
    const key = varint()
    const number = Math.floor(key / 8)
    if (number === 0 || number >= 2 ** 29) fail()
    switch (key % 8) {
      case 0:
        yield { number, value: varint() }
        break
      case 1:
        yield { number, value: Number(view.getBigUint64(take(8), true)) }
        break
      case 2: {
        const length = varint()
        const start = take(length)
        yield { number, value: bytes.subarray(start, start + length) }
        break
      }
      case 5: {
        const start = take(4)
        yield { number, value: view.getUint32(start, true), float: view.getFloat32(start, true) }
        break
      }
      default:
        fail()
    }
  }
}
