import type { WeightFormat, WeightParts } from '../../dsl/format.ts'
import type { u32 } from '../../dsl/scalars.ts'
import { byteOf, highNibbles, lowNibbles, subtractBytes } from '../../dsl/std/index.ts'
import { packU4, u4Layout, u4Shape, unpackU4 } from './u4.ts'

/** Codes from 0 to 15, and the zero points [N] (0 to 15) that the kernel gets beside them; they are not packed. */
export interface W4A8Parts extends WeightParts {
  readonly codes: Uint8Array
  readonly zero?: Uint8Array
}

const shape = { name: 'w4a8', ...u4Shape, group: 0, groupWords: 0 } as const

/** Device: the word that `fragments` takes for zero points in registers, of the rows g and g + 8. */
export const zeroWord = (upper: u32, lower: u32): u32 => (upper << 8) | (lower << 24)

/**
 * Per-channel 4-bit weights beside 8-bit activations: w = s1[n] · (q − z[n]), q and z from 0 to 15, s1 fp16.
 *
 * Codes enter the product as they are, three instructions for eight of them, and the zero point is subtracted once, as
 * z[n] · Σx; or it is subtracted from each code in registers, given as the bytes 1 and 3 of the group's word, which costs
 * four more instructions for eight codes and spares the epilogue Σx.
 */
export const w4a8: WeightFormat<W4A8Parts> = {
  ...shape,
  tag: 'w4a8',
  activations: ['i8'],
  layout: u4Layout(shape),
  pack: ({ codes }, N, K) => packU4(shape, codes, N, K),
  unpack: (words, N, K) => ({ codes: unpackU4(shape, words, N, K) }),
  types: (_x, zero) => (zero === 'register' ? 's8s8' : 'u8s8'),
  fragments(words, group, zero) {
    return [lowNibbles, highNibbles].map((nibbles) =>
      words.map((word, register) =>
        zero === 'register'
          ? subtractBytes(nibbles(word), byteOf(group[0]!, 1 + 2 * (register % 2)))
          : nibbles(word),
      ),
    )
  },
  operand({ codes, zero }, { n, k, K }, handling) {
    const code = codes[n * K + k]!
    return handling === 'register' ? code - zero![n]! : code
  },
}
