import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { targets } from '../../codegen/target.ts'
import { defaultTiles } from '../../kernels/gemm/mma-tiles.ts'
import type { TileConstants } from '../../kernels/gemm/operands.ts'
import { gemmSpace } from '../../kernels/gemm/space.ts'
import { bestTiles, tokenBucket } from '../../models/best-tiles.ts'
import type { TuneRecord } from '../../runtime/tune/records.ts'
import { Tuned } from '../../runtime/tune/tuned.ts'
import { fakeFacts } from '../support/fake-tuning.ts'
import { hostDevice } from '../support/host-device.ts'

const device = hostDevice('cuda:0')
const space = gemmSpace('w4a8')
const shape = { N: 4096, K: 4096 }

const recordOf = (tiles: TileConstants, M: number, us: number): TuneRecord => ({
  ...fakeFacts,
  ...{ config: tiles as never, registers: 100, spills: 0, shared: 1, ptxHash: '', us, interval: null },
  key: { ...shape, M },
})

const small = space.configurations(targets.sm_80, { ...shape, M: 16 })
const large = space
  .configurations(targets.sm_80, { ...shape, M: 512 })
  .filter((tiles) => space.refusal(tiles, targets.sm_80, { ...shape, M: 16 }) !== undefined)

test('the fastest record of the very shape is taken, and nothing is said', () => {
  const tuned = new Tuned([recordOf(small[0]!, 16, 9), recordOf(small[1]!, 16, 8)], [])
  const said: string[] = []
  const best = bestTiles('w4a8', { ...shape, M: 16 }, device, { tuned, say: (line) => said.push(line) })
  assert.equal([best, said], [small[1], []])
})

test('an untuned shape takes the nearest record that its rules allow, and says so once, in one sentence', () => {
  const tuned = new Tuned([recordOf(large[0]!, 32, 1), recordOf(small[0]!, 64, 2)], [])
  const said: string[] = []
  const options = { tuned, say: (line: string) => said.push(line) }
  const other = { N: 4608, K: 4096, M: 16 }
  assert.ok(space.refusal(small[0]!, targets.sm_80, other) === undefined)
  assert.equal(
    bestTiles('w4a8', other, device, options),
    small[0],
    'the nearer record has tiles for more tokens',
  )
  bestTiles('w4a8', { ...other, M: 32 }, device, options)
  bestTiles('w8a8', { ...other, N: 512 }, device, { ...options, tuned: new Tuned([], []) })
  assert.equal(said, [
    'quattuor: no tiles are on record for w4a8 weights of 4608x4096 on host memory, and those of 4096x4096 serve; ' +
      'run quattuor tune gemm --format w4a8 --shape 4608x4096',
  ])
})

test('without any record there is the default; the emulator has it always', () => {
  const M = 33
  const none = { tuned: new Tuned([], []), say: () => {} }
  assert.equal(
    bestTiles('w4a8', { ...shape, M }, device, none),
    defaultTiles('w4a8', { ...shape, M }, device.target),
  )
  const tuned = new Tuned([recordOf(small[0]!, M, 1)], [])
  const emulator = hostDevice('emulator')
  assert.equal(
    bestTiles('w4a8', { ...shape, M }, emulator, { tuned }),
    defaultTiles('w4a8', { ...shape, M }, emulator.target),
  )
})

test('tokens are rounded up to a tuned count, or else to a power of two', () => {
  const tuned = new Tuned([recordOf(small[0]!, 16, 1), recordOf(small[0]!, 48, 1)], [])
  const bucket = (M: number, N = 4096) => tokenBucket('w4a8', { M, N, K: 4096 }, device, tuned)
  assert.equal(
    [1, 16, 17, 48, 49, 100].map((M) => bucket(M)),
    [16, 16, 48, 48, 64, 128],
  )
  assert.equal(
    [1, 3, 33].map((M) => bucket(M, 8192)),
    [1, 4, 64],
  )
})

test.run()
