import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { wgmmaGrid } from '../../../kernels/gemm/wgmma.ts'
import { rng } from '../../support/rng.ts'
import { wgmmaTiles } from '../cases/wgmma-tiles.ts'

const large = wgmmaTiles({ tokens: 256, rowGroups: 2, multicast: 2, stages: 4, ctas: 132 })

test('CTAs that keep weights in the cache have as many tiles as each other, others as many CTAs as there are', () => {
  const shape = { M: 4096, N: 28672 }
  assert.equal(wgmmaGrid(shape, large), [132, 1])
  assert.equal(wgmmaGrid(shape, { ...large, keep: 'weights' }), [128, 1])
  // Whose last wave is for all of them.
  assert.equal(wgmmaGrid(shape, { ...large, keep: 'weights', halves: true }), [132, 1])
})

test('fewer CTAs take no more waves, and none has two tiles less than another', () => {
  const random = rng(4)
  for (let i = 0; i < 200; i++) {
    const shape = { M: random.integer(1, 8192), N: 8 * random.integer(1, 4096) }
    const clusters = (of: typeof large): number => wgmmaGrid(shape, of)[0] / 2
    const tiles = Math.ceil(shape.M / 256) * Math.ceil(Math.ceil(shape.N / 128) / 2)
    const [all, even] = [clusters(large), clusters({ ...large, keep: 'weights' })]
    assert.ok(even <= all && even >= 1)
    assert.is(Math.ceil(tiles / even), Math.ceil(tiles / all))
    assert.ok(even * Math.ceil(tiles / even) - tiles < Math.ceil(tiles / even))
  }
})

test.run()
