import {
  ceilDiv,
  clusterBarrier,
  clusterRank,
  each,
  f32,
  type i32,
  idiv,
  laneIdx,
  load,
  loadWords,
  namedBarrier,
  overlay,
  type Shared,
  store,
  syncWarp,
  threadIdx,
  type u32,
  unroll,
  warpgroupIdx,
  warpIdx,
} from '../../dsl/index.ts'
import { endToken, firstToken, ofExpert, type TokenTile } from '../group-tiles.ts'
import { featureRows, featuresOf, outFeatures, rounded, rowsOf } from './epilogue.ts'
import { partialPitch } from './wgmma-plan.ts'
import type { WgmmaProduct } from './wgmma-product.ts'

/**
 * What happens to the sums of several warpgroups along K, or of several CTAs of a cluster: they are written to shared memory
 * where the ring was, added and scaled by all consumers, four rows of one token each: in the order of the columns, which
 * matters to floating-point sums of slices.
 */

/** Partial sums, [warpgroup along K, token, row], in the memory of the ring. */
export const partialSums = ({ c, parts, plan }: WgmmaProduct, ring: Shared<number>): Shared<number> =>
  overlay<number>(ring, parts.x === 'i8' ? 'i32' : 'f32', [c.kGroups, c.tokens, partialPitch(plan)])

/** Writes a warpgroup's sums, once all warpgroups have read the ring. */
export function storePartial(
  { c, plan }: WgmmaProduct,
  sums: Shared<number>,
  acc: readonly number[],
  rowGroup: i32,
  kGroup: i32,
): void {
  namedBarrier(1, plan.consumers)
  const row = rowGroup * 64 + (warpIdx & 3) * 16 + (laneIdx >>> 2)
  for (const octet of unroll(c.tokens / 8)) {
    for (const i of unroll(4)) {
      const token = octet * 8 + (laneIdx & 3) * 2 + (i % 2)
      sums.put(acc[octet * 4 + i]!, kGroup, token, row + (i >= 2 ? 8 : 0))
    }
  }
}

/** Threads that take neighbouring quads of features of one token. */
const quadsOf = ({ parts, plan }: WgmmaProduct): number => plan.rows / featureRows(parts) / 4

/** Turns in which the consumers go through the CTA's share of the tokens. */
const turnsOf = (g: WgmmaProduct): number => ceilDiv((g.c.tokens / g.c.split) * quadsOf(g), g.plan.consumers)

/** The calling thread's token of a turn, in the tile, and whether it is in the CTA's share. */
function turnToken(g: WgmmaProduct, turn: number): { token: i32; isOwn: boolean } {
  const { c, plan } = g
  const share = c.tokens / c.split
  const own = idiv(threadIdx.x, quadsOf(g)) + turn * (plan.consumers / quadsOf(g))
  const isFull = (turn + 1) * plan.consumers <= share * quadsOf(g)
  return { token: c.split === 1 ? own : (clusterRank % c.split) * share + own, isOwn: isFull || own < share }
}

/** What a thread of the last additions needs: its rows, four for each of its features, and its tokens' words. */
export interface PartialShare {
  /** The first row in the tile, and the first feature in the matrix. */
  readonly row: i32
  readonly n: i32
  readonly rows: readonly (readonly (() => unknown)[])[]
  readonly bias: readonly (readonly number[])[]
  /** Of the token of each turn. */
  readonly words: readonly (readonly u32[])[]
  readonly outScales: readonly (f32 | undefined)[]
}

/** Fetches what `finishPartial` needs: before the products, unless the plan `fetchesLate`. Called by all threads of the CTA. */
export function preparePartial(g: WgmmaProduct, tile: TokenTile): PartialShare {
  const { a, c, parts, plan } = g
  const merged = featureRows(parts)
  const quad = threadIdx.x % quadsOf(g)
  const row = merged === 1 ? quad * 4 : (quad >>> 1) * 16 + (quad & 1) * 4
  const n = tile.row * plan.rows + row
  const from = each(merged, (half) => Math.min(half === 0 ? n : n + 8, rowsOf(g) - 4))
  const tokenOf = (turn: number): i32 =>
    Math.min(firstToken(tile, c.tokens) + turnToken(g, turn).token, a.x.dim('M') - 1)
  return {
    row,
    n: merged === 1 ? n : tile.row * (plan.rows / 2) + quad * 4,
    rows: from.map((first) => parts.rows(first, 4, tile.expert)),
    bias: c.bias ? from.map((first) => load(ofExpert(a.bias!, tile.expert), [first], 4)) : [],
    words: each(turnsOf(g), (turn) => {
      const m = tokenOf(turn)
      return parts.tokens.map((tensor) => loadWords(tensor, [m], 1)[0]!)
    }),
    outScales: each(turnsOf(g), (turn) => parts.outScale?.at(tokenOf(turn))),
  }
}

/**
 * Adds the sums of all warpgroups along K and of all CTAs of the cluster, scales and stores them: each CTA finishes its
 * share of the tokens. Called by all threads of the CTA.
 */
export function finishPartial(
  g: WgmmaProduct,
  sums: Shared<number>,
  tile: TokenTile,
  { row, n, rows, bias, words, outScales }: PartialShare,
): void {
  const { a, c, parts, plan } = g
  const isConsumer = warpgroupIdx < plan.consumerGroups
  if (c.split > 1) {
    syncWarp()
    clusterBarrier()
  } else if (isConsumer) namedBarrier(1, plan.consumers)
  for (const turn of unroll(words.length)) {
    const { token, isOwn } = turnToken(g, turn)
    const m = firstToken(tile, c.tokens) + token
    if (isConsumer && isOwn && m < endToken(tile, a.x.dim('M')) && n < outFeatures(g)) {
      const terms = each(featureRows(parts), (half) =>
        each(c.split, (cta) =>
          each(c.kGroups, (k) => {
            const first = half === 0 ? row : row + 8
            return load(c.split === 1 ? sums : sums.peer(cta), [k, token, first], 4)
          }),
        ).flat(),
      )
      const residual = c.residual ? load(a.residual!, [m, n], 4) : []
      const values = each(4, (i) => {
        const scaled = terms.map((ofRow, half) => {
          const sum = ofRow.map((term) => term[i]!).reduce((total, term) => total + term)
          const value = parts.finish(sum, rows[half]![i]!(), words[turn]!)
          return [c.bias ? value + f32(bias[half]![i]!) : value]
        })
        const value = featuresOf(parts, scaled)[0]![0]!
        return rounded(parts.out, c.residual ? value + f32(residual[i]!) : value, outScales[turn])
      })
      store(a.out, [m, n], values)
    }
  }
}
