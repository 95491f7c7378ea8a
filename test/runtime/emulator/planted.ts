import {
  blockDim,
  blockIdx,
  f32,
  type In,
  type i32,
  kernel,
  load,
  type Out,
  regs,
  shared,
  store,
  threadIdx,
} from '../../../dsl/index.ts'

/** Kernels with one fault each, on the line that ends in `// fault`. */

export const storesOutOfBounds = kernel(
  import.meta.url,
  { grid: (d) => [Math.ceil(d.N! / 64)], block: [64] },
  function storesOutOfBounds(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const i = blockIdx.x * blockDim.x + threadIdx.x
    const x = i < a.x.dim('N') ? a.x.at(i) : 0
    a.out.put(2 * x, i) // fault
  },
)

export const lacksBarrier = kernel(
  import.meta.url,
  { grid: () => [1], block: [64] },
  function lacksBarrier(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const tile = shared<f32>('f32', [64])
    tile.put(a.x.at(threadIdx.x), threadIdx.x)
    const mirrored = tile.at(63 - threadIdx.x) // fault
    a.out.put(mirrored, threadIdx.x)
  },
)

export const readsUninitialised = kernel(
  import.meta.url,
  { grid: () => [1], block: [64] },
  function readsUninitialised(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const tile = shared<f32>('f32', [64])
    if (threadIdx.x > 0) tile.put(a.x.at(threadIdx.x), threadIdx.x)
    const mine = tile.at(threadIdx.x) // fault
    a.out.put(mine, threadIdx.x)
  },
)

export const loadsMisaligned = kernel(
  import.meta.url,
  { grid: () => [1], block: [8] },
  function loadsMisaligned(a: { x: In<f32, 'N'>; first: In<i32, '1'>; out: Out<f32, 'N'> }) {
    const sums = regs(1, f32(0))
    const values = load(a.x, [4 * threadIdx.x + a.first.at(0)], 4) // fault
    for (const value of values) sums[0] = sums[0]! + value
    store(a.out, [threadIdx.x], sums)
  },
)
