import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../../codegen/compile.ts'
import { targets } from '../../../codegen/target.ts'
import { columnMultiple, type WeightFormat } from '../../../dsl/format.ts'
import { type WeightFormatName, weightFormats } from '../../../kernels/formats/index.ts'
import { pieceColumns } from '../../../kernels/gemm/mma.ts'
import { defaultTiles, gemmSharedBytes } from '../../../kernels/gemm/mma-tiles.ts'
import { gemmConstants, gemmKernel } from '../../../kernels/gemm/operands.ts'
import { assemble } from '../../support/ptxas.ts'
import { rng } from '../../support/rng.ts'

/** Formats of 8-bit floats have no kernel on `mma.sync`. */
const names = (Object.keys(weightFormats) as WeightFormatName[]).filter(
  (name) => !(weightFormats[name] as WeightFormat).activations.includes('e4m3'),
)
for (const name of names) {
  const format: WeightFormat = weightFormats[name]

  test(`${name}: the default tile of any shape suits it and fits every target`, () => {
    const random = rng(3)
    for (let i = 0; i < 300; i++) {
      const M = 2 ** random.integer(0, 12) + random.integer(-1, 1) || 1
      const N = random.integer(1, 9000)
      const K = columnMultiple(format) * random.integer(1, 300)
      for (const target of Object.values(targets)) {
        const t = defaultTiles(name, { M, N, K }, target)
        const shape = JSON.stringify({ M, N, K, target: target.name, t })
        const [piece, columns] = [pieceColumns(format), t.tileK / t.warpsK]
        assert.ok(columns % piece === 0, shape)
        assert.ok(!format.group || columns % format.group === 0 || format.group % columns === 0, shape)
        assert.ok(K % t.tileK === 0 || K % piece !== 0, shape)
        assert.ok(t.tileM % 8 === 0 && t.tileN % (16 * t.warpsN) === 0, shape)
        assert.ok(t.stages >= 2 && t.warpsN * t.warpsK <= 32, shape)
        assert.ok(gemmSharedBytes(format, t) <= target.sharedBytes, shape)
        assert.ok(format.activations.includes('i8') || t.warpsK === 1, shape)
      }
    }
  })

  test(`${name}: a default tile assembles, and takes the shared memory that is foretold`, () => {
    for (const M of [1, 40]) {
      const shape = { M, N: 96, K: 512 }
      const tiles = defaultTiles(name, shape, targets.sm_80)
      const config = gemmConstants(name, shape, tiles, { dtype: 'f16' })
      const program = compileKernel(gemmKernel(name), config, 'sm_80')
      assemble(program.ptx, 'sm_80')
      assert.is(program.sharedBytes, gemmSharedBytes(format, tiles))
    }
  })
}

test.run()
