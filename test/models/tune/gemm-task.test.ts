import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { targets } from '../../../codegen/target.ts'
import { type WeightFormatName, weightFormats } from '../../../kernels/formats/index.ts'
import { defaultTiles } from '../../../kernels/gemm/mma-tiles.ts'
import { untunedTiles } from '../../../models/best-tiles.ts'
import { gemmTask } from '../../../models/tune/gemm-task.ts'
import { tileExtents } from '../../../models/tune/sampled-shape.ts'

const shapes = [
  { M: 512, N: 4096, K: 4096 },
  { M: 1, N: 28672, K: 4096 },
  { M: 1, N: 4096, K: 4096 },
]

test('shapes come in an order in which neighbours follow each other', () => {
  const { cells } = gemmTask('w4a8', shapes, targets.sm_90a, true)
  assert.equal(
    cells.map(({ N, M }) => [N, M]),
    [
      [4096, 1],
      [4096, 512],
      [28672, 1],
    ],
  )
})

test('one program of a configuration serves every shape on wgmma; on mma.sync each shape has its own', () => {
  const hopper = gemmTask('w4a8', shapes, targets.sm_90a, true)
  for (const cell of hopper.cells)
    for (const { config, constants, dims } of hopper.candidates(cell)) {
      assert.is(config.path, 'wgmma')
      assert.is(dims, undefined)
      assert.not('N' in constants)
    }
  const ampere = gemmTask('w4a8', shapes, targets.sm_80, true)
  for (const cell of ampere.cells)
    for (const { config, dims } of ampere.candidates(cell)) {
      assert.is(config.path, 'mma')
      assert.equal(dims, { N: cell.N, K: cell.K })
      assert.not('Strips' in config)
    }
})

test('what would be taken without a record is among the candidates, once', () => {
  for (const format of Object.keys(weightFormats) as WeightFormatName[])
    for (const shape of shapes) {
      const tiles = untunedTiles(format, shape, targets.sm_90a)
      const names = gemmTask(format, [shape], targets.sm_90a, true)
        .candidates(shape as never)
        .map(({ config }) => JSON.stringify(Object.entries(config).sort()))
      const wanted = JSON.stringify(Object.entries(tiles).sort())
      assert.is(names.filter((name) => name === wanted).length, 1, `${format} ${JSON.stringify(shape)}`)
      assert.is(new Set(names).size, names.length)
    }
  const ampere = gemmTask('w8a8', [shapes[0]!], targets.sm_80, true).candidates(shapes[0] as never)
  const { Strips: _s, Units: _u, Words: _w, ...tiles } = defaultTiles('w8a8', shapes[0]!, targets.sm_80)
  const same = ampere.filter(
    ({ config }) =>
      JSON.stringify(Object.entries(config).sort()) === JSON.stringify(Object.entries(tiles).sort()),
  )
  assert.is(same.length, 1)
})

test('there are programs for every number of tokens on Hopper, of a hundred programs at most, none too tall for few tokens', () => {
  for (const format of Object.keys(weightFormats) as WeightFormatName[]) {
    const names = new Set<string>()
    for (const M of [1, 16, 64, 256, 4096]) {
      const task = gemmTask(format, [{ M, N: 4096, K: 4096 }], targets.sm_90a, true)
      const candidates = task.candidates(task.cells[0]!)
      assert.ok(candidates.length >= 1, `${format}, ${M} tokens: ${candidates.length}`)
      for (const { constants, config } of candidates) {
        names.add(JSON.stringify(constants))
        assert.ok(tileExtents(config as never).M <= Math.max(16, M), `${format} ${JSON.stringify(config)}`)
      }
    }
    assert.ok(names.size >= 5 && names.size <= 100, `${format}: ${names.size}`)
  }
})

test('the emulator runs one tile of each, and programs of mma.sync are compiled for it', () => {
  const task = gemmTask('w4a8', [{ M: 512, N: 4096, K: 4096 }], targets.sm_80, false)
  for (const { config, dims } of task.candidates(task.cells[0]!)) {
    const tile = tileExtents(config as never)
    assert.is(dims!.N, tile.N)
    assert.ok(dims!.K! % tile.K === 0 && dims!.K! <= 1024)
  }
})

test.run()
