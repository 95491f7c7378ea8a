import {
  blockIdx,
  ceilDiv,
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
import { overlapLaunches, rowOptions, rowShare } from './half-rows.ts'

export interface EmbedTokensConfig {
  readonly dtype: 'f16' | 'bf16'
  /** Vocabulary. */
  readonly V: number
  /** Hidden size, a multiple of 8. */
  readonly H: number
}

/** Tokens of a CTA: the ids of all are read at once, for nothing of a row is on its way before its id is known. */
const TOKENS = 2

/** One row of the embedding table per token; an id outside the vocabulary gives zeros. */
export const embedTokens = kernel(
  import.meta.url,
  { ...rowOptions((c: EmbedTokensConfig) => c.H, 'halfs'), grid: (d) => [ceilDiv(d.T!, TOKENS)] },
  function embedTokens(
    a: { ids: In<i32, 'T'>; table: In<Elem<'dtype'>, 'V H'>; out: Out<Elem<'dtype'>, 'T H'> },
    c: EmbedTokensConfig,
  ) {
    const share = rowShare(c.H)
    // What comes later may read what was planned before this launch, without waiting for more than this one.
    overlapLaunches({ atOnce: false })
    const [first, T] = [blockIdx.x * TOKENS, a.ids.dim('T')]
    const ids = each(TOKENS, (i) => a.ids.at(Math.min(first + i, T - 1)))
    // All loads before the first store: the compiler cannot know that they do not depend on it.
    const rows = ids.map((id) =>
      each(turnsOf(share), (turn) => {
        const words = regs(4, u32(0))
        if (id >= 0 && id < c.V && hasColumns(share, turn)) {
          const loaded = loadWords(a.table, [id, columnOf(share, turn)], 4)
          for (const i of unroll(4)) words[i] = loaded[i]!
        }
        return words
      }),
    )
    rows.forEach((turns, i) => {
      turns.forEach((words, turn) => {
        if (first + i < T && hasColumns(share, turn))
          storeWords(a.out, [first + i, columnOf(share, turn)], words)
      })
    })
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
