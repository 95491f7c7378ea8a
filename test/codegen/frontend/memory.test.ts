import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../../codegen/compile.ts'
import {
  addFloats,
  atomicAdd,
  atomicCompareAndSwap,
  atomicExchange,
  atomicMax,
  barrier,
  blockIdx,
  commitCopies,
  copyAsync,
  type DType,
  type f16,
  f32,
  type In,
  type InOut,
  i32,
  kernel,
  type Layout,
  layout,
  ldmatrix,
  load,
  loadWords,
  type Out,
  rowMajor,
  shared,
  store,
  storeWords,
  swizzle,
  swizzled,
  threadIdx,
  type u32,
  unroll,
  waitCopies,
} from '../../../dsl/index.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import type { HostArray } from '../../../runtime/tensor.ts'
import { kernelAt, withKernelFile } from '../../support/kernel-text.ts'
import { assemble } from '../../support/ptxas.ts'
import { rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'

const device = openEmulator({ checks: true })
const random = rng(5)
const types = ['f32', 'f16', 'bf16', 'i32', 'u32', 'i8', 'u8', 'e4m3', 'e5m2'] as const

const arrays: Record<DType, (n: number) => HostArray> = {
  f32: (n) => Float32Array.from({ length: n }, () => random.normal()),
  f16: (n) => Uint16Array.from({ length: n }, () => random.integer(0, 0x7bff)),
  bf16: (n) => Uint16Array.from({ length: n }, () => random.integer(0, 0x7f7f)),
  i32: (n) => Int32Array.from({ length: n }, () => random.integer(-(2 ** 31), 2 ** 31 - 1)),
  u32: (n) => Uint32Array.from({ length: n }, () => random.integer(0, 2 ** 32 - 1)),
  i8: (n) => Int8Array.from({ length: n }, () => random.integer(-128, 127)),
  u8: (n) => Uint8Array.from({ length: n }, () => random.integer(0, 255)),
  e4m3: (n) => Uint8Array.from({ length: n }, () => random.integer(0, 255)),
  e5m2: (n) => Uint8Array.from({ length: n }, () => random.integer(0, 255)),
}

const counts = [1, 2, 3, 4, 6, 8, 16, 32]

/** Row of `threadIdx.x`, `n` elements from column `first` on, through registers. */
const copyText = (type: DType, n: number, first: number, name: string) => `
export const ${name} = kernel(import.meta.url, { grid: () => [1], block: [32] }, function ${name}(
  a: { x: In<${type}, 'M 64'>; out: Out<${type}, 'M 64'> },
) {
  store(a.out, [threadIdx.x, ${first}], load(a.x, [threadIdx.x, ${first}], ${n}))
})`

test('load and store move any number of elements of any type, from any static offset', async () => {
  const cases = types.flatMap((type) => counts.flatMap((n) => [0, 1, 4].map((first) => ({ type, n, first }))))
  const bodies = cases.map(({ type, n, first }, i) => copyText(type, n, first, `k${i}`))
  const names = types.map((t) => `type ${t}`).join(', ')
  const text = `import { kernel, threadIdx, load, store, ${names}, type In, type Out } from 'quattuor'\n${bodies.join('\n')}`
  await withKernelFile(text, async (url) => {
    for (const [i, { type, n, first }] of cases.entries()) {
      const x = arrays[type](32 * 64)
      const zeros = x.slice().fill(0)
      const { out } = await runKernel(
        device,
        kernelAt(url, `k${i}`, 32),
        {},
        {
          x: { dtype: type, shape: [32, 64], data: x },
          out: { dtype: type, shape: [32, 64], data: zeros },
        },
      )
      const inside = (column: number) => column >= first && column < first + n
      const expected = x.map((v, at) => (inside(at % 64) ? v : 0))
      assert.equal(out, expected, `${n} ${type} from ${first}`)
    }
  })
})

test('vectors are as wide as the count, the offset and the row allow, and say so in the alignment', async () => {
  const widths: [DType, number, number, number][] = [
    ['f32', 4, 0, 16],
    ['f32', 4, 2, 8],
    ['f32', 6, 0, 8],
    ['f16', 8, 0, 16],
    ['f16', 8, 4, 8],
    ['i8', 16, 0, 16],
    ['i8', 3, 0, 1],
    ['u32', 1, 1, 4],
  ]
  const names = types.map((t) => `type ${t}`).join(', ')
  const bodies = widths.map(([type, n, first], i) => copyText(type, n, first, `w${i}`))
  const text = `import { kernel, threadIdx, load, store, ${names}, type In, type Out } from 'quattuor'\n${bodies.join('\n')}`
  await withKernelFile(text, async (url) => {
    for (const [i, [type, n, first, width]] of widths.entries()) {
      const { params, ptx } = compileKernel(kernelAt(url, `w${i}`, 32), {}, 'sm_80')
      assert.is((params[0] as { align: number }).align, width, `${n} ${type} from ${first}`)
      assemble(ptx, 'sm_80')
    }
  })
})

export const rows = kernel(
  import.meta.url,
  { grid: (d) => [d.B!], block: [32] },
  function rows(a: { x: In<f32, 'B M K'>; index: In<i32, 'B'>; out: Out<f32, 'B M K'> }) {
    const from = a.x.row(a.index.at(blockIdx.x))
    const to = a.out.row(blockIdx.x)
    const i = threadIdx.x
    for (const m of unroll(3)) {
      if (m < a.x.dim('M') && i < a.x.dim('K')) to.row(m).put(from.at(m, i) + from.row(m).at(0), i)
    }
  },
)

test('rows of tensors with run-time extents are views with their own indices', async () => {
  const [B, M, K] = [4, 3, 17]
  const x = arrays.f32(B * M * K) as Float32Array
  const index = Int32Array.from([3, 0, 0, 2])
  const { out } = await runKernel(
    device,
    rows,
    {},
    {
      x: { dtype: 'f32', shape: [B, M, K], data: x },
      index: { dtype: 'i32', shape: [B], data: index },
      out: { dtype: 'f32', shape: [B, M, K] },
    },
  )
  const at = (b: number, m: number, k: number) => x[(b * M + m) * K + k]!
  const expected = Float32Array.from({ length: B * M * K }, (_, i) => {
    const [b, m, k] = [Math.floor(i / (M * K)), Math.floor(i / K) % M, i % K]
    return Math.fround(at(index[b]!, m, k) + at(index[b]!, m, 0))
  })
  assert.equal(out, expected)
})

const tiles: Record<string, (c: { readonly rows: number }) => Layout> = {
  plain: (c) => rowMajor([c.rows, 32]),
  padded: (c) => layout([c.rows, 32], [40, 1]),
  column: (c) => layout([c.rows, 32], [1, c.rows]),
  swizzled: (c) => swizzled(layout([c.rows, 32], [32, 1]), swizzle(64, 16)),
}

export const tile = kernel(
  import.meta.url,
  { grid: () => [1], block: [64] },
  function tile(a: { x: In<f16, '64 32'>; out: Out<f16, '64 32'> }, c: { rows: number; kind: string }) {
    const t = shared<f16>('f16', tiles[c.kind]!({ rows: c.rows }))
    store(t, [threadIdx.x, 0], load(a.x, [threadIdx.x, 0], 32))
    barrier()
    for (const i of unroll(32)) a.out.put(t.row(threadIdx.x).at(i ^ 5), threadIdx.x, i)
  },
)

for (const kind of Object.keys(tiles)) {
  test(`a ${kind} tile in shared memory gives back by elements what vectors stored`, async () => {
    const x = arrays.f16(64 * 32)
    const { out } = await runKernel(
      device,
      tile,
      { rows: 64, kind },
      {
        x: { dtype: 'f16', shape: [64, 32], data: x },
        out: { dtype: 'f16', shape: [64, 32] },
      },
    )
    assert.equal(
      out,
      x.map((_, i) => x[(i & ~31) + ((i % 32) ^ 5)]!),
    )
  })
}

export const asynchronous = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function asynchronous(a: { x: In<f16, 'M 64'>; out: Out<u32, '32 4'>; words: Out<u32, '32 2'> }) {
    const t = shared<f16>('f16', swizzled(layout([32, 64], [64, 1]), swizzle(128, 16)))
    for (const chunk of unroll(8)) {
      copyAsync(t, [threadIdx.x, 8 * chunk], a.x, [threadIdx.x, 8 * chunk], 16, threadIdx.x < a.x.dim('M'))
    }
    commitCopies()
    waitCopies(0)
    barrier()
    const matrices = ldmatrix(t, [threadIdx.x % 16, 8 * (threadIdx.x >> 4)], 4)
    storeWords(a.out, [threadIdx.x, 0], matrices)
    storeWords(a.words, [threadIdx.x, 0], loadWords(t, [threadIdx.x, 60], 2))
  },
)

test('cp.async fills with zeros where it may not read, and ldmatrix gives the fragments of a swizzled tile', async () => {
  const M = 27
  const x = arrays.f16(M * 64)
  const { out, words } = await runKernel(
    device,
    asynchronous,
    {},
    {
      x: { dtype: 'f16', shape: [M, 64], data: x },
      out: { dtype: 'u32', shape: [32, 4] },
      words: { dtype: 'u32', shape: [32, 2] },
    },
  )
  const at = (row: number, column: number) => (row < M ? x[row * 64 + column]! : 0)
  const pair = (row: number, column: number) => (at(row, column) | (at(row, column + 1) << 16)) >>> 0
  const expected = Uint32Array.from({ length: 128 }, (_, i) => {
    const [lane, matrix] = [i >> 2, i & 3]
    return pair((lane >> 2) + 8 * (matrix & 1), 2 * (lane & 3) + 8 * (matrix >> 1))
  })
  assert.equal(out, expected)
  assert.equal(
    words,
    Uint32Array.from({ length: 64 }, (_, i) => pair(i >> 1, 60 + 2 * (i & 1))),
  )
})

export const atomics = kernel(
  import.meta.url,
  { grid: () => [2], block: [64] },
  function atomics(a: { counts: InOut<i32, '4'>; order: Out<i32, 'N'> }) {
    const i = blockIdx.x * 64 + threadIdx.x
    a.order.put(atomicAdd(a.counts, [0], 1), i)
    atomicMax(a.counts, [1], (i * 37) % 101)
    if (i === 77) atomicExchange(a.counts, [2], 5)
    atomicCompareAndSwap(a.counts, [3], 9, i32(40))
  },
)

export const additions = kernel(
  import.meta.url,
  { grid: () => [3], block: [32] },
  function additions(a: { sums: InOut<f32, '32 4'>; words: InOut<u32, '32 2'> }) {
    const i = threadIdx.x
    addFloats(a.sums, [i, 0], [f32(blockIdx.x), f32(i), 0.5, f32(0)])
    addFloats(a.words, [i, 1], [f32(1)])
  },
)

test('floats are added to words in device memory, by several CTAs', async () => {
  const start = Float32Array.from({ length: 128 }, (_, i) => (i % 4 === 3 ? 7 : i))
  const { sums, words } = await runKernel(
    device,
    additions,
    {},
    {
      sums: { dtype: 'f32', shape: [32, 4], data: start },
      words: { dtype: 'u32', shape: [32, 2], data: new Uint32Array(new Float32Array(64).fill(2).buffer) },
    },
  )
  const added = [3, 0, 1.5, 0]
  assert.equal(
    sums,
    start.map((value, i) => value + (i % 4 === 1 ? 3 * (i >> 2) : added[i % 4]!)),
  )
  assert.equal(
    new Float32Array(words!.buffer, words!.byteOffset, 64),
    Float32Array.from({ length: 64 }, (_, i) => (i % 2 ? 5 : 2)),
  )
})

test('atomics give the old value, and all of them count', async () => {
  const { counts, order } = await runKernel(
    device,
    atomics,
    {},
    {
      counts: { dtype: 'i32', shape: [4], data: Int32Array.of(100, -5, 3, 9) },
      order: { dtype: 'i32', shape: [128] },
    },
  )
  assert.equal(
    counts,
    Int32Array.of(228, Math.max(...Array.from({ length: 128 }, (_, i) => (i * 37) % 101)), 5, 40),
  )
  assert.equal(
    [...order!].sort((a, b) => a - b),
    Array.from({ length: 128 }, (_, i) => 100 + i),
  )
})

test.run()
