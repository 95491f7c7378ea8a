import type { QuantizedMatrix } from '../../checkpoint/quantized-matrix.ts'
import type { Matrix } from '../../quantize/matrix.ts'
import { type QuantizedFormatName, rowGrids } from '../../quantize/round-to-nearest.ts'

/** A whole matrix on the grids of its rows. Throws `QuantizeError` where a scale does not fit into f16. */
export function roundToNearest(matrix: Matrix, format: QuantizedFormatName): QuantizedMatrix {
  const { rows, columns, values } = matrix
  const grid = rowGrids[format]
  const result = grid.allocate(matrix)
  for (let n = 0; n < rows; n++) {
    const row = values.subarray(n * columns, (n + 1) * columns)
    grid.fit(result, n, row, matrix.name)
    grid.encode(result, n, row)
  }
  return result
}
