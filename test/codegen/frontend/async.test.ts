import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../../codegen/compile.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { asyncCases, readTile } from '../../support/async-cases.ts'
import { ringCopies } from '../../support/golden-kernels.ts'
import { assertSame, prepareKernel, runCase } from '../../support/run-kernel.ts'

/** What the copy engine moves, through the emulator with all checks. */
const device = openEmulator({ checks: true })

for (const each of asyncCases) test(each.name, () => runCase(device, each))

test('behind a resize, rows past the end read as zeros, and behind the next they are there again', async () => {
  const c = { dtype: 'u8', rows: 16, columns: 32, slabs: 0, swizzled: true, row: 8, column: 16 } as const
  const data = Uint8Array.from({ length: 40 * 48 }, (_, i) => 1 + (i % 255))
  const { launch, tensors } = await prepareKernel(device, readTile, c, {
    x: { dtype: 'u8', shape: [40, 48], data },
    out: { dtype: 'u8', shape: [16, 32] },
  })
  for (const M of [40, 13, 1, 22, 40]) {
    launch.resize({ M })
    launch.run()
    const expected = Array.from({ length: 16 * 32 }, (_, i) => {
      const [row, column] = [8 + Math.floor(i / 32), 16 + (i % 32)]
      return row < M ? data[row * 48 + column]! : 0
    })
    assertSame(await tensors.out!.read(), expected, 32, `out at M = ${M}`)
  }
})

test('a program has one tensor map for each tensor and kind of tile, behind its other parameters', () => {
  const { params, cluster, overlaps } = compileKernel(ringCopies, {}, 'sm_90a')
  assert.equal(
    params.map(({ kind, name }) => `${kind} ${name}`),
    [
      ...['tensor w', 'tensor x', 'tensor out'],
      ...['dim Tiles', 'dim Steps', 'dim M', 'dim K', 'dim N'],
      ...['tensorMap x.map0', 'tensorMap out.map1'],
    ],
  )
  const map = { kind: 'tensorMap', slabs: 0 }
  assert.equal(params.slice(-2), [
    { ...map, name: 'x.map0', tensor: 'x', rows: 32, columns: 128, swizzle: 128 },
    { ...map, name: 'out.map1', tensor: 'out', rows: 64, columns: 8, swizzle: 32 },
  ])
  assert.equal(
    params.map((param) => (param.kind === 'tensor' ? param.align : 0)).slice(0, 3),
    [16, 16, 16],
    'the copy engine wants addresses that are multiples of 16',
  )
  assert.is(cluster, 2)
  assert.is(overlaps, true)
})

test.run()
