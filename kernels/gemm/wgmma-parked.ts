import { addFloats, blockIdx, f32, type i32, loadWords, storeWords, u32, unroll } from '../../dsl/index.ts'
import type { TileSums } from './wgmma-epilogue.ts'
import { eachQuad } from './wgmma-pieces.ts'
import type { WgmmaProduct } from './wgmma-product.ts'

/**
 * Adds up the sums of a tile's slices of K where registers have room for those of one slice alone: the sums of the slices
 * before wait in device memory, where the L2 cache adds the next ones to them, and nobody waits for that. Behind the last
 * slice `acc` holds the sums of all. Each thread has a place of its own, so that no order among threads is needed.
 *
 * @param isFirst whether the slice is the first that has columns.
 * @param isLast whether it is the last.
 */
export function joinSlice(
  g: WgmmaProduct,
  o: Pick<TileSums, 'rowGroup' | 'acc'>,
  isFirst: boolean,
  isLast: boolean,
): void {
  const scratch = g.a.scratch!
  const each = (body: (quad: i32, sums: number[], i: number) => void): void =>
    eachQuad(g, o, blockIdx.x, body)
  if (!isLast) {
    if (isFirst)
      each((quad, sums, i) =>
        storeWords(
          scratch,
          [quad, 0],
          sums.slice(i, i + 4).map((sum) => u32.bits(f32(sum))),
        ),
      )
    else each((quad, sums, i) => addFloats(scratch, [quad, 0], sums.slice(i, i + 4)))
  } else if (!isFirst) {
    each((quad, sums, i) => {
      const before = loadWords(scratch, [quad, 0], 4)
      for (const j of unroll(4)) sums[i + j] = f32.bits(before[j]!) + sums[i + j]!
    })
  }
}
