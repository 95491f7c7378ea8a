import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { groupTilesReference, mostGroupTiles } from '../../kernels/group-tiles.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { rng } from '../support/rng.ts'
import { runCase } from '../support/run-kernel.ts'
import { groupTilesCase, routings } from './cases/gemm-grouped.ts'

const device = openEmulator({ checks: true, schedule: 'shuffled', seed: 1 })

for (const experts of [1, 8, 32, 33, 100]) {
  for (const [name, route] of Object.entries(routings)) {
    for (const tokens of [16, 24, 256]) {
      const counts = route(rng(experts + tokens), experts, 301)
      test(`lists ${name} for ${experts} experts, ${tokens} a tile`, () =>
        runCase(device, groupTilesCase(counts, tokens)))
    }
  }
}

test('the longest list is as long as some routing needs, and no routing needs more', () => {
  for (const [M, experts, tokens] of [
    [1, 8, 16],
    [7, 8, 16],
    [33, 8, 16],
    [512, 8, 128],
    [40, 1, 16],
  ] as const) {
    const most = mostGroupTiles(M, experts, tokens)
    const used = Math.min(M, experts)
    const worst = Array.from({ length: experts }, (_, e) => Number(e < used))
    worst[0] = M - used + 1
    assert.is(groupTilesReference(worst, tokens).length / 4, most)
    const random = rng(M)
    for (let i = 0; i < 200; i++) {
      for (const route of Object.values(routings)) {
        assert.ok(groupTilesReference(route(random, experts, M), tokens).length / 4 <= most)
      }
    }
  }
})

test.run()
