import { blockIdx, type Elem, type In, type i32, kernel, type Out, staticAssert, to } from '../dsl/index.ts'
import { loadRow, storeRow } from '../dsl/std/index.ts'
import { rowThreads } from './half-rows.ts'

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
  { grid: (d) => [d.T!], block: (c: EmbedTokensConfig) => [rowThreads(c.H)] },
  function embedTokens(
    a: { ids: In<i32, 'T'>; table: In<Elem<'dtype'>, 'V H'>; out: Out<Elem<'dtype'>, 'T H'> },
    c: EmbedTokensConfig,
  ) {
    staticAssert(c.H % 8 === 0, 'the hidden size must be a multiple of 8')
    const share = { columns: c.H, vec: 8 }
    const id = a.ids.at(blockIdx.x)
    const known = id >= 0 && id < c.V
    const row = loadRow(a.table, [known ? id : 0], share, to(c.dtype, 0))
    storeRow(
      a.out,
      [blockIdx.x],
      share,
      row.map((value) => (known ? value : to(c.dtype, 0))),
    )
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
