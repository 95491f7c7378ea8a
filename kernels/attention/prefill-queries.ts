import {
  each,
  f32,
  type In,
  type i32,
  laneIdx,
  load,
  packBytes,
  range,
  shuffleXor,
  store,
  type u32,
  unroll,
  warpgroupIdx,
  warpIdx,
} from '../../dsl/index.ts'
import { queryCode, queryRate, queryStep, splitQuery } from './arithmetic.ts'
import type { PrefillMemory } from './prefill-memory.ts'
import { groupOf, type PrefillConfig, tileRows } from './prefill-shape.ts'
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

/**
 * Rounds a tile's queries to integers, by the warpgroup that feeds: four lanes a row, each with the columns that the
 * fragments give it. Of a block of sixteen rows and 32 columns, a lane's four registers are neighbours: rows g and then
 * g + 8, of each the first sixteen columns and then the others.
 */
export function putQueries(a: QueryArguments, c: PrefillConfig, m: PrefillMemory, tile: PrefillTile): void {
  const group = groupOf(c)
  const [g, t] = [laneIdx >>> 2, laneIdx & 3]
  for (const turn of range(tileRows / 32)) {
    // A warp has eight rows of each turn; blocks have sixteen.
    const row = 32 * turn + 8 * (warpIdx & 3) + g
    const head = tile.kvHead * group + (row % group)
    const token = tile.token + tokenOfRow(c, tile, row)
    const valuesAt = (column: i32): f32[] =>
      load(a.q, [token, head * c.D + column + 4 * t], 4).map((x) => f32(x))
    let top = f32(0)
    for (const i of unroll(c.D / 16)) for (const x of valuesAt(16 * i)) top = Math.max(top, Math.abs(x))
    top = Math.max(top, shuffleXor(top, 1))
    top = Math.max(top, shuffleXor(top, 2))
    const rate = queryRate(top)
    let sum: i32 = 0
    const [block, half] = [row >>> 4, (row >>> 3) & 1]
    // Read again, from the cache nearby: there are no registers to keep them in.
    for (const k of range(c.D / 32)) {
      const parts = [0, 1].map((i) => {
        const codes = valuesAt(32 * k + 16 * i).map((x) => queryCode(x, rate))
        sum = codes.reduce((x, y) => x + y, sum)
        return codes.map(splitQuery)
      })
      const bytesOf = (part: 'high' | 'low') =>
        parts.map((four) => packBytes(four[0]![part], four[1]![part], four[2]![part], four[3]![part]))
      const at = 4 * laneIdx + 2 * half
      store(m.queries, [block, 0, k, at], bytesOf('high'))
      store(m.queries, [block, 1, k, at], bytesOf('low'))
    }
    sum = sum + shuffleXor(sum, 1)
    sum = sum + shuffleXor(sum, 2)
    if (t === 0) store(m.queryRows, [row, 0], [queryStep(top, a.scale), f32(sum)])
  }
}

/** A lane's part of a tile's queries: of the rows `row` and `row` + 8. */
export function takeQueries(
  a: QueryArguments,
  c: PrefillConfig,
  m: PrefillMemory,
  tile: PrefillTile,
  row: i32,
): { readonly bytes: QueryBytes; readonly rows: QueryRows } {
  const block = 4 * warpgroupIdx + (warpIdx & 3)
  const [high, low] = each(PARTS, (part) =>
    each(c.D / 32, (k) => {
      const words = load(m.queries, [block, part, k, 4 * laneIdx], 4)
      return [words[0]!, words[2]!, words[1]!, words[3]!]
    }),
  )
  const own = each(laneRows, (r) => load(m.queryRows, [row + 8 * r, 0], 2))
  return {
    bytes: { high: high!, low: low! },
    rows: {
      step: own.map(([step]) => step!),
      sum: own.map(([, sum]) => sum!),
      last: each(laneRows, (r) => tile.position + tokenOfRow(c, tile, row + 8 * r)),
      window: a.window,
    },
  }
}

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
