import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { targets } from '../../../codegen/target.ts'
import { type WeightFormat, type WeightFormatName, weightFormats } from '../../../kernels/formats/index.ts'
import { gemmSpace } from '../../../kernels/gemm/space.ts'
import { sumSlices, type WgmmaTiles } from '../../../kernels/gemm/wgmma-plan.ts'
import { untunedTiles } from '../../../models/best-tiles.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { rng } from '../../support/rng.ts'
import { assertSlices, slicedFormats } from '../cases/slices.ts'

const device = openEmulator({ checks: true, schedule: 'shuffled', seed: 3 })

const random = rng(11)
for (const format of slicedFormats) {
  for (const slices of [2, 4] as const) {
    // Slices as long as each other, of different lengths, and empty ones.
    const units = random.integer(1, 9)
    const some = format !== 'w4a16-g128'
    test(`sums of ${slices} slices of ${units} units do not depend on who adds them: ${format}`, () =>
      assertSlices(device, { format, slices, units, random, some }))
  }
}

test('all tiles that a product may get have the slices that its format and K want', () => {
  for (const name of Object.keys(weightFormats) as WeightFormatName[]) {
    const format = weightFormats[name] as WeightFormat
    for (const K of [4096, 8064, 8192, 14336]) {
      const wanted = sumSlices(format, K)
      for (const M of [1, 9, 40, 100, 300, 5000])
        for (const N of [1024, 4096, 28672]) {
          const all = [...gemmSpace(name).configurations(targets.sm_90a, { M, N, K })]
          all.push(untunedTiles(name, { M, N, K }, targets.sm_90a))
          for (const tiles of all) {
            assert.is(tiles.path, 'wgmma')
            const { slices = 1, kGroups, split } = tiles as WgmmaTiles
            assert.is(slices, wanted, `${name}, K = ${K}, M = ${M}`)
            if (!format.activations.includes('i8')) assert.ok([1, wanted].includes(kGroups * split))
          }
        }
    }
  }
})

test.run()
