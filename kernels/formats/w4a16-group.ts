import { mma } from '../../dsl/atoms/index.ts'
import { unitOrder, type WeightFormat, type WeightParts } from '../../dsl/format.ts'
import { f16Value, halves } from '../../dsl/half.ts'
import { fma, lop3, packBf16, permuteBytes, unpack2 } from '../../dsl/intrinsics.ts'
import { bf16x2, f16x2, f32, u32 } from '../../dsl/scalars.ts'
import { checkGroups, checkMatrix, eachGroup, packUnits, unpackUnits } from './units.ts'

/** Codes from 0 to 15, and for each group of a row its scale (the bits of an f16) and zero point (0 to 16). */
export interface W4A16Parts extends WeightParts {
  readonly codes: Uint8Array
  readonly scale: Uint16Array
  readonly zero: Uint8Array
}

/** The codes of one k-step in a word: one in each half. */
const STEP = 0x000f000f
/** GPTQ counts zero points from 1. */
const LARGEST_ZERO = 16

/** `(a & b) | c` */
const AND_OR = 0xea

/**
 * Asymmetric 4-bit weights with a scale and a zero point for each group of columns, beside 16-bit activations: the meaning
 * of AWQ and GPTQ, w = s[n, g] · (q − z[n, g]), rounded once to the type of the activations.
 *
 * A code becomes a float without a conversion: the bits of an f16 from 1024 to 2047 end in an integer, and so do those of
 * a bf16 from 128 to 255. Setting a code there and subtracting 1024 + z (128 + z) is exact; one product follows. Eight
 * codes take 13 instructions as f16 and 15 as bf16. Scales are kept as f16, which holds those of bf16 checkpoints from
 * 2⁻¹⁷ on exactly, and rounded to bf16 beside bf16 activations; one packed file serves both.
 *
 * Where GPTQ has reordered columns (`g_idx`), sort them by their group before packing, stably, and let what makes the
 * activations write them in that order: permute the rows of the preceding projections, or of the norm's weight and the
 * residual stream's users alike. The kernels know nothing of it.
 */
function w4a16Group(group: 32 | 64 | 128): WeightFormat<W4A16Parts> {
  const shape = { name: `w4a16-g${group}`, bits: 4, loads: 2, steps: 8, group, groupWords: 2 }
  return {
    ...shape,
    tag: 'w4a16-group',
    activations: ['f16', 'bf16'],
    layout: (N, K) => unitOrder(shape, mma.m16n8k16.f16, N, K),
    pack({ codes, scale, zero }, N, K) {
      checkMatrix(shape, codes.length, N, K)
      checkGroups(shape, 'scale', scale.length, N, K)
      checkGroups(shape, 'zero', zero.length, N, K)
      const words = packUnits(shape, N, K, (row, n) => {
        for (let i = 0, from = n * K; i < K / 2; i++, from += 2)
          row[i] = (codes[from]! & 15) | ((codes[from + 1]! & 15) << 16)
      })
      eachGroup(shape, N, K, (word, lower, i) => {
        if (zero[i]! > LARGEST_ZERO)
          throw new RangeError(
            `format ${shape.name} takes zero points from 0 to ${LARGEST_ZERO}, and group ${i} has ${zero[i]}`,
          )
        words[word]! |= scale[i]! << (lower ? 16 : 0)
        words[word + 1]! |= zero[i]! << (lower ? 16 : 0)
      })
      return words
    },
    unpack(words, N, K) {
      const codes = new Uint8Array(N * K)
      const scale = new Uint16Array((N * K) / group)
      const zero = new Uint8Array((N * K) / group)
      unpackUnits(shape, words, N, K, STEP, (row, n) => {
        for (let i = 0, to = n * K; i < K / 2; i++, to += 2) {
          codes[to] = row[i]!
          codes[to + 1] = row[i]! >>> 16
        }
      })
      eachGroup(shape, N, K, (word, lower, i) => {
        scale[i] = words[word]! >>> (lower ? 16 : 0)
        zero[i] = words[word + 1]! >>> (lower ? 16 : 0)
      })
      return { codes, scale, zero }
    },
    types: (x) => (x === 'bf16' ? 'bf16' : 'f16'),
    fragments(words, groups, _zero, x) {
      return [0, 1, 2, 3].map((step) => {
        // Groups of 32 columns are two k-steps each.
        const first = groups.length === 2 ? 0 : 2 * Math.floor(step / 2)
        const [scales, zeros] = [groups[first]!, groups[first + 1]!]
        return words.map((word, register) => {
          const row = register % 2
          return x === 'bf16'
            ? bf16Codes(word, step, bothHalves(zeros, row), scaleBf16(scales, row))
            : f16Codes(word, step, bothHalves(zeros, row), f16x2.bits(bothHalves(scales, row)))
        })
      })
    },
    operand({ codes, scale, zero }, { n, k, K }, _zero, x) {
      const at = n * (K / group) + Math.floor(k / group)
      const { bits, value } = halves[x === 'bf16' ? 'bf16' : 'f16']
      return bits((codes[n * K + k]! - zero[at]!) * value(bits(f16Value(scale[at]!))))
    },
  }
}

/** The half of a word that belongs to row g (0) or g + 8 (1), twice. */
const bothHalves = (word: u32, row: number): u32 => permuteBytes(word, 0, row === 0 ? 0x1010 : 0x3232)

/** The scale of a row, rounded to bf16, twice. */
function scaleBf16(scales: u32, row: number): bf16x2 {
  const scale = f32(unpack2(f16x2.bits(scales))[row]!)
  return packBf16(scale, scale)
}

/** `s · (q − z)` of the two codes of k-step `step` (0 to 3) in a word. */
function f16Codes(word: u32, step: number, zero: u32, scale: f16x2): u32 {
  const codes = step < 2 ? word : word >>> 8
  if (step % 2 === 0) {
    const biased = f16x2.bits(lop3(codes, STEP, 0x64006400, AND_OR))
    return u32.bits((biased - f16x2.bits(zero | 0x64006400)) * scale)
  }
  // Four bits higher a code counts sixteenfold, 1024 + 16q: a sixteenth of it is 64 + q.
  const biased = f16x2.bits(lop3(codes, STEP << 4, 0x64006400, AND_OR))
  const less = f16x2.bits((zero << 4) | 0xd400d400)
  return u32.bits(fma(biased, f16x2.bits(0x2c002c00), less) * scale)
}

/** The same in bf16, whose mantissa has no room for codes four bits higher. */
function bf16Codes(word: u32, step: number, zero: u32, scale: bf16x2): u32 {
  const biased = bf16x2.bits(lop3(word >>> (4 * step), STEP, 0x43004300, AND_OR))
  return u32.bits((biased - bf16x2.bits(zero | 0x43004300)) * scale)
}

export const w4a16g128 = w4a16Group(128)
export const w4a16g64 = w4a16Group(64)
export const w4a16g32 = w4a16Group(32)
