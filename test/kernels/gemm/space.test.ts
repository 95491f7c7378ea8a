import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { targets } from '../../../codegen/target.ts'
import { gemmSpace } from '../../../kernels/gemm/space.ts'
import { type WgmmaTiles, wgmmaCluster } from '../../../kernels/gemm/wgmma-plan.ts'

/** Tiles of 128 rows that are tried in halves for a product, by their tokens. */
const halved = (M: number, N: number): number[] => {
  const tried = [...gemmSpace('fp8').configurations(targets.sm_90a, { M, N, K: 4096 })] as WgmmaTiles[]
  return tried.filter((c) => c.halves && c.rowGroups * c.blocks === 2).map(({ tokens }) => tokens)
}

test('halves are tried where the last wave, behind others, is half of a wave at most', () => {
  // 3.4 waves of 256 tokens, 6.8 of 128; 6.8 and 13.6; 1.7 and 3.4; 0.7 and 1.5.
  assert.equal([...new Set(halved(512, 28672))], [256])
  assert.equal(halved(1024, 28672), [])
  assert.equal([...new Set(halved(256, 28672))], [128])
  assert.equal([...new Set(halved(512, 6144))], [128])
})

test('weights stay beside outputs that are larger than the cache', () => {
  const keeps = (M: number) =>
    [...gemmSpace('w8a8').configurations(targets.sm_90a, { M, N: 28672, K: 4096 })].some(
      (c) => (c as WgmmaTiles).keep !== undefined && wgmmaCluster(c as WgmmaTiles) === 2,
    )
  assert.equal([256, 4096].map(keeps), [false, true])
})

test.run()
