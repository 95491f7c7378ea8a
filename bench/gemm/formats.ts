import { type WeightFormatName, weightFormats } from '../../kernels/formats/index.ts'

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
