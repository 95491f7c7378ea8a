import type { KvFormat } from './kv.ts'
import { affineDecode, affineEncode } from './kv-affine.ts'

const LEVELS = 255

/** 8-bit keys and values: an unsigned code per element; one fp16 scale and minimum per token and head. */
export const kv8: KvFormat = {
  name: 'kv8',
  bits: 8,
  params: true,
  encode: (values) => affineEncode(values, LEVELS),
  decode: affineDecode,
}
