import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { targets } from '../../../codegen/target.ts'
import { weightFormats } from '../../../kernels/formats/index.ts'
import { defaultGroupedTiles } from '../../../kernels/gemm/grouped-tiles.ts'
import { wgmmaSharedBytes } from '../../../kernels/gemm/wgmma-plan.ts'
import { groupTiles } from '../../../kernels/group-tiles.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { prepare } from '../../../runtime/kernel.ts'
import { Tensor } from '../../../runtime/tensor.ts'
import { rng } from '../../support/rng.ts'
import { prepareKernel, runCase } from '../../support/run-kernel.ts'
import { groupedCase, groupedTiles, routings } from '../cases/gemm-grouped.ts'

const formats = ['w4a8', 'w4a8-g128', 'w8a8'] as const
const routes = Object.values(routings)

let seed = 1
for (const [name, tiles] of Object.entries(groupedTiles)) {
  // Some tiles of each expert; one token, or few of many experts.
  for (const [M, experts] of [[70, 3], seed % 4 === 1 ? [1, 4] : [9, 6]] as const) {
    const random = rng(seed)
    const format = formats[random.integer(0, formats.length - 1)]!
    const counts = routes[random.integer(0, routes.length - 1)]!(random, experts, M)
    const zero = seed % 2 === 0 ? 'register' : 'epilogue'
    const dtype = seed % 4 === 0 ? 'bf16' : 'f16'
    const N = tiles.multicast === 2 ? 136 : 72
    const c = groupedCase({ format, counts, N, K: 384, seed, dtype, zero, bias: M > 10, tiles })
    const device = openEmulator({ checks: true, schedule: 'shuffled', seed })
    test(`equals the experts' products bit for bit, ${name}: ${c.name}`, () => runCase(device, c))
    seed++
  }
}

test('takes the list that is made on the device, from launch to launch', async () => {
  const device = openEmulator()
  const experts = 5
  const cases = routes.map((route, i) =>
    groupedCase({ format: 'w4a8', counts: route(rng(90 + i), experts, 50), N: 64, K: 128, seed: 90 + i }),
  )
  const { launch, tensors } = await prepareKernel(device, cases[0]!.kernel, cases[0]!.config, cases[0]!.args)
  tensors.tiles!.fill(0x7f)
  tensors.tileCount!.fill(0x7f)
  const counts = Tensor.allocate(device, 'i32', [experts])
  const { tiles, tileCount } = tensors as { tiles: Tensor; tileCount: Tensor }
  const make = await prepare(device, groupTiles, { Experts: experts, tokens: 16 }, {
    counts,
    tiles,
    tileCount,
  } as never)
  for (const [i, route] of routes.entries()) {
    const own = cases[i]!.args as Record<string, { data?: Int32Array }>
    for (const name of ['w', 'scale', 'zero', 'x', 'xScale', 'xSum']) tensors[name]!.write(own[name]!.data!)
    counts.write(Int32Array.from(route(rng(90 + i), experts, 50)))
    make.run()
    launch.run()
    cases[i]!.check({ out: await tensors.out!.read() })
  }
})

test('refuses a list without room for every routing', async () => {
  const c = groupedCase({ format: 'w8a8', counts: [20, 3], N: 64, K: 128, seed: 99 })
  const tiles = { dtype: 'i32', shape: [2, 4] } as const
  let message = ''
  await prepareKernel(openEmulator(), c.kernel, c.config, { ...c.args, tiles }).catch((error: Error) => {
    message = error.message
  })
  assert.is(message, 'a list of 2 tiles is too short for 23 tokens of 2 experts by 16: give it room for 3')
})

test('the default tiles of any routing fit the target', () => {
  const random = rng(7)
  for (let i = 0; i < 200; i++) {
    const format = weightFormats[formats[i % formats.length]!]
    const shape = {
      M: random.integer(1, 9000),
      N: 8 * random.integer(1, 4000),
      K: 128 * random.integer(1, 120),
      experts: random.integer(1, 256),
    }
    const tiles = defaultGroupedTiles(format, shape, targets.sm_90a)
    assert.ok(tiles, JSON.stringify(shape))
    assert.ok(wgmmaSharedBytes(tiles, format, 'i8') <= targets.sm_90a.sharedBytes, JSON.stringify(shape))
  }
  const odd = { M: 8, N: 64, K: 192, experts: 2 }
  assert.is(defaultGroupedTiles(weightFormats.w4a8, odd, targets.sm_90a), undefined)
})

test.run()
