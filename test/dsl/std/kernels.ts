import {
  barrier,
  blockDim,
  blockIdx,
  f32,
  type In,
  i32,
  kernel,
  load,
  type Out,
  shared,
  store,
  threadIdx,
  type u32,
  unroll,
} from '../../../dsl/index.ts'
import {
  addBytes,
  blockMax,
  blockMaxI32,
  blockMaxI32ByLanes,
  blockSum,
  blockSumI32,
  blockSumI32ByLanes,
  copyTile,
  exp2Exact,
  exp2Product,
  exp2Within,
  highNibbles,
  loadRow,
  lowNibbles,
  packBytes,
  pipeline,
  reciprocalExact,
  replicateByte,
  rsqrtExact,
  storeRow,
  subtractBytes,
  transposeBytes,
  warpMax,
  warpMin,
  warpSum,
} from '../../../dsl/std/index.ts'

/** Small kernels, each a rule of the device library. */

/** Every thread's value of each reduction over groups of `lanes` lanes, and over the CTA. */
export const reductions = kernel(
  import.meta.url,
  { grid: () => [1], block: (c: { readonly threads: number }) => [c.threads] },
  function reductions(
    a: {
      x: In<f32, 'threads'>
      n: In<i32, 'threads'>
      floats: Out<f32, '5 threads'>
      ints: Out<i32, '5 threads'>
    },
    c: { readonly threads: number; readonly lanes: number },
  ) {
    const t = threadIdx.x
    const x = a.x.at(t)
    const n = a.n.at(t)
    const floats = [warpSum(x, c.lanes), warpMax(x, c.lanes), warpMin(x, c.lanes), blockSum(x), blockMax(x)]
    floats.forEach((value, i) => {
      a.floats.put(value, i, t)
    })
    const ints = [
      ...[warpSum(n, c.lanes), blockSumI32(n), blockMaxI32(n)],
      ...[blockSumI32ByLanes(n), blockMaxI32ByLanes(n)],
    ]
    ints.forEach((value, i) => {
      a.ints.put(value, i, t)
    })
  },
)

/** out = x + 1 where the row has elements. */
export const rows = kernel(
  import.meta.url,
  { grid: (d) => [d.R!], block: [64] },
  function rows(
    a: { x: In<f32, 'R columns'>; out: Out<f32, 'R columns'> },
    c: { readonly columns: number; readonly vec: number; readonly threads: number },
  ) {
    const share = { columns: c.columns, vec: c.vec, threads: c.threads }
    const x = loadRow(a.x, [blockIdx.x], share, f32(0))
    storeRow(
      a.out,
      [blockIdx.x],
      share,
      x.map((v) => v + 1),
    )
  },
)

/** Each word of `x` and `y` through the byte helpers. */
export const bytes = kernel(
  import.meta.url,
  { grid: () => [1], block: [64] },
  function bytes(a: { x: In<u32, '64'>; y: In<u32, '64'>; out: Out<u32, '10 64'> }) {
    const t = threadIdx.x
    const [x, y] = [a.x.at(t), a.y.at(t)]
    const n = i32.bits(x)
    const results = [
      addBytes(x, y),
      subtractBytes(x & 0x7f7f7f7f, y & 0x7f7f7f7f),
      lowNibbles(x),
      highNibbles(x),
      replicateByte(x & 255),
      packBytes(n, n >> 8, n >> 16, n >> 24),
      ...transposeBytes(x, y, ~x, ~y),
    ]
    results.forEach((value, i) => {
      a.out.put(value, i, t)
    })
  },
)

/** Sums the columns of a tile through the copy ring; rows past M count as zeros. */
export const ring = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function ring(
    a: { x: In<f32, 'M K'>; out: Out<f32, '16 columns'> },
    c: { readonly K: number; readonly columns: number; readonly stages: number },
  ) {
    const tile = shared<f32>('f32', [c.stages, c.columns / 4, 16, 4])
    const sums = shared<f32>('f32', [16, c.columns])
    for (const i of unroll((16 * c.columns) / blockDim.x)) {
      sums.put(0, (threadIdx.x + i * blockDim.x) & 15, (threadIdx.x + i * blockDim.x) >>> 4)
    }
    pipeline(
      { stages: c.stages, steps: c.K / c.columns },
      {
        load(k, stage) {
          copyTile(tile.row(stage), a.x, {
            row: 0,
            column: k * c.columns,
            validRows: a.x.dim('M'),
            rows: 16,
            columns: c.columns,
            elementBytes: 4,
          })
        },
        compute(_k, stage) {
          if (threadIdx.x < 16) {
            for (const chunk of unroll(c.columns / 4)) {
              const mine = load(tile, [stage, chunk, threadIdx.x, 0], 4)
              const before = load(sums, [threadIdx.x, 4 * chunk], 4)
              const both = mine.map((v, i) => v + before[i]!)
              store(sums, [threadIdx.x, 4 * chunk], both)
            }
          }
        },
      },
    )
    barrier()
    for (const i of unroll((16 * c.columns) / blockDim.x)) {
      const [row, column] = [(threadIdx.x + i * blockDim.x) & 15, (threadIdx.x + i * blockDim.x) >>> 4]
      a.out.put(sums.at(row, column), row, column)
    }
  },
)

/** The functions of correctly rounded operations, one element a thread. */
export const exact = kernel(
  import.meta.url,
  { grid: (d) => [Math.ceil(d.N! / 128)], block: [128] },
  function exact(a: {
    x: In<f32, 'N'>
    power: Out<f32, 'N'>
    within: Out<f32, 'N'>
    product: Out<f32, 'N'>
    reciprocal: Out<f32, 'N'>
    root: Out<f32, 'N'>
  }) {
    const i = blockIdx.x * blockDim.x + threadIdx.x
    if (i < a.x.dim('N')) {
      const near = Math.max(Math.min(a.x.at(i), 125), -125)
      a.power.put(exp2Exact(a.x.at(i)), i)
      a.within.put(exp2Within(near), i)
      a.product.put(exp2Product(near * 0.5, 2), i)
      a.reciprocal.put(reciprocalExact(exp2Within(near)), i)
      a.root.put(rsqrtExact(Math.abs(a.x.at(i))), i)
    }
  },
)
