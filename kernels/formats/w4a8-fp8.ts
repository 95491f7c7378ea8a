import type { WeightFormat, WeightParts } from '../../dsl/format.ts'
import { funnelShiftLeft } from '../../dsl/intrinsics.ts'
import { packU4, u4Layout, u4Shape, unpackU4 } from './u4.ts'

/** Codes of a sign (bit 3) and a magnitude (bits 0 to 2). */
export interface W4A8Fp8Parts extends WeightParts {
  readonly codes: Uint8Array
}

const shape = { name: 'w4a8-fp8', ...u4Shape, group: 0, groupWords: 0 } as const

/** What a magnitude of 1 is as e4m3: its smallest subnormal. */
export const FP8_STEP = 2 ** -9

/** The bits of a byte that a code takes as e4m3: the sign, and the last three of the mantissa. */
const CODE = 0x87878787
const [MAGNITUDE, SIGN, HIGH_MAGNITUDE] = [0x07070707, 0x08080808, 0x70707070]

/** Rotates a word by bytes and bits: `rotate(word, 4)` is what the device does to find the second k-step. */
const rotate = (word: number, left: number): number => (word << left) | (word >>> (32 - left))

/**
 * The word that the device reads, from one with the codes of the first k-step in the low nibbles and those of the second in
 * the high ones: byte j becomes [sign of the first | magnitude of the second, of byte j + 1 | sign of the second | magnitude
 * of the first]. So the first codes are where e4m3 has its sign and mantissa, and a rotation by a nibble puts the second
 * ones there.
 */
const interleave = (word: number): number =>
  (word & MAGNITUDE) | ((word & SIGN) << 4) | ((word >>> 4) & SIGN) | rotate(word & HIGH_MAGNITUDE, 24)

const separate = (word: number): number =>
  ((word & MAGNITUDE) | ((word >>> 4) & SIGN) | ((word & SIGN) << 4) | rotate(word & HIGH_MAGNITUDE, 8)) >>> 0

/**
 * Per-channel 4-bit weights beside e4m3 activations: w = s1[n] · (±m), m from 0 to 7, s1 fp16. On `wgmma` alone.
 *
 * The smallest e4m3 numbers are linear: bits m mean m · 2⁻⁹. A code with its sign in front is therefore an operand after
 * three instructions for eight of them, and the epilogue multiplies by 2⁹ together with the scale.
 */
export const w4a8fp8: WeightFormat<W4A8Fp8Parts> = {
  ...shape,
  tag: 'w4a8-fp8',
  activations: ['e4m3'],
  layout: u4Layout(shape),
  plain: separate,
  pack: ({ codes }, N, K) => packU4(shape, codes, N, K).map(interleave),
  unpack: (words, N, K) => ({ codes: unpackU4(shape, words.map(separate), N, K) }),
  types: () => 'e4m3',
  fragments: (words) => [
    words.map((word) => word & CODE),
    words.map((word) => funnelShiftLeft(word, word, 4) & CODE),
  ],
  operand({ codes }, { n, k, K }) {
    const code = codes[n * K + k]!
    return ((code & 8) << 4) | (code & 7)
  },
}
