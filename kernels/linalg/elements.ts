import {
  blockIdx,
  type Elem,
  f16,
  f32,
  fma,
  type In,
  type InOut,
  type i32,
  kernel,
  type Out,
  threadIdx,
  to,
  unroll,
} from '../../dsl/index.ts'
import type { Dims } from '../../dsl/kernel.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { siluTimes } from '../silu-mul.ts'

/** Kernels that look at one element of f32 matrices at a time: [T, C], a CTA for so many columns of a row. */

const THREADS = 256
const TURNS = 4

const options = {
  // Rows along x, of which there may be more than 65535.
  grid: (d: Dims) => [d.T!, ceilDiv(d.C!, THREADS * TURNS)] as const,
  block: [THREADS] as const,
}

/** Device: calls `visit` for each of the calling thread's columns. */
function eachColumn(columns: i32, visit: (column: i32) => void): void {
  const first = blockIdx.y * (THREADS * TURNS) + threadIdx.x
  for (const turn of unroll(TURNS)) {
    const column = first + turn * THREADS
    if (column < columns) visit(column)
  }
}

/** dst += factor · src, with one rounding. */
export const addScaled = kernel(
  import.meta.url,
  options,
  function addScaled(a: { dst: InOut<f32, 'T C'>; src: In<f32, 'T C'>; factor: f32 }) {
    const row = blockIdx.x
    eachColumn(a.dst.dim('C'), (column) => {
      a.dst.put(fma(a.factor, a.src.at(row, column), a.dst.at(row, column)), row, column)
    })
  },
)

/** Every row of m += factor · row, with one rounding. */
export const addToRows = kernel(
  import.meta.url,
  options,
  function addToRows(a: { m: InOut<f32, 'T C'>; row: In<f32, 'C'>; factor: f32 }) {
    const row = blockIdx.x
    eachColumn(a.m.dim('C'), (column) => {
      a.m.put(fma(a.factor, a.row.at(column), a.m.at(row, column)), row, column)
    })
  },
)

/** Row r of dst = row r of src times s[r]. */
export const scaleRows = kernel(
  import.meta.url,
  options,
  function scaleRows(a: { dst: Out<f32, 'T C'>; src: In<f32, 'T C'>; s: In<f32, 'T'> }) {
    const row = blockIdx.x
    const s = a.s.at(row)
    eachColumn(a.src.dim('C'), (column) => {
      a.dst.put(a.src.at(row, column) * s, row, column)
    })
  },
)

/** Column c of m times s[c]. */
export const scaleColumns = kernel(
  import.meta.url,
  options,
  function scaleColumns(a: { m: InOut<f32, 'T C'>; s: In<f32, 'C'> }) {
    const row = blockIdx.x
    eachColumn(a.m.dim('C'), (column) => {
      a.m.put(a.m.at(row, column) * a.s.at(column), row, column)
    })
  },
)

/** dst = silu(gate) · up, bit for bit as `siluMul` before it rounds to 16 bits. */
export const siluProduct = kernel(
  import.meta.url,
  options,
  function siluProduct(a: { dst: Out<f32, 'T C'>; gate: In<f32, 'T C'>; up: In<f32, 'T C'> }) {
    const row = blockIdx.x
    eachColumn(a.gate.dim('C'), (column) => {
      a.dst.put(siluTimes(a.gate.at(row, column), a.up.at(row, column)), row, column)
    })
  },
)

/** 16-bit floats as f32. */
export const widenHalfs = kernel(
  import.meta.url,
  options,
  function widenHalfs(
    a: { dst: Out<f32, 'T C'>; src: In<Elem<'dtype'>, 'T C'> },
    _c: { readonly dtype: 'f16' | 'bf16' },
  ) {
    const row = blockIdx.x
    eachColumn(a.src.dim('C'), (column) => {
      a.dst.put(f32(a.src.at(row, column)), row, column)
    })
  },
)

/** f32 as the nearest f16. */
export const narrowFloats = kernel(
  import.meta.url,
  options,
  function narrowFloats(a: { dst: Out<f16, 'T C'>; src: In<f32, 'T C'> }) {
    const row = blockIdx.x
    eachColumn(a.src.dim('C'), (column) => {
      a.dst.put(f16(a.src.at(row, column)), row, column)
    })
  },
)

/** Each element becomes the nearest f16 or bf16. */
export const roundFloats = kernel(
  import.meta.url,
  options,
  function roundFloats(a: { m: InOut<f32, 'T C'> }, c: { readonly type: 'f16' | 'bf16' }) {
    const row = blockIdx.x
    eachColumn(a.m.dim('C'), (column) => {
      a.m.put(f32(to(c.type, a.m.at(row, column))), row, column)
    })
  },
)

/** Row t of dst is row order[t] of src. */
export const gatherRows = kernel(
  import.meta.url,
  options,
  function gatherRows(a: { dst: Out<f32, 'T C'>; src: In<f32, 'S C'>; order: In<i32, 'T'> }) {
    const row = blockIdx.x
    const from = a.order.at(row)
    eachColumn(a.src.dim('C'), (column) => {
      a.dst.put(a.src.at(from, column), row, column)
    })
  },
)

/** Column c of dst is column order[c] of src. */
export const gatherColumns = kernel(
  import.meta.url,
  options,
  function gatherColumns(a: { dst: Out<f32, 'T C'>; src: In<f32, 'T C'>; order: In<i32, 'C'> }) {
    const row = blockIdx.x
    eachColumn(a.src.dim('C'), (column) => {
      a.dst.put(a.src.at(row, a.order.at(column)), row, column)
    })
  },
)

/** The elements of a square matrix's diagonal. */
export const takeDiagonal = kernel(
  import.meta.url,
  { grid: (d: Dims) => [ceilDiv(d.C!, THREADS)] as const, block: [THREADS] },
  function takeDiagonal(a: { m: In<f32, 'C C'>; diagonal: Out<f32, 'C'> }) {
    const i = blockIdx.x * THREADS + threadIdx.x
    if (i < a.diagonal.dim('C')) a.diagonal.put(a.m.at(i, i), i)
  },
)

/** A square matrix's diagonal becomes what is given. */
export const putDiagonal = kernel(
  import.meta.url,
  { grid: (d: Dims) => [ceilDiv(d.C!, THREADS)] as const, block: [THREADS] },
  function putDiagonal(a: { m: InOut<f32, 'C C'>; diagonal: In<f32, 'C'> }) {
    const i = blockIdx.x * THREADS + threadIdx.x
    if (i < a.diagonal.dim('C')) a.m.put(a.diagonal.at(i), i, i)
  },
)
