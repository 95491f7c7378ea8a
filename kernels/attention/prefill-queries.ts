import {
  each,
  f32,
  type In,
  type i32,
  laneIdx,
  load,
  packBytes,
  shuffleXor,
  type u32,
} from '../../dsl/index.ts'
import { queryCode, queryRate, queryStep, splitQuery } from './arithmetic.ts'
import { groupOf, type PrefillConfig } from './prefill-shape.ts'
import { laneRows, type QueryRows } from './prefill-softmax.ts'
import { type PrefillTile, tokenOfRow } from './prefill-tiles.ts'

export interface QueryArguments {
  readonly q: In<number, 'T HqD'>
  readonly scale: f32
  readonly window: i32
}

/** Queries as A's registers, of each 32 columns: the upper bytes and the lower. */
export interface QueryBytes {
  readonly high: readonly (readonly u32[])[]
  readonly low: readonly (readonly u32[])[]
}

/** Upper and lower bytes. */
const PARTS = 2

/** Rounds the queries of the rows `row` and `row` + 8 to integers, by the lanes that multiply them. */
export function roundQueries(
  a: QueryArguments,
  c: PrefillConfig,
  tile: PrefillTile,
  row: i32,
): { readonly bytes: QueryBytes; readonly rows: QueryRows } {
  const group = groupOf(c)
  const column = 4 * (laneIdx & 3)
  const loaded = each(laneRows, (r) => {
    const head = tile.kvHead * group + ((row + 8 * r) % group)
    const token = tile.token + tokenOfRow(c, tile, row + 8 * r)
    return each(c.D / 16, (i) => load(a.q, [token, head * c.D + 16 * i + column], 4))
  })
  const own = loaded.map((values) => {
    let top = f32(0)
    for (const x of values.flat()) top = Math.max(top, Math.abs(f32(x)))
    top = Math.max(top, shuffleXor(top, 1))
    top = Math.max(top, shuffleXor(top, 2))
    const rate = queryRate(top)
    let sum: i32 = 0
    const words = values.map((four) => {
      const codes = four.map((x) => queryCode(f32(x), rate))
      const bytes = codes.map(splitQuery)
      sum = codes.reduce((x, y) => x + y, sum)
      const [high, low] = (['high', 'low'] as const).map((part) =>
        packBytes(bytes[0]![part], bytes[1]![part], bytes[2]![part], bytes[3]![part]),
      )
      return [high!, low!]
    })
    sum = sum + shuffleXor(sum, 1)
    sum = sum + shuffleXor(sum, 2)
    return { words, step: queryStep(top, a.scale), sum: f32(sum) }
  })
  const [high, low] = each(PARTS, (part) =>
    each(c.D / 32, (k) => [0, 1].flatMap((half) => own.map(({ words }) => words[2 * k + half]![part]!))),
  )
  return {
    bytes: { high: high!, low: low! },
    rows: {
      step: own.map(({ step }) => step),
      sum: own.map(({ sum }) => sum),
      last: each(laneRows, (r) => tile.position + tokenOfRow(c, tile, row + 8 * r)),
      window: a.window,
    },
  }
}
