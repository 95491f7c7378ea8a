import type { WeightFormatName } from '../../kernels/formats/index.ts'

/** A format as the bench names it: how weights are packed, and the 16-bit type of what is around them. */
export interface BenchFormat {
  readonly name: string
  readonly weights: WeightFormatName
  readonly dtype: 'f16' | 'bf16'
}

/** In the order of the tables. */
export const benchFormats: readonly BenchFormat[] = [
  { name: 'w4a8', weights: 'w4a8', dtype: 'f16' },
  { name: 'w4a8-g128', weights: 'w4a8-g128', dtype: 'f16' },
  { name: 'w4a8-fp8', weights: 'w4a8-fp8', dtype: 'f16' },
  { name: 'w4a16-g128', weights: 'w4a16-g128', dtype: 'f16' },
  { name: 'w8a8', weights: 'w8a8', dtype: 'f16' },
  { name: 'fp8', weights: 'fp8', dtype: 'f16' },
  { name: 'f16', weights: 'w16', dtype: 'f16' },
  { name: 'bf16', weights: 'w16', dtype: 'bf16' },
]
