import { QuantizeError } from './error.ts'

/** A weight matrix on the host: output features by input features, row-major. */
export interface Matrix {
  /** The tensor's name, for errors. */
  readonly name: string
  readonly rows: number
  readonly columns: number
  readonly values: Float32Array
}

/** One row, [columns]: a view, not a copy. */
export function rowOf(matrix: Matrix, row: number): Float32Array {
  return matrix.values.subarray(row * matrix.columns, (row + 1) * matrix.columns)
}

/** Throws `QuantizeError` at the first value that is not a finite number. */
export function assertFinite({ name, columns, values }: Matrix): void {
  const index = values.findIndex((value) => !Number.isFinite(value))
  if (index >= 0)
    throw new QuantizeError(
      `tensor ${name} holds ${values[index]} in row ${Math.floor(index / columns)}, column ${index % columns}; ` +
        'the checkpoint is damaged, download it again',
    )
}
