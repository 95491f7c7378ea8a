import { u8 } from '../../dsl/index.ts'
import { highNibbles, lowNibbles } from '../../dsl/std/index.ts'
import type { KvFormat } from './kv.ts'
import { affineDecode, affineEncode, affineEncoder } from './kv-affine.ts'

const LEVELS = 15

/**
 * 4-bit keys and values: an unsigned code per element, two to a byte with the even element in the low nibble; one fp16
 * scale and minimum per token and head.
 */
export const kv4: KvFormat = {
  name: 'kv4',
  bits: 4,
  params: true,
  store(pool, params, row, pairs, active) {
    const encode = affineEncoder(params!, row, pairs, active, LEVELS)
    pairs.forEach(({ column, values }, i) => {
      if (active[i]) {
        const byte = encode(values[0]) | (encode(values[1]) << 4)
        pool.put(u8(byte), row[0], row[1], row[2], column >> 1)
      }
    })
  },
  bytes: (word) => [lowNibbles(word), highNibbles(word)],
  encode: (values) => affineEncode(values, LEVELS),
  decode: affineDecode,
}
