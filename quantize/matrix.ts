/** A weight matrix on the host: output features by input features, row-major. */
export interface Matrix {
  /** The tensor's name, for errors. */
  readonly name: string
  readonly rows: number
  readonly columns: number
  readonly values: Float32Array
}
