import {
  atomicExchange,
  blockIdx,
  i32,
  load,
  namedBarrier,
  range,
  store,
  threadFence,
  threadIdx,
  unroll,
} from '../../dsl/index.ts'
import { firstSharer, runEnds, type StreamedTiles } from '../../dsl/std/index.ts'
import type { TileSums } from './wgmma-epilogue.ts'
import { pieceQuad } from './wgmma-plan.ts'
import type { WgmmaProduct } from './wgmma-product.ts'

/**
 * Adds up the pieces of a tile that several CTAs have of it, warpgroup by warpgroup; returns whether the caller has the
 * whole sums, which is who has the end of the tile. All others put theirs into device memory. A CTA comes to its piece of a
 * tile's end last, and waits for CTAs before it in the grid alone, which had theirs before or at the same time. Called by
 * the threads of a warpgroup.
 */
export function joinPieces(g: WgmmaProduct, streamed: StreamedTiles, o: TileSums): boolean {
  const { a, c } = g
  const scratch = a.scratch!
  const { begin, end, shared: tile } = o.tile.piece!
  const isWhole = tile < 0
  const isEnd = isWhole || end === streamed.steps
  const id = 1 + o.rowGroup
  const thread = threadIdx.x & 127
  const flag = (cta: i32) => [cta * c.rowGroups + o.rowGroup, 0] as const
  if (!isEnd) {
    eachQuad(g, o, blockIdx.x, (quad, sums, i) => {
      store(scratch, [quad, 0], sums.slice(i, i + 4))
    })
  }
  if (!isWhole) {
    const run = runEnds(streamed)
    // Said behind the CTA's last piece: by then the sums of the one before have long arrived.
    if (begin === run.begin && run.end > 0) {
      threadFence()
      namedBarrier(id, 128)
      if (thread === 0) atomicExchange(scratch, flag(blockIdx.x), i32(1))
    }
    if (isEnd) {
      const first = firstSharer(streamed, tile)
      if (thread === 0) {
        for (const cta of range(first, blockIdx.x)) {
          // Zero again, for the next launch.
          let seen: i32 = 0
          while (seen === 0) seen = atomicExchange(scratch, flag(cta), i32(0))
        }
      }
      namedBarrier(id, 128)
      threadFence()
      for (const cta of range(first, blockIdx.x)) {
        eachQuad(g, o, cta, (quad, sums, i) => {
          const others = load(scratch, [quad, 0], 4)
          for (const j of unroll(4)) sums[i + j] = sums[i + j]! + others[j]!
        })
      }
    }
  }
  return isEnd
}

/** Runs `body` for each four sums of a thread, from the `i`-th of a block's `sums` on, and a CTA's place for them. */
export function eachQuad(
  { c }: WgmmaProduct,
  o: Pick<TileSums, 'rowGroup' | 'acc'>,
  cta: i32,
  body: (quad: i32, sums: number[], i: number) => void,
): void {
  const first = pieceQuad(c, cta, o.rowGroup) + (threadIdx.x & 127)
  o.acc.forEach((sums, b) => {
    for (const i of unroll(0, c.tokens / 2, 4)) body(first + ((b * c.tokens) / 8 + i / 4) * 128, sums, i)
  })
}
