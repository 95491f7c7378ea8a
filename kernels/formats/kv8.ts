import { f32, load, loadWords, store, u8, u32, unroll } from '../../dsl/index.ts'
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
  dot(pool, row, q, D) {
    let sum = f32(0)
    for (const first of unroll(0, D, 16)) {
      const words = loadWords(pool, [row[0], row[1], row[2], first], 4)
      words.forEach((word, w) => {
        for (const i of unroll(4)) sum += q.at(first + 4 * w + i) * f32((word >>> (8 * i)) & 255)
      })
    }
    return sum
  },
  pair(pool, row, pair) {
    const [first, second] = load(pool, [row[0], row[1], row[2], 2 * pair], 2)
    return [f32(u32(first!)), f32(u32(second!))]
  },
  scaleAndMin: (params, row) => loadAffine(params!, row),
  encode: (values) => affineEncode(values, LEVELS),
  decode: affineDecode,
}
