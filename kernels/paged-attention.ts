import {
  barrier,
  blockIdx,
  ceilDiv,
  type Elem,
  each,
  type f16,
  f32,
  type In,
  type i32,
  idiv,
  kernel,
  LOG2E,
  laneIdx,
  load,
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

/** Threads that share a token's key. */
const PARTS = THREADS / PAGE_TOKENS

/** Columns of the values that a thread sums. */
const COLUMNS = 8

/** Query heads of a CTA: all that share a key/value head, or a part of them where the sums would not fit registers. */
function headsPerBlock(group: number): number {
  const parts = Array.from({ length: group }, (_, i) => i + 1).find((n) => group % n === 0 && group / n <= 8)
  return group / (parts ?? 1)
}

/**
 * Causal attention over the paged key/value cache, for queries of any number and position: token `t` attends to the
 * positions 0…positions[t] of the sequence whose pages are row `sequence[t]` of `pages`.
 *
 * One CTA takes one token and the query heads of one key/value head. Pages are visited in order with an online softmax in
 * f32, so a token's result depends on its own context alone: not on the batch, nor on how a prompt was cut into steps.
 * Keys and values are read as codes, each code once for all query heads; scales and minima are applied after the products:
 *
 *   score = scale_k · Σ q·code + min_k · Σ q          out = Σ (p · scale_v) · code + Σ p · min_v
 *
 * Products are multiplied and added one after the other: `fma` would save a GPU a third of its work here, but costs the
 * emulator two and a half times as much.
 *
 * Per page: (1) products, two threads a token; (2) softmax, a warp a query head; (3) values, a thread per eight columns
 * and every n-th token, whose sums meet at the end.
 */
export const pagedAttention = kernel(
  import.meta.url,
  {
    grid: (d, c: PagedAttentionConfig) => [d.T!, c.Hq / headsPerBlock(c.Hq / c.Hkv)],
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
    staticAssert(c.Hq % c.Hkv === 0, 'query heads must be a multiple of key/value heads')
    staticAssert(c.D % 32 === 0, 'the head dimension must be a multiple of 32')
    const heads = headsPerBlock(c.Hq / c.Hkv)
    const format = kvFormats[c.kv]
    const token = blockIdx.x
    const firstHead = blockIdx.y * heads
    const kvHead = idiv(firstHead, c.Hq / c.Hkv)
    const position = a.positions.at(token)
    const sequence = a.sequence.at(token)

    /** The part of a key that a thread takes; rows are set apart so that both parts of a query lie in different banks. */
    const width = c.D / PARTS
    const queries = shared<f32>('f32', [heads, PARTS, width + 4])
    const querySums = shared<f32>('f32', [heads])
    /** Products of queries and codes, one for each part of a key; then, in the first, probabilities times value scales. */
    const weights = shared<f32>('f32', [heads, PARTS, PAGE_TOKENS])
    /** Per query head: the factor of what was summed so far. */
    const rescale = shared<f32>('f32', [heads])

    // Queries in units of log2, so that the softmax is of powers of two.
    for (const i of unroll(ceilDiv(heads * c.D, THREADS))) {
      const element = threadIdx.x + i * THREADS
      if (element < heads * c.D) {
        const value = f32(a.q.at(token, firstHead * c.D + element))
        const part = idiv(element, width)
        queries.put(value * a.scale * LOG2E, idiv(part, PARTS), part % PARTS, element % width)
      }
    }
    barrier()
    const myHeads = each(ceilDiv(heads, WARPS), (i) => ({
      head: warpIdx + i * WARPS,
      max: f32(f32.lowest),
      sum: f32(0),
      /** Σ p · min_v */
      offset: f32(0),
    }))
    for (const { head } of myHeads) {
      if (head < heads) {
        let sum = f32(0)
        for (const i of unroll(c.D / 32)) {
          const column = laneIdx + 32 * i
          sum += queries.at(head, idiv(column, width), column % width)
        }
        const total = warpSum(sum)
        if (laneIdx === 0) querySums.put(total, head)
      }
    }
    barrier()

    const keyToken = idiv(threadIdx.x, PARTS)
    const keyPart = threadIdx.x % PARTS
    const chunk = [32, 16, 8].find((n) => width % n === 0)!
    const columnGroups = c.D / COLUMNS
    const phases = Math.floor(THREADS / columnGroups)
    const columns = (threadIdx.x % columnGroups) * COLUMNS
    const phase = idiv(threadIdx.x, columnGroups)
    const sums = each(heads, () => regs(COLUMNS, f32(0)))
    const addValue = (page: i32, t: i32) => {
      const codes = format.codes(a.v, [page, kvHead, t], columns, COLUMNS)
      sums.forEach((sum, head) => {
        const weight = weights.at(head, 0, t)
        for (const i of unroll(COLUMNS)) sum[i] = sum[i]! + weight * codes[i]!
      })
    }

    for (const index of range(idiv(position, PAGE_TOKENS) + 1)) {
      const page = a.pages.at(sequence, index)
      const live = position + 1 - index * PAGE_TOKENS

      if (keyToken < live) {
        const products = regs(heads, f32(0))
        for (const first of unroll(0, width, chunk)) {
          const codes = format.codes(a.k, [page, kvHead, keyToken], keyPart * width + first, chunk)
          for (const head of unroll(heads)) {
            load(queries, [head, keyPart, first], chunk).forEach((q, i) => {
              products[head] = products[head]! + q * codes[i]!
            })
          }
        }
        products.forEach((product, head) => {
          weights.put(product, head, keyPart, keyToken)
        })
      }
      barrier()

      for (const mine of myHeads) {
        if (mine.head < heads) {
          const tokens = [laneIdx, laneIdx + 32]
          const scores = tokens.map((t) => {
            let score = f32(f32.lowest)
            if (t < live) {
              const [scale, min] = format.scaleAndMin(a.kParams, [page, kvHead, t])
              const product = each(PARTS, (part) => weights.at(mine.head, part, t)).reduce((x, y) => x + y)
              score = scale * product + min * querySums.at(mine.head)
            }
            return score
          })
          const max = Math.max(mine.max, warpMax(Math.max(scores[0]!, scores[1]!)))
          const keep = exp2Exact(mine.max - max)
          let sum = f32(0)
          let offset = f32(0)
          tokens.forEach((t, i) => {
            if (t < live) {
              const [scale, min] = format.scaleAndMin(a.vParams, [page, kvHead, t])
              const p = exp2Exact(scores[i]! - max)
              sum += p
              offset += p * min
              weights.put(p * scale, mine.head, 0, t)
            }
          })
          mine.sum = mine.sum * keep + warpSum(sum)
          mine.offset = mine.offset * keep + warpSum(offset)
          mine.max = max
          if (laneIdx === 0) rescale.put(keep, mine.head)
        }
      }
      barrier()

      sums.forEach((sum, head) => {
        const keep = rescale.at(head)
        for (const i of unroll(COLUMNS)) sum[i] = sum[i]! * keep
      })
      if (phase < phases) {
        // All loads of a full page can be under way at once.
        if (PAGE_TOKENS % phases === 0 && live >= PAGE_TOKENS) {
          for (const i of unroll(PAGE_TOKENS / phases)) addValue(page, phase + i * phases)
        } else {
          for (const t of range(phase, Math.min(live, PAGE_TOKENS), phases)) addValue(page, t)
        }
      }
      barrier()
    }

    // One head at a time: the phases' sums meet in shared memory.
    const meeting = shared<f32>('f32', [phases, c.D])
    const totals = shared<f32>('f32', [heads, 2])
    for (const { head, sum, offset } of myHeads) {
      if (head < heads && laneIdx === 0) store(totals, [head, 0], [sum, offset])
    }
    for (const head of unroll(heads)) {
      if (phase < phases) store(meeting, [phase, columns], sums[head]!)
      barrier()
      for (const i of unroll(ceilDiv(c.D / 2, THREADS))) {
        const pair = 2 * (threadIdx.x + i * THREADS)
        if (pair < c.D) {
          const [total, offset] = load(totals, [head, 0], 2)
          const both = each(phases, (p) => load(meeting, [p, pair], 2)).reduce((x, y) => [
            x[0]! + y[0]!,
            x[1]! + y[1]!,
          ])
          store(
            a.out,
            [token, (firstHead + head) * c.D + pair],
            both.map((value) => to(c.dtype, (value + offset!) / total!)),
          )
        }
      }
      barrier()
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
