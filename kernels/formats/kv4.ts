import type { KvFormat } from './kv.ts'
import { affineDecode, affineEncode } from './kv-affine.ts'

const LEVELS = 15

/**
 * 4-bit keys and values: an unsigned code per element, two to a byte with the even element in the low nibble; one fp16
 * scale and minimum per token and head.
 */
export const kv4: KvFormat = {
  name: 'kv4',
  bits: 4,
  params: true,
  encode: (values) => affineEncode(values, LEVELS),
  decode: affineDecode,
}
