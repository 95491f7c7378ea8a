import {
  arrive,
  arriveExpecting,
  atoms,
  barrier,
  barriers,
  blockDim,
  blockIdx,
  clusterBarrier,
  clusterRank,
  clusterSize,
  commitBulk,
  commitCopies,
  copyAsync,
  copyBulk,
  copyTensor,
  each,
  f16,
  f32,
  fenceAsync,
  fenceBarrierInit,
  type In,
  type i8,
  i32,
  idiv,
  initBarrier,
  kernel,
  laneIdx,
  launchDependents,
  ldmatrix,
  load,
  loadWords,
  mma,
  type Out,
  prefetchTensor,
  range,
  regs,
  shared,
  shuffleXor,
  storeTensor,
  swizzledTile,
  syncWarp,
  threadIdx,
  u32,
  unroll,
  waitBarrier,
  waitBulk,
  waitCopies,
  waitForPrevious,
  warpIdx,
} from '../../dsl/index.ts'

/**
 * Kernels whose PTX is kept in `test/golden/`. They are small, stand alone, and between them have what the compiler
 * treats with care: vector accesses, bounds, loops from the thread index, shared memory, barriers, a ring of
 * asynchronous copies around tensor-core products, and one that the copy engine fills for a cluster.
 */

/** `out = factor * x` in vectors of eight, the last ones element by element. */
export const scaleRows = kernel(
  import.meta.url,
  { grid: (d) => [d.M!], block: [128] },
  function scaleRows(a: { x: In<f16, 'M N'>; factor: f32; out: Out<f16, 'M N'> }, c: { readonly N: number }) {
    const row = blockIdx.x
    for (const first of range(threadIdx.x * 8, c.N, blockDim.x * 8)) {
      const values = load(a.x, [row, first], 8)
      for (const [i, value] of values.entries()) a.out.put(f16(f32(value) * a.factor), row, first + i)
    }
  },
)

/** The sum of each row, one CTA a row. */
export const sumRows = kernel(
  import.meta.url,
  { grid: (d) => [d.M!], block: [256] },
  function sumRows(a: { x: In<f32, 'M N'>; out: Out<f32, 'M'> }) {
    const slots = shared<f32>('f32', [8])
    let sum = f32(0)
    for (const n of range(threadIdx.x, a.x.dim('N'), blockDim.x)) sum = sum + a.x.at(blockIdx.x, n)
    for (const step of unroll(5)) sum = sum + shuffleXor(sum, 16 >> step)
    if (laneIdx === 0) slots.put(sum, warpIdx)
    barrier()
    if (threadIdx.x === 0) {
      let total = f32(0)
      for (const w of unroll(8)) total = total + slots.at(w)
      a.out.put(total, blockIdx.x)
    }
  },
)

/** `out = x · wᵀ` of int8, 16 features by 8 tokens a warp, through a ring of two stages. */
export const ringProduct = kernel(
  import.meta.url,
  { grid: (d) => [d.N! / 64, d.M! / 8], block: [128] },
  function ringProduct(
    a: { w: In<u32, 'Strips Steps 128', 'mma'>; x: In<i8, 'M K'>; out: Out<i32, 'M N'> },
    c: { readonly K: number },
  ) {
    const steps = c.K / 64
    const tokens = blockIdx.y * 8
    const strip = blockIdx.x * 4 + warpIdx
    const xs = shared<i8>('i8', [2, 4, 8, 16])
    const ws = shared<u32>('u32', [2, 4, 2, 128])
    const acc = regs(4, i32(0))
    const copy = (step: i32, stage: i32) => {
      const valid = threadIdx.x < 32
      if (valid) {
        const from = [tokens + (laneIdx & 7), step * 64 + idiv(laneIdx, 8) * 16]
        copyAsync(xs, [stage, idiv(laneIdx, 8), laneIdx & 7, 0], a.x, from, 16)
      }
      for (const u of unroll(2))
        copyAsync(ws, [stage, warpIdx, u, laneIdx * 4], a.w, [strip, step * 2 + u, laneIdx * 4], 16)
      commitCopies()
    }
    copy(0, 0)
    for (const step of range(steps)) {
      const stage = step & 1
      waitCopies(0)
      barrier()
      if (step + 1 < steps) copy(step + 1, 1 - stage)
      const b = ldmatrix(xs, [stage, idiv(laneIdx, 8), laneIdx & 7, 0], 4)
      for (const u of unroll(2)) {
        const words = loadWords(ws, [stage, warpIdx, u, laneIdx * 4], 4)
        mma(atoms.m16n8k32.s8s8, acc, words, [b[2 * u]!, b[2 * u + 1]!])
      }
    }
    const at = each(4, (i) => [
      tokens + 2 * (laneIdx & 3) + (i % 2),
      strip * 16 + idiv(laneIdx, 4) + 8 * idiv(i, 2),
    ])
    for (const [i, [m, n]] of at.entries()) a.out.put(acc[i]!, m!, n!)
  },
)

/**
 * `out[m][n] = Σ w[tile][step][n] + x[m][128 step]`, modulo 2^32: a producer thread fills a ring of two stages, words of `w`
 * as bytes and rows of `x` as tiles, of which each CTA of the cluster loads half for both.
 */
export const ringCopies = kernel(
  import.meta.url,
  { grid: (d) => [d.Tiles!], block: [96], cluster: () => 2 },
  function ringCopies(a: { w: In<u32, 'Tiles Steps 8'>; x: In<i8, 'M K'>; out: Out<u32, 'M N'> }) {
    const ws = shared<u32>('u32', [2, 8])
    const xs = shared<i8>('i8', swizzledTile([2, 2, 32, 128], 'i8'))
    const tile = shared<u32>('u32', swizzledTile([64, 8], 'u32'))
    const full = barriers(2)
    const empty = barriers(2)
    if (threadIdx.x === 0) {
      prefetchTensor(xs.row(0, 0), a.x)
      for (const s of unroll(2)) {
        initBarrier(full, s, 1)
        initBarrier(empty, s, 2 * clusterSize)
      }
      fenceBarrierInit()
    }
    clusterBarrier()
    const steps = a.w.dim('Steps')
    if (warpIdx === 2) {
      if (laneIdx === 0) {
        launchDependents()
        waitForPrevious()
        for (const step of range(steps)) {
          const stage = step & 1
          waitBarrier(empty, stage, 1 - ((step >> 1) & 1))
          arriveExpecting(full, stage, 32 + 64 * 128)
          copyBulk(ws.row(stage), [0], a.w, [blockIdx.x, step, 0], 32, full, stage, { evict: 'first' })
          const origin = [clusterRank * 32, step * 128] as const
          copyTensor(xs.row(stage, clusterRank), a.x, origin, full, stage, { multicast: 3, evict: 'last' })
        }
      }
    } else {
      const row = threadIdx.x
      const sums = regs(8, u32(0))
      for (const step of range(steps)) {
        const stage = step & 1
        waitBarrier(full, stage, (step >> 1) & 1)
        const x = u32.bits(i32(xs.at(stage, idiv(row, 32), row % 32, 0)))
        for (const [n, w] of load(ws, [stage, 0], 8).entries()) sums[n] = sums[n]! + w + x
        syncWarp()
        if (laneIdx < clusterSize) arrive(empty.peer(laneIdx), stage)
      }
      for (const n of unroll(8)) tile.put(sums[n]!, row, n)
      fenceAsync()
    }
    barrier()
    if (threadIdx.x === 0) {
      storeTensor(a.out, [0, blockIdx.x * 8], tile)
      commitBulk()
      waitBulk(0, { read: true })
    }
    clusterBarrier()
  },
)
