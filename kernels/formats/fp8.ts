import { mma } from '../../dsl/atoms/index.ts'
import { unitOrder, type WeightFormat, type WeightParts } from '../../dsl/format.ts'
import { packWhole, unpackWhole } from './units.ts'

export interface Fp8Parts extends WeightParts {
  /** The bits of e4m3. */
  readonly codes: Uint8Array
}

const shape = { name: 'fp8', bits: 8, loads: 4, steps: 4, group: 0, groupWords: 0 } as const

/** Per-channel 8-bit floats beside activations of the same type: w = s1[n] · e4m3(q), s1 fp16. On `wgmma` alone. */
export const fp8: WeightFormat<Fp8Parts> = {
  ...shape,
  tag: 'fp8',
  activations: ['e4m3'],
  layout: (N, K) => unitOrder(shape, mma.m16n8k32.s8s8, N, K),
  pack: ({ codes }, N, K) => packWhole(shape, codes, N, K),
  unpack: (words, N, K) => ({ codes: new Uint8Array(unpackWhole(shape, words, N, K)) }),
  types: () => 'e4m3',
  fragments: (words) => [words],
  operand: ({ codes }, { n, k, K }) => codes[n * K + k]!,
}
