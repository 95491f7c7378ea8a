import {
  blockIdx,
  type Elem,
  each,
  type In,
  type i32,
  kernel,
  loadWords,
  type Out,
  regs,
  storeWords,
  u32,
  unroll,
} from '../dsl/index.ts'
import { columnOf, hasColumns, turnsOf } from '../dsl/std/index.ts'
import { numberAhead, overlapLaunches, prefetchRow, rowOptions, rowShare } from './half-rows.ts'

export interface EmbedTokensConfig {
  readonly dtype: 'f16' | 'bf16'
  /** Vocabulary. */
  readonly V: number
  /** Hidden size, a multiple of 8. */
  readonly H: number
}

/** One row of the embedding table per token; an id outside the vocabulary gives zeros. One CTA per token. */
export const embedTokens = kernel(
  import.meta.url,
  rowOptions((c: EmbedTokensConfig) => c.H, 'halfs'),
  function embedTokens(
    a: { ids: In<i32, 'T'>; table: In<Elem<'dtype'>, 'V H'>; out: Out<Elem<'dtype'>, 'T H'> },
    c: EmbedTokensConfig,
  ) {
    const share = rowShare(c.H)
    // What comes later may read what was planned before this launch, without waiting for more than this one.
    overlapLaunches({ atOnce: false })
    const id = a.ids.at(blockIdx.x)
    const ahead = numberAhead(a.ids, c.H)
    const known = id >= 0 && id < c.V
    // All loads before the first store: the compiler cannot know that they do not depend on it.
    const turns = each(turnsOf(share), (turn) => {
      const words = regs(4, u32(0))
      if (known && hasColumns(share, turn)) {
        const loaded = loadWords(a.table, [id, columnOf(share, turn)], 4)
        for (const i of unroll(4)) words[i] = loaded[i]!
      }
      return words
    })
    for (const turn of unroll(turns.length)) {
      if (hasColumns(share, turn)) storeWords(a.out, [blockIdx.x, columnOf(share, turn)], turns[turn]!)
    }
    prefetchRow(a.table, ahead, c.V, c.H)
  },
)

/** Rows of a table of width `H`. */
export function embedTokensReference(ids: ArrayLike<number>, table: Float64Array, H: number): Float64Array {
  const out = new Float64Array(ids.length * H)
  for (let t = 0; t < ids.length; t++) {
    const id = ids[t]!
    if (id >= 0 && (id + 1) * H <= table.length) out.set(table.subarray(id * H, (id + 1) * H), t * H)
  }
  return out
}
