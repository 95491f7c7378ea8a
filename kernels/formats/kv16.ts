import { halves } from '../../dsl/half.ts'
import type { KvFormat } from './kv.ts'

/** Keys and values as they are, in the activations' own 16-bit type: no scale, no minimum. */
export const kv16: KvFormat = {
  name: 'kv16',
  bits: 16,
  params: false,
  encode: (values, dtype) => ({
    codes: Uint16Array.from(values, halves[dtype].bits),
    params: [],
  }),
  decode: ({ codes }, dtype) => Float64Array.from(codes, halves[dtype].value),
}
