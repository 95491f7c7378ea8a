import { each, f32, loadWords, store, u8 } from '../../dsl/index.ts'
import type { KvFormat } from './kv.ts'
import { affineDecode, affineEncode, affineEncoder, loadAffine } from './kv-affine.ts'

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
  codes(pool, row, column, count) {
    const words = loadWords(pool, [row[0], row[1], row[2], column], count / 4)
    return words.flatMap((word) => each(4, (i) => f32((word >>> (8 * i)) & 255)))
  },
  scaleAndMin: (params, row) => loadAffine(params!, row),
  encode: (values) => affineEncode(values, LEVELS),
  decode: affineDecode,
}
