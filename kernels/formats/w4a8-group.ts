import type { WeightFormat, WeightParts } from '../../dsl/format.ts'
import { permuteBytes } from '../../dsl/index.ts'
import { addBytes, byteOf, highNibbles, lowNibbles } from '../../dsl/std/index.ts'
import { packU4, u4Layout, u4Shape, unpackU4 } from './u4.ts'
import { checkGroups, eachGroup } from './units.ts'

/** Codes from 0 to 15, and for each group of a row its scale (1 to 17) and minimum. */
export interface W4A8GroupParts extends WeightParts {
  readonly codes: Uint8Array
  readonly groupScale: Uint8Array
  readonly groupMin: Int8Array
  /**
   * Whether q · scale + min is to be taken modulo 256, as −z · s2 in checkpoints of QServe; such weights need their zero
   * points in registers. Without it every such sum must be a signed byte, or packing is refused.
   */
  readonly wraps?: boolean
}

/** 15 · 17 is the largest product of a code that stays in a byte. */
const LARGEST_SCALE = 17

/**
 * Two-level 4-bit weights beside 8-bit activations (progressive group quantization of QoQ): w = s1[n] · w8 and
 * w8 = q · s2[n, g] + min[n, g], with q from 0 to 15, s2 an integer from 1 to 16 and w8 a signed byte.
 *
 * q · s2 is at most 240, so four products are one 32-bit multiplication without carries. Two rows' parameters are one
 * word of bytes {s2[g], 128 + min[g], s2[g + 8], 128 + min[g + 8]}.
 *
 * - 'epilogue': the byte 128 + min is added without carries (the sum is w8 + 128, from 0 to 255) and enters the product
 *   unsigned; 128 · Σx is subtracted once. Five instructions for eight codes.
 * - 'register': min is added modulo 256, which leaves w8 as a signed byte. Six instructions more, but any byte min serves
 *   that gives the right w8 modulo 256.
 */
function w4a8Group(group: 32 | 64 | 128): WeightFormat<W4A8GroupParts> {
  const shape = { name: `w4a8-g${group}`, ...u4Shape, group, groupWords: 1 }
  /** The largest code of group `i`. */
  const largest = (codes: Uint8Array, i: number): number =>
    codes.subarray(i * group, (i + 1) * group).reduce((a, b) => Math.max(a, b))
  return {
    ...shape,
    tag: 'w4a8-group',
    activations: ['i8'],
    layout: u4Layout(shape),
    pack({ codes, groupScale, groupMin, wraps = false }, N, K) {
      const words = packU4(shape, codes, N, K)
      checkGroups(shape, 'groupScale', groupScale.length, N, K)
      checkGroups(shape, 'groupMin', groupMin.length, N, K)
      eachGroup(shape, N, K, (word, lower, i) => {
        const [scale, offset] = [groupScale[i]!, groupMin[i]! + 128]
        const fits = wraps || 15 * scale + offset <= 255 || largest(codes, i) * scale + offset <= 255
        if (scale > LARGEST_SCALE || !fits) refuse(shape.name, scale, offset - 128)
        words[word]! |= (scale | (offset << 8)) << (lower ? 16 : 0)
      })
      return words
    },
    unpack(words, N, K) {
      const groupScale = new Uint8Array((N * K) / group)
      const groupMin = new Int8Array((N * K) / group)
      eachGroup(shape, N, K, (word, lower, i) => {
        const bytes = words[word]! >>> (lower ? 16 : 0)
        groupScale[i] = bytes & 255
        groupMin[i] = ((bytes >>> 8) & 255) - 128
      })
      return { codes: unpackU4(shape, words, N, K), groupScale, groupMin }
    },
    types: (_x, zero) => (zero === 'register' ? 's8s8' : 'u8s8'),
    fragments(words, groups, zero) {
      return [lowNibbles, highNibbles].map((nibbles, step) => {
        // Groups of 32 columns are a k-step each.
        const parameters = groups[groups.length === 1 ? 0 : step]!
        const signed = zero === 'register' ? parameters ^ 0x80008000 : parameters
        return words.map((word, register) => {
          const row = 2 * (register % 2)
          const scaled =
            nibbles(word) * (row === 0 ? parameters & 255 : permuteBytes(parameters, 0, 0x4440 + row))
          const offset = byteOf(signed, row + 1)
          return zero === 'register' ? addBytes(scaled, offset) : scaled + offset
        })
      })
    },
    operand({ codes, groupScale, groupMin }, { n, k, K }, zero) {
      const at = n * (K / group) + Math.floor(k / group)
      const sum = codes[n * K + k]! * groupScale[at]! + groupMin[at]!
      return zero === 'register' ? (sum << 24) >> 24 : sum + 128
    },
  }
}

function refuse(format: string, scale: number, min: number): never {
  throw new RangeError(
    `format ${format} has a group of scale ${scale} and minimum ${min}, whose largest weight is ` +
      `no signed byte: quantize with weights of the first level within ±119, or pack it as one that wraps`,
  )
}

export const w4a8g128 = w4a8Group(128)
export const w4a8g64 = w4a8Group(64)
export const w4a8g32 = w4a8Group(32)
