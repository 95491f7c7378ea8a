import type { WeightFormat, WeightParts } from '../../dsl/format.ts'
import { bf16FromF32, f16FromF32 } from '../../dsl/half.ts'
import { type WeightFormatName, weightFormats } from '../../kernels/formats/index.ts'
import type { Rng } from '../../test/support/rng.ts'

/** A format as the bench names it: how weights are packed, and the 16-bit type of what is around them. */
export interface BenchFormat {
  readonly name: string
  readonly weights: WeightFormatName
  readonly dtype: 'f16' | 'bf16'
}

/** In the order of the tables. */
const known: readonly (readonly [name: string, weights: string, dtype: 'f16' | 'bf16'])[] = [
  ['w4a8', 'w4a8', 'f16'],
  ['w4a8-g128', 'w4a8-g128', 'f16'],
  ['w4a8-fp8', 'w4a8-fp8', 'f16'],
  ['w4a16-g128', 'w4a16-g128', 'f16'],
  ['w8a8', 'w8a8', 'f16'],
  ['fp8', 'fp8', 'f16'],
  ['f16', 'w16', 'f16'],
  ['bf16', 'w16', 'bf16'],
]

/** The formats that the registry has. */
export const benchFormats: readonly BenchFormat[] = known.flatMap(([name, weights, dtype]) =>
  Object.hasOwn(weightFormats, weights) ? [{ name, weights: weights as WeightFormatName, dtype }] : [],
)

/** Random weights [rows, K] of a format, as far from zero as a model's. */
export function randomParts(
  { weights, dtype }: BenchFormat,
  rows: number,
  K: number,
  random: Rng,
): WeightParts {
  const format: WeightFormat = weightFormats[weights]
  const count = rows * K
  if (weights === 'w16') {
    const values = Float32Array.from({ length: count }, () => 0.02 * random.normal())
    return { codes: dtype === 'f16' ? f16FromF32(values) : bf16FromF32(values) }
  }
  if (weights === 'w8a8') return { codes: Int8Array.from({ length: count }, () => random.integer(-127, 127)) }
  if (format.bits === 8) {
    // Any 8-bit float but the two that are no number.
    const codes = Uint8Array.from(
      { length: count },
      () => random.integer(0, 126) | (random.integer(0, 1) << 7),
    )
    return { codes }
  }
  const codes = Uint8Array.from({ length: count }, () => random.integer(0, 15))
  if (format.group === 0) {
    const zero = Uint8Array.from({ length: rows }, () => random.integer(0, 15))
    return { codes, zero } as WeightParts
  }
  const groups = count / format.group
  if (weights.startsWith('w4a16')) {
    const scale = f16FromF32(Float32Array.from({ length: groups }, () => 0.002 + 0.002 * random.uniform()))
    const zero = Uint8Array.from({ length: groups }, () => random.integer(0, 15))
    return { codes, scale, zero } as WeightParts
  }
  const groupScale = Uint8Array.from({ length: groups }, () => random.integer(1, 16))
  const groupMin = Int8Array.from(groupScale, (scale) => random.integer(-119, 126 - 15 * scale))
  return { codes, groupScale, groupMin } as WeightParts
}
