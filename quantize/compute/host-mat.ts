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
  const K = a.columns
  const [x, y] = [a.values, b.values]
  for (let i = 0; i < a.rows; i++) {
    const at = i * K
    const out = i * dst.columns
    let j = first(i)
    // Four at once: each value of a is read once for all, and the sums do not wait for each other.
    for (; j + 4 <= b.rows; j += 4) {
      const b0 = j * K
      const [b1, b2, b3] = [b0 + K, b0 + 2 * K, b0 + 3 * K]
      let [s0, s1, s2, s3] = [0, 0, 0, 0]
      for (let k = 0; k < K; k++) {
        const v = x[at + k]!
        s0 += v * y[b0 + k]!
        s1 += v * y[b1 + k]!
        s2 += v * y[b2 + k]!
        s3 += v * y[b3 + k]!
      }
      const o = out + j
      dst.values[o] = add ? dst.values[o]! + s0 : s0
      dst.values[o + 1] = add ? dst.values[o + 1]! + s1 : s1
      dst.values[o + 2] = add ? dst.values[o + 2]! + s2 : s2
      dst.values[o + 3] = add ? dst.values[o + 3]! + s3 : s3
    }
    for (; j < b.rows; j++) {
      let sum = 0
      for (let k = 0; k < K; k++) sum += x[at + k]! * y[j * K + k]!
      dst.values[out + j] = add ? dst.values[out + j]! + sum : sum
    }
  }
}

export function transposeInto(dst: HostMat, src: HostMat): void {
  const { rows, columns, values } = src
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) dst.values[c * rows + r] = values[r * columns + c]!
}
