import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Param, Program } from '../../codegen/program.ts'
import { type f32, type In, type Kernel, kernel, type Out, type u32 } from '../../dsl/index.ts'
import { type ArgumentError, checkArgument } from '../../runtime/arguments.ts'
import { type Launch, type prepare as prepareKernel, prepareProgram } from '../../runtime/kernel.ts'
import { Tensor } from '../../runtime/tensor.ts'
import { hostDevice } from '../support/host-device.ts'

/** `y[T, N] = x[T, K] · w[N, K]ᵀ · scale`, with K a constant of the configuration and `w` packed. */
const params: Param[] = [
  {
    kind: 'tensor',
    name: 'x',
    dtype: 'f16',
    shape: ['T', 64],
    words: ['T', 'K'],
    tag: 'row',
    access: 'in',
    align: 16,
  },
  {
    kind: 'tensor',
    name: 'w',
    dtype: 'u32',
    shape: ['N', 8],
    words: ['N', '8'],
    tag: 'fragment',
    access: 'in',
    align: 16,
  },
  { kind: 'scalar', name: 'scale', dtype: 'f32' },
  { kind: 'scalar', name: 'start', dtype: 'i32' },
  { kind: 'scalar', name: 'seed', dtype: 'u32' },
  {
    kind: 'tensor',
    name: 'y',
    dtype: 'f32',
    shape: ['T', 'N'],
    words: ['T', 'N'],
    tag: 'row',
    access: 'out',
    align: 4,
  },
  { kind: 'dim', name: 'T' },
  { kind: 'dim', name: 'N' },
]
const program: Program = {
  name: 'product',
  target: 'sm_80',
  config: { K: 64 },
  ptx: '',
  params,
  block: [128, 1, 1],
  cluster: 1,
  overlaps: false,
  sharedBytes: 0,
  sources: [],
}
const grid = (dims: Readonly<Record<string, number>>) => [Math.ceil(dims.T! / 4), dims.N! / 16]

const device = hostDevice('cuda:0')
const x = Tensor.allocate(device, 'f16', [12, 64])
const w = Tensor.allocate(device, 'u32', [32, 8], 'fragment')
const y = Tensor.allocate(device, 'f32', [12, 32])
const good = { x, w, scale: 0.5, start: -1, seed: 7, y }
type Args = { [name: string]: Tensor | number | undefined }

const prepare = (args: Args): Launch =>
  prepareProgram(device, program, grid, args as Record<string, never>) as Launch

function refused(args: Args, message: string, argument?: string): void {
  let thrown: unknown
  try {
    prepare({ ...good, ...args })
  } catch (error) {
    thrown = error
  }
  const error = thrown as ArgumentError
  assert.is(error?.name, 'ArgumentError', `expected: ${message}`)
  assert.is(error.message, `kernel product, argument '${error.argument}': ${message}`)
  assert.is(error.kernel, 'product')
  if (argument) assert.is(error.argument, argument)
}

test('arguments are packed in the order of the parameters, with extents bound from the tensors', () => {
  const launch = prepare(good)
  launch.run()
  assert.equal(device.launches.at(-1), {
    kernel: 'product',
    grid: [3, 2, 1],
    args: [x.address, w.address, 0.5, -1, 7, y.address, 12, 32],
  })
  assert.equal(launch.dims, { T: 12, K: 64, N: 32 })
})

test('unknown and missing names are told, with a near one', () => {
  refused({ scael: 1 }, `there is no such argument; did you mean 'scale'?`, 'scael')
  refused(
    { completelyDifferent: 1 },
    'there is no such argument in this configuration; the kernel takes x, w, scale, start, seed, y',
  )
  refused({ seed: undefined }, 'expected a value, got none', 'seed')
})

test('a value of the wrong kind is told', () => {
  refused({ x: 3 }, 'expected a tensor of f16, got a number')
  refused({ scale: y }, 'expected a number (f32), got an object')
  refused({ scale: 'a' as never }, 'expected a number (f32), got a string')
  refused({ start: 1.5 }, 'expected an i32, got 1.5')
  refused({ start: 2 ** 31 }, 'expected an i32, got 2147483648')
  refused({ seed: -1 }, 'expected an u32, got -1')
})

test('element type, rank, fixed extents and layout tags are compared, both sides shown', () => {
  refused({ x: Tensor.allocate(device, 'bf16', [12, 64]) }, 'expected elements of f16, got bf16')
  refused({ x: Tensor.allocate(device, 'f16', [64]) }, `expected 2 dimensions 'T K', got shape [64]`)
  refused({ x: Tensor.allocate(device, 'f16', [12, 32]) }, 'expected K = 64, got 32 in shape [12, 32]')
  refused(
    { w: Tensor.allocate(device, 'u32', [32, 4], 'fragment') },
    'expected dimension 1 to be 8, got 4 in shape [32, 4]',
  )
  refused(
    { w: Tensor.allocate(device, 'u32', [32, 8]) },
    `expected layout 'fragment', got layout 'row': pack the tensor for this kernel`,
  )
})

test('equal shape words must be equal, and the message names both tensors', () => {
  refused(
    { y: Tensor.allocate(device, 'f32', [11, 32]) },
    `expected T = 12 as in 'x' [12, 64], got T = 11 in shape [11, 32]`,
    'y',
  )
  refused(
    { w: Tensor.allocate(device, 'u32', [48, 8], 'fragment') },
    `expected N = 48 as in 'w' [48, 8], got N = 32 in shape [12, 32]`,
    'y',
  )
})

test('addresses must be as aligned as the kernel’s widest access', () => {
  const arena = Tensor.allocate(device, 'f16', [13 * 64])
  refused(
    { x: arena.view(2, 'f16', [12, 64]) },
    'expected an address that is a multiple of 16 bytes, got one 2 bytes past it: ' +
      'start the view at a multiple of 8 elements',
  )
  prepare({ ...good, x: arena.view(32, 'f16', [12, 64]) })
})

test('tensors of another device and freed tensors are refused', () => {
  const other = hostDevice('cuda:1')
  refused({ y: Tensor.allocate(other, 'f32', [12, 32]) }, 'expected a tensor on cuda:0, got one on cuda:1')
  const twin = hostDevice('cuda:0')
  refused(
    { y: Tensor.allocate(twin, 'f32', [12, 32]) },
    'expected a tensor on cuda:0, got one on another instance of cuda:0',
  )
  const freed = Tensor.allocate(device, 'f32', [12, 32])
  freed.free()
  refused({ y: freed }, 'expected a live tensor, got f32 [12, 32] that was freed')
})

test('a grid that CUDA cannot launch is an error that shows the extents', () => {
  const run = (value: number[]) => () =>
    prepareProgram(device, program, () => value, good as unknown as Record<string, never>)
  assert.throws(
    run([0]),
    /product, argument 'grid': expected one to three whole numbers from 1 to 2147483647, got \[0\] for T = 12, K = 64, N = 32/,
  )
  assert.throws(run([1, 65536]), /from 1 to 65535, got \[1, 65536\]/)
  assert.throws(run([1.5]), /got \[1\.5\]/)
  assert.throws(run([1, 1, 1, 1]), /got \[1, 1, 1, 1\]/)
})

test('setting arguments touches only what changes: addresses, scalars, extents, grid', () => {
  const launch = prepare(good)
  const set = launch.set.bind(launch) as (args: Args) => void
  device.changes.length = 0
  set({ seed: 8 })
  assert.equal(device.changes, ['argument 4 8'])
  device.changes.length = 0
  set({ x: x.slice(0, 5), y: y.slice(0, 5) })
  assert.equal(device.changes, ['argument 6 5', 'grid 2×2×1'])
  device.changes.length = 0
  set({ x: x.slice(1, 6) })
  assert.equal(device.changes, [`argument 0 ${x.address + 128}`])
  launch.run()
  assert.equal(device.launches.at(-1), {
    kernel: 'product',
    grid: [2, 2, 1],
    args: [x.address + 128, w.address, 0.5, -1, 8, y.address, 5, 32],
  })
})

test('a refused change leaves the launch as it was', () => {
  const launch = prepare(good) as unknown as Launch<{ x: Tensor; seed: number; sed: number }>
  launch.run()
  const before = device.launches.at(-1)
  assert.throws(() => launch.set('x', x.slice(0, 5)), /expected T = 5 as in 'x' \[5, 64\], got T = 12/)
  assert.throws(() => launch.set('seed', -4), /expected an u32/)
  assert.throws(() => launch.set('sed', 4), /did you mean 'seed'/)
  launch.run()
  assert.equal(device.launches.at(-1), before)
})

test('a launch runs on the first rows of its tensors, and on more again', () => {
  const launch = prepare(good)
  device.changes.length = 0
  launch.resize({ T: 3 })
  assert.equal(device.changes, ['argument 6 3', 'grid 1×2×1'])
  assert.equal(launch.dims, { T: 3, K: 64, N: 32 })
  launch.resize({ T: 12 })
  assert.equal(launch.grid, [3, 2, 1])
  assert.throws(
    () => launch.resize({ T: 13 }),
    /argument 'T': expected a size from 1 to 12, the extent of the tensors, got 13/,
  )
  assert.throws(() => launch.resize({ T: 0 }), /got 0/)
  assert.throws(
    () => launch.resize({ N: 16 }),
    /only the leading dimension of row-major tensors can be resized, and 'w' has it/,
  )
  assert.throws(() => launch.resize({ K: 16 }), /no such run-time shape word/)
  assert.throws(() => launch.resize({ Z: 1 }), /no such run-time shape word/)
})

test('an extent that an i32 cannot hold is refused', () => {
  const huge = Tensor.over(device, { address: 256, bytes: 2 ** 40 }, 'u8', [2 ** 31])
  const param = { ...params[0], dtype: 'u8', shape: ['T'], words: ['T'] } as Param
  assert.throws(() => checkArgument(program, param, huge, device), /expected extents below 2\^31/)
})

test('the editor checks argument names, scalars and layout tags from the kernel’s types', () => {
  const typed = kernel(
    import.meta.url,
    { grid: () => [1], block: [32] },
    function typed(_: {
      w: In<u32, 'N 8', 'fragment'>
      y: Out<f32, 'N'>
      scale: f32
      bias?: In<f32, 'N'>
    }) {},
  )
  type Accepted = Parameters<
    typeof prepareKernel<typeof typed extends Kernel<infer A, infer _> ? A : never, unknown>
  >[3]
  const row = Tensor.allocate(device, 'f32', [8])
  const plain: Tensor = row
  const accepted: Accepted[] = [
    { w, y: row, scale: 1 },
    { w: plain, y: plain, scale: 1, bias: row },
    // @ts-expect-error: a row-major tensor where the kernel reads fragment order
    { w: row, y: row, scale: 1 },
    // @ts-expect-error: a tensor where the kernel takes a number
    { w, y: row, scale: row },
    // @ts-expect-error: no such argument
    { w, y: row, scale: 1, extra: 2 },
    // @ts-expect-error: y is missing
    { w, scale: 1 },
  ]
  assert.is(accepted.length, 6)
})

test.run()
