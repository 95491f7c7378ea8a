import { suite } from 'uvu'
import { describeDevices, openDevice } from '../../runtime/open-device.ts'
import { groupedCase, groupedTiles, groupTilesCase, routings } from '../kernels/cases/gemm-grouped.ts'
import { rng } from '../support/rng.ts'
import { type KernelCase, runCase } from '../support/run-kernel.ts'

/** Grouped products on a GPU: the cases of the emulator's tests at more and larger shapes. */
const { gpus } = await describeDevices()
const gpu = gpus.find((each) => each.target)
const isHopper = gpu?.target?.name === 'sm_90a'
const test = suite('grouped GEMM on CUDA')
if (!isHopper) {
  console.log(`skipped: grouped products on CUDA, because ${gpu ? 'the GPU has no wgmma' : 'no GPU'}`)
  test.skip('needs a GPU with wgmma', () => {})
}
const check = (isHopper ? test : test.skip) as typeof test

// Not in a `before` hook, whose errors uvu does not show.
const device = isHopper ? await openDevice(gpu!.name) : undefined
test.after(async () => {
  await device?.close()
})

const run = (c: KernelCase) => check(c.name, () => runCase(device!, c))

if (isHopper) {
  const formats = ['w4a8', 'w4a8-g128', 'w8a8'] as const
  const routes = Object.values(routings)
  let seed = 300
  let variant = 0
  for (const tiles of Object.values(groupedTiles)) {
    for (const format of formats) {
      // The same for all routings, which one program serves.
      const dtype = variant % 5 === 0 ? 'bf16' : 'f16'
      const zero = variant % 4 < 2 ? 'epilogue' : 'register'
      const bias = variant++ % 2 === 0
      for (const [M, experts] of [
        [1, 8],
        [32, 8],
        [300, 5],
        [301, 9],
      ] as const) {
        const counts = routes[seed % routes.length]!(rng(seed), experts, M)
        run(groupedCase({ format, counts, N: 328, K: 1408, seed: seed++, dtype, zero, bias, tiles }))
      }
    }
  }
  for (const experts of [1, 8, 33, 256]) {
    for (const route of routes) run(groupTilesCase(route(rng(experts), experts, 5000), 64))
  }
}

test.run()
