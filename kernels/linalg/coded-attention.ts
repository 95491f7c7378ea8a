import {
  barrier,
  blockIdx,
  each,
  f32,
  fma,
  type In,
  i32,
  idiv,
  kernel,
  laneIdx,
  type Out,
  range,
  regs,
  type Shared,
  shared,
  staticAssert,
  threadIdx,
  u8,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { warpMax } from '../../dsl/std/index.ts'
import {
  addSums,
  EXPONENT_BIAS,
  NO_REFERENCE,
  probability,
  probabilityBits,
  queryCode,
  queryRate,
  queryStep,
  rescale,
  SPLIT,
  STRANDS,
  score,
  strandOf,
  UNIT,
  unitReference,
  valueRate,
  valueStep,
} from '../attention/arithmetic.ts'
import type { CausalAttentionConfig } from './causal-attention.ts'
import { type FakeHeadsConfig, headCodes } from './heads.ts'

const WARPS = 4

/**
 * The codes of the heads of each row, and their scales and minima, as the key/value cache has them
 * (`kernels/formats/kv-affine.ts`); `ratio` as `fakeQuantizeHeads` has it. A warp takes a head.
 */
export const encodeHeads = kernel(
  import.meta.url,
  { grid: (d, c: FakeHeadsConfig) => [d.T!, ceilDiv(d.C! / c.D, WARPS)], block: [32 * WARPS] },
  function encodeHeads(
    a: { codes: Out<u8, 'T C'>; params: Out<f32, 'T H 2'>; m: In<f32, 'T C'>; ratio: f32 },
    c: FakeHeadsConfig,
  ) {
    const row = blockIdx.x
    const head = blockIdx.y * WARPS + warpIdx
    if (head >= a.params.dim('H')) return
    const { scale, offset } = headCodes(a.m, row, head * c.D, a.ratio, c, (code, column) => {
      a.codes.put(u8(i32.round(code)), row, column)
    })
    if (laneIdx === 0) {
      a.params.put(scale, row, head, 0)
      a.params.put(offset, row, head, 1)
    }
  },
)

/**
 * Attention over coded keys and values within windows of L rows, in the arithmetic of the engine's kernels
 * (`kernels/attention/arithmetic.ts`), bit for bit, and simple otherwise: a CTA for a row of a head, a thread for a token of
 * a unit, and for columns of the result.
 */
export const codedAttention = kernel(
  import.meta.url,
  { grid: (d, c: CausalAttentionConfig) => [d.T!, c.heads], block: [UNIT] },
  function codedAttention(
    a: {
      dst: Out<f32, 'T QC'>
      q: In<f32, 'T QC'>
      keys: In<u8, 'T KC'>
      keyParams: In<f32, 'T H 2'>
      values: In<u8, 'T KC'>
      valueParams: In<f32, 'T H 2'>
      scale: f32
    },
    c: CausalAttentionConfig,
  ) {
    const { D, L } = c
    const parts = ceilDiv(D, UNIT)
    staticAssert(D % 32 === 0, 'a head has a multiple of 32 columns')
    const query = shared<i32>('i32', [D])
    const shares = shared<f32>('f32', [UNIT, 2])
    const weights = shared<i32>('i32', [UNIT])
    const strands = shared<f32>('f32', [STRANDS, 2])
    const scratch = shared<f32>('f32', [UNIT / 32])
    const row = blockIdx.x
    const head = blockIdx.y
    const kvHead = idiv(head, c.heads / c.kvHeads)
    const position = row % L
    const window = row - position
    const from = c.sliding > 0 ? Math.max(position - (c.sliding - 1), 0) : 0

    let own: f32 = f32(0)
    for (const d of range(threadIdx.x, D, UNIT)) own = Math.max(own, Math.abs(a.q.at(row, head * D + d)))
    const top = blockMax(own, scratch)
    const rate = queryRate(top)
    const step = queryStep(top, a.scale)
    for (const d of range(threadIdx.x, D, UNIT)) query.put(queryCode(a.q.at(row, head * D + d), rate), d)
    barrier()
    let sum: i32 = i32(0)
    for (const d of range(0, D, 1)) sum = sum + query.at(d)

    const all = { reference: f32(NO_REFERENCE), total: f32(0), offset: f32(0) }
    const allCodes = regs(parts, f32(0))
    for (const split of range(idiv(from, SPLIT) * SPLIT, position + 1, SPLIT)) {
      const sums = { reference: f32(NO_REFERENCE), total: f32(0), offset: f32(0) }
      const codes = regs(parts, f32(0))
      const end = Math.min(split + SPLIT, position + 1)
      for (const unit of range(split, end, UNIT)) {
        if (unit + UNIT > from) {
          const token = unit + threadIdx.x
          const live = token >= from && token <= position
          const at = window + Math.min(token, position)
          let product: i32 = i32(0)
          for (const d of range(0, D, 1)) product = product + query.at(d) * i32(a.keys.at(at, kvHead * D + d))
          const value = score(product, a.keyParams.at(at, kvHead, 0), a.keyParams.at(at, kvHead, 1), f32(sum))
          const scale = a.valueParams.at(at, kvHead, 0)
          const largest = blockMax(live ? value : f32.lowest, scratch)
          const widest = blockMax(live ? scale : f32(0), scratch)
          const reference = unitReference(largest, step)
          const p = live ? probability(value, step, EXPONENT_BIAS - reference) : f32(0)
          shares.put(p, threadIdx.x, 0)
          shares.put(a.valueParams.at(at, kvHead, 1), threadIdx.x, 1)
          weights.put(
            live ? i32(probabilityBits(p, scale * valueRate(widest)) & 0xffff) : i32(0),
            threadIdx.x,
          )
          barrier()
          if (threadIdx.x < STRANDS) {
            let total: f32 = f32(0)
            let offset: f32 = f32(0)
            for (const t of range(0, UNIT, 1))
              if (strandOf(t) === threadIdx.x) {
                total = total + shares.at(t, 0)
                offset = fma(shares.at(t, 0), shares.at(t, 1), offset)
              }
            strands.put(total, threadIdx.x, 0)
            strands.put(offset, threadIdx.x, 1)
          }
          barrier()
          const part = { reference, total: sumStrands(strands, 0), offset: sumStrands(strands, 1) }
          const change = rescale(sums.reference, reference)
          const factor = valueStep(widest) * change.factor
          for (const i of unroll(parts)) {
            const column = Math.min(threadIdx.x + i * UNIT, D - 1)
            let exact: i32 = i32(0)
            for (const t of range(0, Math.min(UNIT, position + 1 - unit), 1))
              exact = exact + weights.at(t) * i32(a.values.at(window + unit + t, kvHead * D + column))
            codes[i] = fma(f32(exact), factor, codes[i]! * change.keep)
          }
          const next = addSums(sums, part, change)
          sums.reference = next.reference
          sums.total = next.total
          sums.offset = next.offset
          barrier()
        }
      }
      const change = rescale(all.reference, sums.reference)
      for (const i of unroll(parts)) allCodes[i] = fma(codes[i]!, change.factor, allCodes[i]! * change.keep)
      const next = addSums(all, sums, change)
      all.reference = next.reference
      all.total = next.total
      all.offset = next.offset
    }
    const share = 1 / all.total
    for (const i of unroll(parts)) {
      const column = threadIdx.x + i * UNIT
      if (column < D) a.dst.put((allCodes[i]! + all.offset) * share, row, head * D + column)
    }
  },
)

/** The largest value that a thread of the CTA has, for all. Holds two barriers. */
function blockMax(value: f32, scratch: Shared<f32>): f32 {
  const most = warpMax(value)
  barrier()
  if (laneIdx === 0) scratch.put(most, warpIdx)
  barrier()
  return each(UNIT / 32, (warp) => scratch.at(warp)).reduce((x, y) => Math.max(x, y))
}

/** Neighbouring strands, then pairs of strands, then halves. */
function sumStrands(strands: Shared<f32>, which: 0 | 1): f32 {
  const pairs = each(STRANDS / 2, (i) => strands.at(2 * i, which) + strands.at(2 * i + 1, which))
  return pairs[0]! + pairs[1]! + (pairs[2]! + pairs[3]!)
}
