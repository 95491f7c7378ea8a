import { store, u8 } from '../../dsl/index.ts'
import type { KvFormat } from './kv.ts'
import { affineDecode, affineEncode, affineEncoder } from './kv-affine.ts'

const LEVELS = 255

/** 8-bit keys and values: an unsigned code per element; one fp16 scale and minimum per token and head. */
export const kv8: KvFormat = {
  name: 'kv8',
  bits: 8,
  params: true,
  store(pool, params, row, pairs, active) {
    const encode = affineEncoder(params!, row, pairs, active, LEVELS)
    pairs.forEach(({ column, values }, i) => {
      if (active[i]) {
        const codes = values.map((value) => u8(encode(value)))
        store(pool, [row[0], row[1], row[2], column], codes)
      }
    })
  },
  bytes: (word) => [word],
  encode: (values) => affineEncode(values, LEVELS),
  decode: affineDecode,
}
