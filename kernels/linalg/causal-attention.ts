import {
  barrier,
  blockIdx,
  each,
  f32,
  fma,
  type In,
  type i32,
  idiv,
  kernel,
  LOG2E,
  load,
  type Out,
  range,
  regs,
  type Shared,
  shared,
  staticAssert,
  store,
  threadIdx,
  unroll,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { exp2Exact, warpMax, warpSum } from '../../dsl/std/index.ts'

/** Queries of a CTA, and keys of a step. */
const QUERIES = 64
const KEYS = 32
const THREADS = 256
/** Threads that share a query's keys and columns, and the queries of each thread. */
const LANES = 16
const ROWS = QUERIES / LANES

export interface CausalAttentionConfig {
  /** Columns of a head, a multiple of 4. */
  readonly D: number
  readonly heads: number
  readonly kvHeads: number
  /** Tokens of a window. */
  readonly L: number
  /** So many tokens are seen at most, the own one included; 0 for all. */
  readonly sliding: number
}

/**
 * Attention of f32 within windows of L rows: token t of a window sees those up to t. A CTA takes 64 queries of one head and
 * goes through the keys before them, 32 at a time, with a running maximum. Sums are in the order of the keys.
 */
export const causalAttention = kernel(
  import.meta.url,
  {
    grid: (d, c: CausalAttentionConfig) => [ceilDiv(c.L, QUERIES), c.heads, d.T! / c.L],
    block: [THREADS],
  },
  function causalAttention(
    a: {
      dst: Out<f32, 'T QC'>
      q: In<f32, 'T QC'>
      k: In<f32, 'T KC'>
      v: In<f32, 'T KC'>
      scale: f32
    },
    c: CausalAttentionConfig,
  ) {
    const { D, L } = c
    staticAssert(D % 4 === 0, 'a head has a multiple of 4 columns')
    const pitch = D + 4
    const queries = shared<f32>('f32', [QUERIES, pitch])
    const keys = shared<f32>('f32', [KEYS, pitch])
    const values = shared<f32>('f32', [KEYS, D])
    const weights = shared<f32>('f32', [QUERIES, KEYS + 4])
    const head = blockIdx.y
    const kvHead = idiv(head, c.heads / c.kvHeads)
    const window = blockIdx.z * L
    const q0 = blockIdx.x * QUERIES
    const lane = threadIdx.x & (LANES - 1)
    const own = threadIdx.x >> 4
    const parts = ceilDiv(D, 4 * LANES)

    const copyRows = (
      dst: Shared<f32>,
      src: In<f32, string>,
      first: i32,
      column: i32,
      rows: number,
    ): void => {
      for (const i of range(threadIdx.x, (rows * D) / 4, THREADS)) {
        const row = idiv(i, D / 4)
        const at = (i % (D / 4)) * 4
        // Rows past the window are those of its last token: nobody looks at what comes of them.
        const from = window + Math.min(first + row, L - 1)
        store(dst, [row, at], load(src, [from, column + at], 4))
      }
    }

    copyRows(queries, a.q, q0, head * D, QUERIES)
    const out = each(ROWS, () => regs(4 * parts, f32(0)))
    const most = regs(ROWS, f32.lowest)
    const total = regs(ROWS, f32(0))
    const end = Math.min(q0 + QUERIES, L)
    const start = c.sliding > 0 ? idiv(Math.max(q0 - (c.sliding - 1), 0), KEYS) * KEYS : 0
    for (const k0 of range(start, end, KEYS)) {
      barrier()
      copyRows(keys, a.k, k0, kvHead * D, KEYS)
      copyRows(values, a.v, k0, kvHead * D, KEYS)
      barrier()
      const scores = each(ROWS, () => regs(KEYS / LANES, f32(0)))
      for (const d of range(0, D, 4)) {
        const y = each(KEYS / LANES, (j) => load(keys, [lane + LANES * j, d], 4))
        for (const i of unroll(ROWS)) {
          const x = load(queries, [own + LANES * i, d], 4)
          for (const j of unroll(KEYS / LANES))
            for (const e of unroll(4)) scores[i]![j] = fma(x[e]!, y[j]![e]!, scores[i]![j]!)
        }
      }
      for (const i of unroll(ROWS)) {
        const query = q0 + own + LANES * i
        const seen = scores[i]!.map((_, j) => {
          const key = k0 + lane + LANES * j
          return key <= query && (c.sliding === 0 || key > query - c.sliding)
        })
        const scaled = scores[i]!.map((score, j) => (seen[j] ? score * a.scale * LOG2E : f32.lowest))
        const top = Math.max(
          most[i]!,
          warpMax(
            scaled.reduce((x, y) => Math.max(x, y)),
            LANES,
          ),
        )
        const shrink = exp2Exact(most[i]! - top)
        const powers = scaled.map((score, j) => (seen[j] ? exp2Exact(score - top) : f32(0)))
        most[i] = top
        total[i] =
          total[i]! * shrink +
          warpSum(
            powers.reduce((x, y) => x + y),
            LANES,
          )
        for (const e of unroll(4 * parts)) out[i]![e] = out[i]![e]! * shrink
        powers.forEach((power, j) => {
          weights.put(power, own + LANES * i, lane + LANES * j)
        })
      }
      barrier()
      for (const k of range(0, KEYS, 4)) {
        const x = each(ROWS, (i) => load(weights, [own + LANES * i, k], 4))
        for (const j of unroll(4)) {
          for (const part of unroll(parts)) {
            const column = 4 * lane + part * 4 * LANES
            const y = load(values, [k + j, D % (4 * LANES) === 0 ? column : Math.min(column, D - 4)], 4)
            for (const i of unroll(ROWS))
              for (const e of unroll(4)) out[i]![4 * part + e] = fma(x[i]![j]!, y[e]!, out[i]![4 * part + e]!)
          }
        }
      }
    }
    for (const i of unroll(ROWS)) {
      const query = q0 + own + LANES * i
      if (query < L) {
        for (const part of unroll(parts)) {
          const column = 4 * lane + part * 4 * LANES
          const sums = out[i]!.slice(4 * part, 4 * part + 4).map((sum) => sum / total[i]!)
          if (column < D) store(a.dst, [window + query, head * D + column], sums)
        }
      }
    }
  },
)
