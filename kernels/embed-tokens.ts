import {
  blockIdx,
  type Elem,
  type In,
  type i32,
  kernel,
  type Out,
  regs,
  staticAssert,
  to,
} from '../dsl/index.ts'
import { loadRow, storeRow } from '../dsl/std/index.ts'

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
  { grid: (d) => [d.T!], block: [64] },
  function embedTokens(
    a: { ids: In<i32, 'T'>; table: In<Elem<'dtype'>, 'V H'>; out: Out<Elem<'dtype'>, 'T H'> },
    c: EmbedTokensConfig,
  ) {
    staticAssert(c.H % 8 === 0, 'the hidden size must be a multiple of 8')
    const share = { columns: c.H, vec: 8 }
    const id = a.ids.at(blockIdx.x)
    if (id >= 0 && id < c.V) {
      storeRow(a.out, [blockIdx.x], share, loadRow(a.table, [id], share, to(c.dtype, 0)))
    } else {
      const zeros = regs(Math.ceil(c.H / (8 * 64)) * 8, to(c.dtype, 0))
      storeRow(a.out, [blockIdx.x], share, zeros)
    }
  },
)

/** Rows of a table of width `H`. */
export function embedTokensReference(ids: readonly number[], table: Float64Array, H: number): Float64Array {
  const out = new Float64Array(ids.length * H)
  ids.forEach((id, t) => {
    if (id >= 0 && (id + 1) * H <= table.length) out.set(table.subarray(id * H, (id + 1) * H), t * H)
  })
  return out
}
