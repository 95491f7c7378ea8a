import { type Elem, type f32, type In, type i32, kernel, type Out, staticAssert } from '../dsl/index.ts'
import { ATTENTION_THREADS, attendFloats } from './attention-floats.ts'
import type { KvConfig } from './formats/kv.ts'

export interface PagedAttentionConfig extends KvConfig {
  readonly dtype: 'f16' | 'bf16'
  readonly D: number
  readonly Hq: number
  readonly Hkv: number
  /** Columns of `q` and `out`: Hq·D. */
  readonly HqD: number
}

/** The arguments of `pagedAttention`, whose elements the formats differ in. */
export interface AttentionArguments {
  readonly q: In<number, string>
  readonly sequence: In<i32, string>
  readonly positions: In<i32, string>
  readonly pages: In<i32, string>
  readonly kv: In<number, string>
  readonly scale: f32
  readonly out: Out<number, string>
}

/** Query heads of a CTA: all that share a key/value head, or an equal part of them, 8 at most. */
function headsPerBlock({ Hq, Hkv }: { readonly Hq: number; readonly Hkv: number }): number {
  const group = Hq / Hkv
  const parts = Array.from({ length: group }, (_, i) => i + 1).find((n) => group % n === 0 && group / n <= 8)
  return group / (parts ?? 1)
}

/**
 * Causal attention over the paged key/value cache, for queries of any number and position: token `t` attends to the
 * positions 0…positions[t] of the sequence whose pages are row `sequence[t]` of `pages`.
 *
 * One CTA takes one token and the query heads of one key/value head. Its warps take parts of the context in turns that
 * depend on nothing else, so a token's result depends on its own context alone: not on the batch, nor on how a prompt was
 * cut into steps.
 */
export const pagedAttention = kernel(
  import.meta.url,
  {
    grid: (d, c: PagedAttentionConfig) => [d.T!, c.Hq / headsPerBlock(c)],
    block: [ATTENTION_THREADS],
  },
  function pagedAttention(
    a: {
      q: In<Elem<'dtype'>, 'T HqD'>
      sequence: In<i32, 'T'>
      positions: In<i32, 'T'>
      pages: In<i32, 'B MaxPages'>
      kv: In<Elem<'kvElement'>, 'Pages Hkv 2 PB'>
      /** Factor of the scores, usually 1/√D. */
      scale: f32
      out: Out<Elem<'dtype'>, 'T HqD'>
    },
    c: PagedAttentionConfig,
  ) {
    staticAssert(c.Hq % c.Hkv === 0, 'query heads must be a multiple of key/value heads')
    staticAssert(c.D % 32 === 0, 'the head dimension must be a multiple of 32')
    staticAssert(c.kv === 'kv16', 'coded caches have decodeAttention')
    attendFloats(a, c, headsPerBlock(c))
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
