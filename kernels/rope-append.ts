import {
  blockIdx,
  ceilDiv,
  type Elem,
  each,
  type f16,
  f32,
  type In,
  type InOut,
  type i32,
  kernel,
  laneIdx,
  load,
  type Out,
  staticAssert,
  store,
  to,
  warpIdx,
} from '../dsl/index.ts'
import { type KvConfig, kvFormats } from './formats/kv.ts'

export interface RopeAppendConfig extends KvConfig {
  readonly dtype: 'f16' | 'bf16'
  /** Head dimension, a multiple of 32. */
  readonly D: number
  /** Query heads and key/value heads. */
  readonly Hq: number
  readonly Hkv: number
  /** Columns of `qkv`: (Hq + 2·Hkv)·D. */
  readonly QKV: number
  /** Columns of `q`: Hq·D. */
  readonly HqD: number
}

const WARPS = 4

/**
 * Rotates queries and keys by their positions, and appends keys and values to the paged cache in the cache's format.
 *
 * One warp takes one head of one token: first the query heads, then the keys, then the values. A lane owns the elements
 * 2g and 2g + 1 and their rotation partners at + D/2 (Hugging Face's rotate-half pairing), so that two neighbouring
 * 4-bit codes meet in one lane.
 *
 * `slots` says where a token's key and value go, page · 64 + offset; those of a negative slot are not kept (padding).
 * `cosSin` holds, per position, the cosines of the D/2 angles and then their sines.
 */
export const ropeAppend = kernel(
  import.meta.url,
  {
    grid: (d, c: RopeAppendConfig) => [d.T!, ceilDiv(c.Hq + 2 * c.Hkv, WARPS)],
    block: [32 * WARPS],
  },
  function ropeAppend(
    a: {
      qkv: In<Elem<'dtype'>, 'T QKV'>
      positions: In<i32, 'T'>
      slots: In<i32, 'T'>
      cosSin: In<f32, 'P D'>
      q: Out<Elem<'dtype'>, 'T HqD'>
      k: InOut<Elem<'kvElement'>, 'Pages Hkv 64 DC'>
      v: InOut<Elem<'kvElement'>, 'Pages Hkv 64 DC'>
      kParams?: InOut<f16, 'Pages Hkv 64 2'>
      vParams?: InOut<f16, 'Pages Hkv 64 2'>
    },
    c: RopeAppendConfig,
  ) {
    staticAssert(c.D % 32 === 0, 'the head dimension must be a multiple of 32')
    const token = blockIdx.x
    const head = blockIdx.y * WARPS + warpIdx
    const slot = a.slots.at(token)
    const half = c.D / 2

    // Groups of two elements in each half of the head, dealt to lanes in turn; some lanes hold none when D < 128.
    const groups = each(ceilDiv(c.D / 4, 32), (i) => {
      const group = laneIdx + 32 * i
      return { column: 2 * group, active: 4 * group < c.D }
    })

    if (head < c.Hq + 2 * c.Hkv && (head < c.Hq || slot >= 0)) {
      const base = head * c.D
      const rotated = head < c.Hq + c.Hkv
      const pairs = groups.flatMap(({ column, active }) => {
        const low = [f32(0), f32(0)]
        const high = [f32(0), f32(0)]
        if (active) {
          const x = load(a.qkv, [token, base + column], 2).map((value) => f32(value))
          const y = load(a.qkv, [token, base + column + half], 2).map((value) => f32(value))
          if (rotated) {
            const position = a.positions.at(token)
            const cos = load(a.cosSin, [position, column], 2)
            const sin = load(a.cosSin, [position, column + half], 2)
            for (const i of [0, 1]) {
              low[i] = x[i]! * cos[i]! - y[i]! * sin[i]!
              high[i] = y[i]! * cos[i]! + x[i]! * sin[i]!
            }
          } else {
            for (const i of [0, 1]) {
              low[i] = x[i]!
              high[i] = y[i]!
            }
          }
        }
        return [
          { column, values: [low[0]!, low[1]!] as const, active },
          { column: column + half, values: [high[0]!, high[1]!] as const, active },
        ]
      })

      if (head < c.Hq) {
        for (const { column, values, active } of pairs) {
          if (active)
            store(
              a.q,
              [token, base + column],
              values.map((value) => to(c.dtype, value)),
            )
        }
      } else {
        const format = kvFormats[c.kv]
        const active = pairs.map((pair) => pair.active)
        const page = slot >> 6
        const offset = slot & 63
        if (rotated) format.store(a.k, a.kParams, [page, head - c.Hq, offset], pairs, active)
        else format.store(a.v, a.vParams, [page, head - c.Hq - c.Hkv, offset], pairs, active)
      }
    }
  },
)

/**
 * One rotated head, with the roundings of the kernel: `x` is the head's vector, `cosSin` the D/2 cosines and then the
 * sines of its position.
 */
export function ropeReference(x: Float64Array, cosSin: Float32Array): Float64Array {
  const half = x.length / 2
  return x.map((value, i) => {
    const [cos, sin] = [cosSin[i % half]!, cosSin[half + (i % half)]!]
    const partner = i < half ? -x[i + half]! : x[i - half]!
    return Math.fround(Math.fround(value * cos) + Math.fround(partner * sin))
  })
}
