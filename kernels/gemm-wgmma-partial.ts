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
  to,
  type u32,
  unroll,
  warpgroupIdx,
  warpIdx,
} from '../dsl/index.ts'
import type { WgmmaProduct } from './gemm-wgmma.ts'
import { partialPitch, type WgmmaPlan } from './gemm-wgmma-plan.ts'
import { endToken, firstToken, ofExpert, type TokenTile } from './group-tiles.ts'

/**
 * What happens to the sums of several warpgroups along K, or of several CTAs of a cluster: they are written to shared memory
 * where the ring was, added and scaled by all consumers, four rows of one token each. Integer sums, so the order does not
 * matter.
 */

/** Partial sums, [warpgroup along K, token, row], in the memory of the ring. */
export const partialSums = ({ c, plan }: WgmmaProduct, ring: Shared<number>): Shared<i32> =>
  overlay<i32>(ring, 'i32', [c.kGroups, c.tokens, partialPitch(plan)])

/** Writes a warpgroup's sums, once all warpgroups have read the ring. */
export function storePartial(
  { c, plan }: WgmmaProduct,
  sums: Shared<i32>,
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

/** Threads that take neighbouring quads of rows of one token. */
const quadsOf = (plan: WgmmaPlan): number => plan.rows / 4

/** Turns in which the consumers go through the CTA's share of the tokens. */
const turnsOf = ({ c, plan }: WgmmaProduct): number =>
  ceilDiv((c.tokens / c.split) * quadsOf(plan), plan.consumers)

/** The calling thread's token of a turn, in the tile, and whether it is in the CTA's share. */
function turnToken({ c, plan }: WgmmaProduct, turn: number): { token: i32; isOwn: boolean } {
  const share = c.tokens / c.split
  const own = idiv(threadIdx.x, quadsOf(plan)) + turn * (plan.consumers / quadsOf(plan))
  const isFull = (turn + 1) * plan.consumers <= share * quadsOf(plan)
  return { token: c.split === 1 ? own : (clusterRank % c.split) * share + own, isOwn: isFull || own < share }
}

/** What a thread of the last additions needs: its four rows, in the tile and in the matrix, and its tokens' words. */
export interface PartialShare {
  readonly row: i32
  readonly n: i32
  readonly rows: readonly (() => unknown)[]
  readonly bias: readonly number[]
  /** Of the token of each turn. */
  readonly words: readonly (readonly u32[])[]
}

/** Fetches, before the multiplication, what `finishPartial` needs. Called by all threads of the CTA. */
export function preparePartial(g: WgmmaProduct, tile: TokenTile): PartialShare {
  const { a, c, parts, plan } = g
  const row = (threadIdx.x % quadsOf(plan)) * 4
  const n = tile.row * plan.rows + row
  const from = Math.min(n, a.out.dim('N') - 4)
  return {
    row,
    n,
    rows: parts.rows(from, 4, tile.expert),
    bias: c.bias ? load(ofExpert(a.bias!, tile.expert), [from], 4) : [],
    words: each(turnsOf(g), (turn) => {
      const m = Math.min(firstToken(tile, c.tokens) + turnToken(g, turn).token, a.x.dim('M') - 1)
      return parts.tokens.map((tensor) => loadWords(tensor, [m], 1)[0]!)
    }),
  }
}

/**
 * Adds the sums of all warpgroups along K and of all CTAs of the cluster, scales and stores them: each CTA finishes its
 * share of the tokens. Called by all threads of the CTA.
 */
export function finishPartial(
  g: WgmmaProduct,
  sums: Shared<i32>,
  tile: TokenTile,
  { row, n, rows, bias, words }: PartialShare,
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
    if (isConsumer && isOwn && m < endToken(tile, a.x.dim('M')) && n < a.out.dim('N')) {
      const terms = each(c.split, (cta) =>
        each(c.kGroups, (k) => load(c.split === 1 ? sums : sums.peer(cta), [k, token, row], 4)),
      ).flat()
      const residual = c.residual ? load(a.residual!, [m, n], 4) : []
      const values = each(4, (i) => {
        const sum = terms.map((term) => term[i]!).reduce((total, term) => total + term)
        let value = parts.finish(sum, rows[i]!(), words[turn]!)
        if (c.bias) value = value + f32(bias[i]!)
        if (c.residual) value = value + f32(residual[i]!)
        return to(parts.out, value)
      })
      store(a.out, [m, n], values)
    }
  }
}
