import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Param, Program, TensorMapParam } from '../../../codegen/program.ts'
import type { DType } from '../../../dsl/dtype.ts'
import { type CudaDevice, openCuda } from '../../../runtime/cuda/device.ts'
import { argumentOffsets } from '../../../runtime/cuda/launch.ts'
import type { TensorMap } from '../../../runtime/device.ts'
import { type Launch, type LaunchOptions, prepareProgram } from '../../../runtime/kernel.ts'
import { Tensor } from '../../../runtime/tensor.ts'
import { rng } from '../../support/rng.ts'
import { vectorAdd } from '../../support/vector-add.ts'
import { buildStub, decodeTensorMap, type Stub } from './stub/stub.ts'

const built = buildStub()
const test = suite('launches with tensor maps, clusters and overlap on the stub driver')
if (!built) test.skip('needs a C compiler', () => {})
const stub = built as Stub
const check: typeof test = (built ? test : test.skip) as typeof test

let device: CudaDevice
test.before.each(() => {
  if (!built) return
  stub.reset()
  device = openCuda(0, { library: stub.library })
})
test.after.each(async () => {
  if (built) await device.close()
})

const random = rng(33)

const tensor = (dtype: DType): Param => ({
  kind: 'tensor',
  name: 'x',
  dtype,
  shape: ['M', 'K'],
  words: ['M', 'K'],
  tag: 'row',
  access: 'in',
  align: 16,
})
const tiles: TensorMapParam = {
  kind: 'tensorMap',
  name: 'x.map0',
  tensor: 'x',
  rows: 64,
  columns: 128,
  slabs: 0,
  swizzle: 128,
}

const programWith = (map: TensorMapParam, dtype: DType, change: Partial<Program> = {}): Program =>
  vectorAdd('sm_90a', {
    params: [tensor(dtype), { kind: 'dim', name: 'M' }, { kind: 'dim', name: 'K' }, map],
    ...change,
  })

function bound(program: Program, x: Tensor, options?: LaunchOptions, grid = [1]): Launch {
  return prepareProgram(device, program, () => grid, { x } as never, options) as Launch
}

/** The map of the latest launch: argument 3, behind an address and two extents. */
const latestMap = () => decodeTensorMap(stub.launches().at(-1)!.args.subarray(64, 192))

check('a tensor map lies at a multiple of 64 bytes of the argument block', () => {
  const { params } = programWith(tiles, 'i8')
  assert.equal(argumentOffsets([...params, tiles, { kind: 'dim', name: 'N' }]), {
    offsets: [0, 8, 12, 64, 192, 320],
    bytes: 324,
  })
})

check('a map describes rows and columns, innermost first, with zeros outside', () => {
  const x = Tensor.allocate(device, 'i8', [96, 256])
  bound(programWith(tiles, 'i8'), x).run()
  assert.equal(latestMap(), {
    type: 0,
    interleave: 0,
    swizzle: 3,
    promotion: 2,
    fill: 0,
    box: [128, 64],
    steps: [1, 1],
    address: x.address,
    extents: [256, 96],
    strides: [256],
  })
})

check('slabs are a third dimension, each so many columns further on', () => {
  const x = Tensor.allocate(device, 'bf16', [24, 320])
  bound(programWith({ ...tiles, columns: 32, slabs: 2, swizzle: 64 }, 'bf16'), x).run()
  const { type, swizzle, box, extents, strides } = latestMap()
  assert.equal(
    { type, swizzle, box, extents, strides },
    {
      type: 9,
      swizzle: 2,
      box: [32, 64, 2],
      extents: [32, 24, 10],
      strides: [640, 64],
    },
  )
})

check('every element type has its own code', () => {
  const codes = { i8: 0, u8: 0, e4m3: 0, e5m2: 0, u32: 2, i32: 3, f16: 6, f32: 7, bf16: 9 } as const
  for (const [dtype, code] of Object.entries(codes)) {
    bound(
      programWith({ ...tiles, columns: 32 }, dtype as DType),
      Tensor.allocate(device, dtype as DType, [64, 64]),
    ).run()
    assert.is(latestMap().type, code, dtype)
  }
})

check('resize shortens the rows that a map sees, and set moves it to another tensor', () => {
  const [x, y] = [Tensor.allocate(device, 'i8', [96, 256]), Tensor.allocate(device, 'i8', [80, 512])]
  const launch = bound(programWith(tiles, 'i8'), x)
  const rows = random.integer(1, 95)
  launch.resize({ M: rows })
  launch.run()
  assert.equal(latestMap().extents, [256, rows])
  launch.resize({})
  launch.set({ x: y } as never)
  launch.run()
  const { address, extents, strides } = latestMap()
  assert.equal({ address, extents, strides }, { address: y.address, extents: [512, 80], strides: [512] })
})

check('a launch that stays as it was has its map encoded once', () => {
  const launch = bound(programWith(tiles, 'i8'), Tensor.allocate(device, 'i8', [96, 256]))
  launch.resize({ M: 96 })
  launch.run()
  assert.is(stub.called('cuTensorMapEncodeTiled'), 1)
})

check('rows that the copy engine cannot take are refused by the name of the tensor', () => {
  const odd = Tensor.allocate(device, 'f16', [8, 60])
  assert.throws(
    () => bound(programWith({ ...tiles, columns: 32 }, 'f16'), odd),
    "kernel vectorAdd, argument 'x': expected rows of a multiple of 16 bytes, as the copy engine reads them, got 60 elements of f16",
  )
  assert.throws(
    () =>
      bound(
        programWith({ ...tiles, columns: 48, slabs: 2, swizzle: 0 }, 'i8'),
        Tensor.allocate(device, 'i8', [8, 160]),
      ),
    "kernel vectorAdd, argument 'x': expected rows of a multiple of 48 elements, the columns of a slab, got 160",
  )
})

check('a map that the driver refuses is an error that says what was asked', () => {
  stub.fail('cuTensorMapEncodeTiled', 1)
  assert.throws(
    () => bound(programWith(tiles, 'i8'), Tensor.allocate(device, 'i8', [96, 256])),
    /describing tiles of 128×64 of 256×96 elements of i8 for x\.map0 of kernel vectorAdd/,
  )
})

check('numbers and maps do not stand for each other', () => {
  const fn = device.load(programWith(tiles, 'i8'))
  const map: TensorMap = {
    address: 24,
    dtype: 'i8',
    extents: [256, 8],
    strides: [256],
    box: [128, 8],
    swizzle: 128,
  }
  assert.throws(
    () => device.prepareLaunch(fn, { grid: [1, 1, 1] }, [map, 8, 256, map]),
    /takes a number for x/,
  )
  assert.throws(
    () => device.prepareLaunch(fn, { grid: [1, 1, 1] }, [16, 8, 256, 16]),
    /takes a tensor map for x\.map0/,
  )
  assert.throws(
    () => device.prepareLaunch(fn, { grid: [1, 1, 1] }, [16, 8, 256, map]),
    /needs addresses and rows of multiples of 16 bytes, and was given address 0x18/,
  )
})

check('a kernel that waits for its predecessor is launched to overlap it, unless told otherwise', () => {
  const x = Tensor.allocate(device, 'i8', [96, 256])
  const waits = programWith(tiles, 'i8', { overlaps: true })
  bound(waits, x).run()
  bound(waits, x, { overlap: false }).run()
  bound(programWith(tiles, 'i8'), x).run()
  assert.equal(
    stub.launches().map(({ attribute }) => attribute),
    [{ id: 6, value: 1 }, undefined, undefined],
  )
  assert.throws(
    () => bound(programWith(tiles, 'i8'), x, { overlap: true }),
    /cannot overlap its predecessor: it does not call waitForPrevious\(\)/,
  )
})

check('a graph keeps that a launch overlaps, and its map', () => {
  const x = Tensor.allocate(device, 'i8', [96, 256])
  const launch = bound(programWith(tiles, 'i8', { overlaps: true }), x)
  const graph = device.capture((stream) => launch.run(stream))
  launch.resize({ M: 5 })
  graph.launch()
  assert.equal(stub.launches()[0]!.attribute, { id: 6, value: 1 })
  assert.equal(latestMap().extents, [256, 96])
})

check('the grid must be a multiple of the cluster', () => {
  const x = Tensor.allocate(device, 'i8', [96, 256])
  const pairs = programWith(tiles, 'i8', { cluster: 2 })
  bound(pairs, x, {}, [6, 3]).run()
  assert.equal(stub.launches()[0]!.grid, [6, 3, 1])
  assert.throws(
    () => bound(pairs, x, {}, [7]),
    "kernel vectorAdd, argument 'grid': expected a multiple of the 2 CTAs of a cluster along x, got [7]",
  )
  const launch = device.prepareLaunch(
    device.load(vectorAdd('sm_90a', { cluster: 4 })),
    { grid: [4, 1, 1] },
    [16, 16, 1, 16, 1],
  )
  assert.throws(
    () => launch.setGrid([6, 1, 1]),
    /clusters of 4 CTAs, and a grid of 6 x 1 x 1 is no multiple along x/,
  )
})

test.run()
