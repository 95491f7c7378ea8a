import { mma } from '../../dsl/atoms/index.ts'
import type { WeightFormat } from '../../dsl/format.ts'
import { highNibbles, lowNibbles, subtractBytes } from '../../dsl/std/index.ts'
import { w4Packing } from './w4.ts'

/**
 * Per-channel 4-bit weights beside 8-bit activations: w = s1[n] · (q − z[n]), q and z from 0 to 15, s1 fp16.
 *
 * Codes enter the product as they are, two instructions for four of them, and the zero point is subtracted once, as
 * z[n] · Σx; or it is subtracted from each code in registers, which costs two more instructions for four codes and
 * spares the epilogue Σx.
 */
export const w4a8: WeightFormat<Uint8Array> = {
  name: 'w4a8',
  group: 0,
  ...w4Packing('w4a8', 0),
  atom: (_x, zero) => (zero === 'register' ? mma.m16n8k32.s8s8 : mma.m16n8k32.u8s8),
  fragments(words, rows, zero) {
    return [lowNibbles, highNibbles].map((nibbles) =>
      words.map((word, register) =>
        zero === 'register' ? subtractBytes(nibbles(word), rows[register % 2]!.offset) : nibbles(word),
      ),
    )
  },
  operand: (code, row, zero) => (zero === 'register' ? code - row.offset : code),
}
