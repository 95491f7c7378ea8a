import { mma } from '../../dsl/atoms/index.ts'
import { unitOrder, type WeightFormat, type WeightParts } from '../../dsl/format.ts'
import { packWhole, unpackWhole } from './units.ts'

export interface W8A8Parts extends WeightParts {
  readonly codes: Int8Array
}

const shape = { name: 'w8a8', bits: 8, loads: 4, steps: 4, group: 0, groupWords: 0 } as const

/** Per-channel signed bytes beside 8-bit activations: w = s1[n] · q, q from −127 to 127, s1 fp16. */
export const w8a8: WeightFormat<W8A8Parts> = {
  ...shape,
  tag: 'w8a8',
  activations: ['i8'],
  layout: (N, K) => unitOrder(shape, mma.m16n8k32.s8s8, N, K),
  pack: ({ codes }, N, K) => packWhole(shape, codes, N, K),
  unpack: (words, N, K) => ({ codes: new Int8Array(unpackWhole(shape, words, N, K)) }),
  types: () => 's8s8',
  fragments: (words) => [words],
  operand: ({ codes }, { n, k, K }) => codes[n * K + k]!,
}
