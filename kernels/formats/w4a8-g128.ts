import { mma } from '../../dsl/atoms/index.ts'
import type { WeightFormat } from '../../dsl/format.ts'
import { addBytes, highNibbles, lowNibbles } from '../../dsl/std/index.ts'
import { w4Packing } from './w4.ts'

const GROUP = 128

/**
 * Two-level 4-bit weights beside 8-bit activations (progressive group quantization of QoQ): w = s1[n] · w8 and
 * w8 = q · s2[g, n] + min[g, n], with q from 0 to 15, s2 an integer from 1 to 16 and w8 a signed byte.
 *
 * q · s2 is at most 240, so four products are one 32-bit multiplication without carries. The minimum follows it:
 *
 * - 'epilogue': the byte 128 + min is added without carries (the sum is w8 + 128, from 0 to 255) and enters the product
 *   unsigned; 128 · Σx is subtracted once. One multiply-add for four codes.
 * - 'register': min is added modulo 256, which leaves w8 as a signed byte. Three instructions more, but any byte min
 *   serves that gives the right w8 modulo 256, as in checkpoints of QServe.
 */
export const w4a8g128: WeightFormat<Uint8Array> = {
  name: 'w4a8-g128',
  group: GROUP,
  ...w4Packing('w4a8-g128', GROUP),
  atom: (_x, zero) => (zero === 'register' ? mma.m16n8k32.s8s8 : mma.m16n8k32.u8s8),
  fragments(words, rows, zero) {
    return [lowNibbles, highNibbles].map((nibbles) =>
      words.map((word, register) => {
        const { scale, offset } = rows[register % 2]!
        const scaled = nibbles(word) * scale
        return zero === 'register' ? addBytes(scaled, offset) : scaled + offset
      }),
    )
  },
  operand(code, row, zero) {
    const sum = code * row.scale + row.offset
    return zero === 'register' ? (sum << 24) >> 24 : sum
  },
}
