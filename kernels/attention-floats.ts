import {
  barrier,
  blockIdx,
  ceilDiv,
  each,
  f32,
  type i32,
  idiv,
  LOG2E,
  laneIdx,
  load,
  range,
  regs,
  shared,
  store,
  threadIdx,
  to,
  unroll,
  warpIdx,
} from '../dsl/index.ts'
import { exp2Exact, warpMax, warpSum } from '../dsl/std/index.ts'
import { PAGE_TOKENS } from './formats/kv.ts'
import { KEYS, VALUES } from './formats/kv-pages.ts'
import type { AttentionArguments, PagedAttentionConfig } from './paged-attention.ts'

export const ATTENTION_THREADS = 128
const THREADS = ATTENTION_THREADS
const WARPS = THREADS / 32

/** Threads that share a token's key. */
const PARTS = THREADS / PAGE_TOKENS

/** Columns of the values that a thread sums. */
const COLUMNS = 8

/**
 * Attention over keys and values of 16 bits, in f32, each read once for all query heads, with an online softmax.
 *
 * Per page: (1) products, two threads a token; (2) softmax, a warp a query head; (3) values, a thread per eight columns
 * and every n-th token, whose sums meet at the end. Products are multiplied and added one after the other: `fma` would
 * save a GPU a third of its work here, but costs the emulator two and a half times as much.
 */
export function attendFloats(a: AttentionArguments, c: PagedAttentionConfig, heads: number): void {
  const token = blockIdx.x
  const firstHead = blockIdx.y * heads
  const kvHead = idiv(firstHead, c.Hq / c.Hkv)
  const position = a.positions.at(token)
  const sequence = a.sequence.at(token)

  /** The part of a key that a thread takes; rows are set apart so that both parts of a query lie in different banks. */
  const width = c.D / PARTS
  const queries = shared<f32>('f32', [heads, PARTS, width + 4])
  /** Products of queries and keys, one for each part of a key; then, in the first, probabilities. */
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
  }))

  const keyToken = idiv(threadIdx.x, PARTS)
  const keyPart = threadIdx.x % PARTS
  const chunk = [32, 16, 8].find((n) => width % n === 0)!
  const columnGroups = c.D / COLUMNS
  const phases = Math.floor(THREADS / columnGroups)
  const columns = (threadIdx.x % columnGroups) * COLUMNS
  const phase = idiv(threadIdx.x, columnGroups)
  const sums = each(heads, () => regs(COLUMNS, f32(0)))
  const addValue = (page: i32, t: i32) => {
    const values = load(a.kv, [page, kvHead, VALUES, t * c.D + columns], COLUMNS).map((value) => f32(value))
    sums.forEach((sum, head) => {
      const weight = weights.at(head, 0, t)
      for (const i of unroll(COLUMNS)) sum[i] = sum[i]! + weight * values[i]!
    })
  }

  for (const index of range(idiv(position, PAGE_TOKENS) + 1)) {
    const page = a.pages.at(sequence, index)
    const live = position + 1 - index * PAGE_TOKENS

    if (keyToken < live) {
      const products = regs(heads, f32(0))
      for (const first of unroll(0, width, chunk)) {
        const keys = load(a.kv, [page, kvHead, KEYS, keyToken * c.D + keyPart * width + first], chunk).map(
          (key) => f32(key),
        )
        for (const head of unroll(heads)) {
          load(queries, [head, keyPart, first], chunk).forEach((q, i) => {
            products[head] = products[head]! + q * keys[i]!
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
          if (t < live) score = each(PARTS, (part) => weights.at(mine.head, part, t)).reduce((x, y) => x + y)
          return score
        })
        const max = Math.max(mine.max, warpMax(Math.max(scores[0]!, scores[1]!)))
        const keep = exp2Exact(mine.max - max)
        let sum = f32(0)
        tokens.forEach((t, i) => {
          if (t < live) {
            const p = exp2Exact(scores[i]! - max)
            sum += p
            weights.put(p, mine.head, 0, t)
          }
        })
        mine.sum = mine.sum * keep + warpSum(sum)
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
  const totals = shared<f32>('f32', [heads])
  for (const { head, sum } of myHeads) {
    if (head < heads && laneIdx === 0) totals.put(sum, head)
  }
  for (const head of unroll(heads)) {
    if (phase < phases) store(meeting, [phase, columns], sums[head]!)
    barrier()
    for (const i of unroll(ceilDiv(c.D / 2, THREADS))) {
      const pair = 2 * (threadIdx.x + i * THREADS)
      if (pair < c.D) {
        const total = totals.at(head)
        const both = each(phases, (p) => load(meeting, [p, pair], 2)).reduce((x, y) => [
          x[0]! + y[0]!,
          x[1]! + y[1]!,
        ])
        store(
          a.out,
          [token, (firstHead + head) * c.D + pair],
          both.map((value) => to(c.dtype, value / total)),
        )
      }
    }
    barrier()
  }
}
