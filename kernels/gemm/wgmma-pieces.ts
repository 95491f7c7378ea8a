import {
  atomicAdd,
  blockIdx,
  i32,
  load,
  namedBarrier,
  range,
  shared,
  staticAssert,
  store,
  threadFence,
  threadIdx,
  unroll,
} from '../../dsl/index.ts'
import { type StreamedTiles, sharersOf, turnOfPiece } from '../../dsl/std/index.ts'
import type { TileSums } from './wgmma-epilogue.ts'
import { pieceQuad } from './wgmma-plan.ts'
import type { WgmmaProduct } from './wgmma-product.ts'

/**
 * Adds up the pieces of a tile that several CTAs have of it, warpgroup by warpgroup; returns whether the caller has the
 * whole sums. Each piece but the last to arrive goes to device memory, and who arrives last adds them to its own. Nobody
 * waits for a CTA, so it does not matter which of them run at the same time. Called by the threads of a warpgroup.
 */
export function joinPieces(g: WgmmaProduct, streamed: StreamedTiles, o: TileSums): boolean {
  const { a, c } = g
  staticAssert(
    c.scratch === true,
    'CTAs that share tiles take `scratch`, of the shape that scratchShape gives: give scratch: true with `pieces`',
  )
  const scratch = a.scratch!
  const seen = shared<i32>('i32', [c.rowGroups])
  const { shared: tile } = o.tile.piece!
  const id = 1 + o.rowGroup
  const thread = threadIdx.x & 127
  let hasAll = tile < 0
  if (!hasAll) {
    const { first, last } = sharersOf(streamed, tile)
    const others = last - first
    const counter = [tile * c.rowGroups + o.rowGroup, 0] as const
    const arrive = (arrivals: number): void => {
      if (thread === 0) seen.put(atomicAdd(scratch, counter, i32(arrivals)), o.rowGroup)
      namedBarrier(id, 128)
    }
    // Where all others have arrived, nothing is stored.
    arrive(0)
    hasAll = seen.at(o.rowGroup) === others
    if (!hasAll) {
      eachQuad(g, o, slotOf(streamed, blockIdx.x, tile), (quad, sums, i) => {
        store(scratch, [quad, 0], sums.slice(i, i + 4))
      })
      threadFence()
      namedBarrier(id, 128)
      arrive(1)
      hasAll = seen.at(o.rowGroup) === others
    }
    if (hasAll) {
      threadFence()
      for (const cta of range(first, last + 1)) {
        if (cta !== blockIdx.x) {
          eachQuad(g, o, slotOf(streamed, cta, tile), (quad, sums, i) => {
            const others = load(scratch, [quad, 0], 4)
            for (const j of unroll(4)) sums[i + j] = sums[i + j]! + others[j]!
          })
        }
      }
      // For the next launch.
      if (thread === 0) store(scratch, counter, [i32(0)])
    }
  }
  return hasAll
}

/** Where a CTA keeps its piece of a tile. */
const slotOf = (streamed: StreamedTiles, cta: i32, tile: i32): i32 =>
  2 * cta + turnOfPiece(streamed, cta, tile)

/** Runs `body` for each four sums of a thread, from the `i`-th of a block's `sums` on, and their place in `scratch`. */
function eachQuad(
  { c }: WgmmaProduct,
  o: TileSums,
  slot: i32,
  body: (quad: i32, sums: number[], i: number) => void,
): void {
  const first = pieceQuad(c, slot, o.rowGroup) + (threadIdx.x & 127)
  o.acc.forEach((sums, b) => {
    for (const i of unroll(0, c.tokens / 2, 4)) body(first + ((b * c.tokens) / 8 + i / 4) * 128, sums, i)
  })
}
