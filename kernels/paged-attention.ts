import {
  barrier,
  blockIdx,
  ceilDiv,
  type Elem,
  each,
  type f16,
  f32,
  fma,
  type In,
  type i32,
  idiv,
  kernel,
  LOG2E,
  laneIdx,
  type Out,
  range,
  regs,
  shared,
  staticAssert,
  store,
  threadIdx,
  to,
  unroll,
  warpIdx,
} from '../dsl/index.ts'
import { exp2Exact, warpMax, warpSum } from '../dsl/std/index.ts'
import { type KvConfig, kvFormats, PAGE_TOKENS } from './formats/kv.ts'

export interface PagedAttentionConfig extends KvConfig {
  readonly dtype: 'f16' | 'bf16'
  readonly D: number
  readonly Hq: number
  readonly Hkv: number
  /** Columns of `q` and `out`: Hq·D. */
  readonly HqD: number
}

const THREADS = 128
const WARPS = THREADS / 32

/**
 * Causal attention over the paged key/value cache, for queries of any number and position: token `t` attends to the
 * positions 0…positions[t] of the sequence whose pages are row `sequence[t]` of `pages`.
 *
 * One CTA takes one token and one key/value head with all query heads of its group. Pages are visited in order with an
 * online softmax in f32, so a token's result depends on its own context alone: not on the batch, nor on how a prompt
 * was cut into steps. Keys and values are read as codes; scales and minima are applied after the products:
 *
 *   score = scale_k · Σ q·code + min_k · Σ q          out = Σ (p · scale_v) · code + Σ p · min_v
 *
 * Per page: (1) scores, a thread per (query head, token); (2) softmax, a warp per query head; (3) values, a thread per
 * (query head, two columns).
 */
export const pagedAttention = kernel(
  import.meta.url,
  {
    grid: (d, c: PagedAttentionConfig) => [d.T!, c.Hkv],
    block: [THREADS],
  },
  function pagedAttention(
    a: {
      q: In<Elem<'dtype'>, 'T HqD'>
      sequence: In<i32, 'T'>
      positions: In<i32, 'T'>
      pages: In<i32, 'B MaxPages'>
      k: In<Elem<'kvElement'>, 'Pages Hkv 64 DC'>
      v: In<Elem<'kvElement'>, 'Pages Hkv 64 DC'>
      kParams?: In<f16, 'Pages Hkv 64 2'>
      vParams?: In<f16, 'Pages Hkv 64 2'>
      /** Factor of the scores, usually 1/√D. */
      scale: f32
      out: Out<Elem<'dtype'>, 'T HqD'>
    },
    c: PagedAttentionConfig,
  ) {
    const group = c.Hq / c.Hkv
    const columnPairs = c.D / 2
    staticAssert(Number.isInteger(group), 'query heads must be a multiple of key/value heads')
    staticAssert(c.D % 32 === 0, 'the head dimension must be a multiple of 32')
    const format = kvFormats[c.kv]
    const token = blockIdx.x
    const head = blockIdx.y
    const position = a.positions.at(token)
    const sequence = a.sequence.at(token)

    const queries = shared<f32>('f32', [group, c.D])
    const querySums = shared<f32>('f32', [group])
    /** Scores, then probabilities times the value scale. */
    const weights = shared<f32>('f32', [group, PAGE_TOKENS])
    /** Per query head: the factor of what was accumulated so far, and Σ p · min_v of this page. */
    const rescale = shared<f32>('f32', [group])
    const offsets = shared<f32>('f32', [group])
    const totals = shared<f32>('f32', [group])

    // Queries in units of log2, so that the softmax is of powers of two.
    for (const i of unroll(ceilDiv(group * c.D, THREADS))) {
      const element = threadIdx.x + i * THREADS
      if (element < group * c.D) {
        const value = f32(a.q.at(token, head * group * c.D + element))
        queries.put(value * a.scale * LOG2E, idiv(element, c.D), element % c.D)
      }
    }
    barrier()
    const myHeads = each(ceilDiv(group, WARPS), (i) => ({
      head: warpIdx + i * WARPS,
      max: f32(f32.lowest),
      sum: f32(0),
    }))
    for (const mine of myHeads) {
      if (mine.head < group) {
        let sum = f32(0)
        for (const i of unroll(c.D / 32)) sum += queries.at(mine.head, laneIdx + 32 * i)
        const total = warpSum(sum)
        if (laneIdx === 0) querySums.put(total, mine.head)
      }
    }
    barrier()

    // This thread's share of the output: pairs of columns of query heads.
    const items = each(ceilDiv(group * columnPairs, THREADS), (i) => {
      const item = threadIdx.x + i * THREADS
      return { item, head: idiv(item, columnPairs), pair: item % columnPairs, out: regs(2, f32(0)) }
    })

    for (const index of range(idiv(position, PAGE_TOKENS) + 1)) {
      const page = a.pages.at(sequence, index)
      const live = position + 1 - index * PAGE_TOKENS

      for (const i of unroll(ceilDiv(group * PAGE_TOKENS, THREADS))) {
        const item = threadIdx.x + i * THREADS
        if (item < group * PAGE_TOKENS) {
          const queryHead = idiv(item, PAGE_TOKENS)
          const t = item % PAGE_TOKENS
          let score = f32(f32.lowest)
          if (t < live) {
            const row = [page, head, t] as const
            const [scale, min] = format.scaleAndMin(a.kParams, row)
            score = scale * format.dot(a.k, row, queries.row(queryHead), c.D) + min * querySums.at(queryHead)
          }
          weights.put(score, queryHead, t)
        }
      }
      barrier()

      for (const mine of myHeads) {
        if (mine.head < group) {
          const tokens = [laneIdx, laneIdx + 32]
          const scores = tokens.map((t) => weights.at(mine.head, t))
          const max = Math.max(mine.max, warpMax(Math.max(scores[0]!, scores[1]!)))
          const keep = exp2Exact(mine.max - max)
          let sum = f32(0)
          let offset = f32(0)
          tokens.forEach((t, i) => {
            let weight = f32(0)
            if (t < live) {
              const [scale, min] = format.scaleAndMin(a.vParams, [page, head, t])
              const p = exp2Exact(scores[i]! - max)
              sum += p
              offset += p * min
              weight = p * scale
            }
            weights.put(weight, mine.head, t)
          })
          mine.sum = mine.sum * keep + warpSum(sum)
          mine.max = max
          const pageOffset = warpSum(offset)
          if (laneIdx === 0) {
            rescale.put(keep, mine.head)
            offsets.put(pageOffset, mine.head)
            totals.put(mine.sum, mine.head)
          }
        }
      }
      barrier()

      for (const { item, head: queryHead, pair, out } of items) {
        if (item < group * columnPairs) {
          const keep = rescale.at(queryHead)
          const offset = offsets.at(queryHead)
          let first = out[0]! * keep + offset
          let second = out[1]! * keep + offset
          for (const t of range(Math.min(live, PAGE_TOKENS))) {
            const weight = weights.at(queryHead, t)
            const [x, y] = format.pair(a.v, [page, head, t], pair)
            first = fma(weight, x, first)
            second = fma(weight, y, second)
          }
          out[0] = first
          out[1] = second
        }
      }
      barrier()
    }

    for (const { item, head: queryHead, pair, out } of items) {
      if (item < group * columnPairs) {
        const norm = 1 / totals.at(queryHead)
        store(
          a.out,
          [token, (head * group + queryHead) * c.D + 2 * pair],
          out.map((value) => to(c.dtype, value * norm)),
        )
      }
    }
  },
)

/**
 * Attention of one query over `keys` and `values` (each a head's vectors, oldest first, as the cache returns them), in
 * float64.
 */
export function attentionReference(
  q: Float64Array,
  keys: readonly Float64Array[],
  values: readonly Float64Array[],
  scale: number,
): Float64Array {
  const scores = keys.map((key) => scale * key.reduce((sum, x, d) => sum + x * q[d]!, 0))
  const max = Math.max(...scores)
  const weights = scores.map((score) => Math.exp(score - max))
  const total = weights.reduce((a, b) => a + b, 0)
  return q.map((_, d) => values.reduce((sum, value, t) => sum + (weights[t]! / total) * value[d]!, 0))
}
