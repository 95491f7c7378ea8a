import type { Mat, Values } from './compute.ts'

/** A matrix in the memory of the process. */
export class HostMat implements Mat {
  readonly rows: number
  readonly columns: number
  readonly values: Values
  readonly #free: (() => void) | undefined

  constructor(values: Values, rows: number, columns: number, free?: () => void) {
    if (values.length !== rows * columns)
      throw new RangeError(`${values.length} values do not make a matrix of ${rows} × ${columns}`)
    this.values = values
    this.rows = rows
    this.columns = columns
    this.#free = free
  }

  row(r: number): Values {
    return this.values.subarray(r * this.columns, (r + 1) * this.columns)
  }

  free(): void {
    this.#free?.()
  }
}

/** The host's view of a handle; one of another backend is a mistake of the caller. */
export function hostMat(m: Mat): HostMat {
  if (m instanceof HostMat) return m
  throw new TypeError('a matrix of another backend was given to HostCompute')
}

/** Throws `RangeError` unless the matrix has that shape. */
export function checkShape(what: string, m: Mat, rows: number, columns: number): void {
  if (m.rows !== rows || m.columns !== columns)
    throw new RangeError(`${what} is ${m.rows} × ${m.columns}, and ${rows} × ${columns} is expected`)
}

/** dst[i][j] = Σ a[i]·b[j] over rows of a and b, from column `first(i)` of dst on; added to `dst` where asked. */
export function rowProducts(
  dst: HostMat,
  a: HostMat,
  b: HostMat,
  add: boolean,
  first: (row: number) => number = () => 0,
): void {
  const sums = new Float64Array(8)
  for (let i = 0; i < a.rows; i += 2) {
    // Two rows of a: the last one twice where it is alone.
    const next = Math.min(i + 1, a.rows - 1)
    for (let j = first(i); j < b.rows; j += 4) {
      const rows = [j, j + 1, j + 2, j + 3].map((row) => Math.min(row, b.rows - 1) * b.columns)
      products(sums, a, i * a.columns, next * a.columns, b, rows)
      for (let r = 0; r <= next - i; r++)
        for (let c = 0; c < Math.min(4, b.rows - j); c++) {
          const o = (i + r) * dst.columns + j + c
          if (j + c >= first(i + r)) dst.values[o] = (add ? dst.values[o]! : 0) + sums[4 * r + c]!
        }
    }
  }
}

/** Sums of two rows of a with four of b: each value is read once for all, and the sums do not wait for each other. */
function products(
  dst: Float64Array,
  { values: x, columns: K }: HostMat,
  a0: number,
  a1: number,
  { values: y }: HostMat,
  [b0, b1, b2, b3]: readonly number[],
): void {
  let [s0, s1, s2, s3] = [0, 0, 0, 0]
  let [t0, t1, t2, t3] = [0, 0, 0, 0]
  for (let k = 0; k < K; k++) {
    const [v, w] = [x[a0 + k]!, x[a1 + k]!]
    const p = y[b0! + k]!
    s0 += v * p
    t0 += w * p
    const q = y[b1! + k]!
    s1 += v * q
    t1 += w * q
    const r = y[b2! + k]!
    s2 += v * r
    t2 += w * r
    const u = y[b3! + k]!
    s3 += v * u
    t3 += w * u
  }
  dst[0] = s0
  dst[1] = s1
  dst[2] = s2
  dst[3] = s3
  dst[4] = t0
  dst[5] = t1
  dst[6] = t2
  dst[7] = t3
}

export function transposeInto(dst: HostMat, src: HostMat): void {
  const { rows, columns, values } = src
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) dst.values[c * rows + r] = values[r * columns + c]!
}
