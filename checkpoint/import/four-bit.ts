import { f16Bits, f16Value } from '../../dsl/half.ts'
import type { QuantizedMatrix } from '../quantized-matrix.ts'

/**
 * The weights that codes with scales and zero points stand for, w = s · (q − z) in the arithmetic of f16, which is how
 * AWQ, GPTQ and compressed-tensors define them. `groupOf` says which group a column belongs to.
 */
export function groupedFloats(
  { rows, columns, codes, scale, zero }: QuantizedMatrix,
  groupOf: (k: number) => number,
): Float32Array {
  const groups = scale.length / rows
  const values = new Float32Array(rows * columns)
  for (let n = 0; n < rows; n++)
    for (let k = 0; k < columns; k++) {
      const group = n * groups + groupOf(k)
      // Differences of codes are exact in f16, and so are products of the two in f64: one rounding.
      const product = f16Value(scale[group]!) * (codes[n * columns + k]! - zero![group]!)
      values[n * columns + k] = f16Value(f16Bits(product))
    }
  return values
}
