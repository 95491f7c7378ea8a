import { mma } from '../../dsl/atoms/index.ts'
import { unitOrder, type WeightFormat, type WeightParts } from '../../dsl/format.ts'
import { packWhole, unpackWhole } from './units.ts'

export interface W16Parts extends WeightParts {
  /** The bits of f16 or bf16. */
  readonly codes: Uint16Array
}

const shape = { name: 'w16', bits: 16, loads: 8, steps: 8, group: 0, groupWords: 0 } as const

/** Weights as f16 or bf16 beside activations of the same type; a code is the 16 bits of the float. */
export const w16: WeightFormat<W16Parts> = {
  ...shape,
  tag: 'w16',
  activations: ['f16', 'bf16'],
  layout: (N, K) => unitOrder(shape, mma.m16n8k16.f16, N, K),
  pack: ({ codes }, N, K) => packWhole(shape, codes, N, K),
  unpack: (words, N, K) => ({ codes: new Uint16Array(unpackWhole(shape, words, N, K)) }),
  types: (x) => (x === 'bf16' ? 'bf16' : 'f16'),
  fragments: (words) => [words],
  operand: ({ codes }, { n, k, K }) => codes[n * K + k]!,
}
