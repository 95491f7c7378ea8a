import { type QuantizedMatrix, stackRows } from '../checkpoint/quantized-matrix.ts'
import type { HostTensor } from '../checkpoint/tensor.ts'
import type { DType } from '../dsl/dtype.ts'
import { packedShape, type WeightFormat, weightFormats } from '../kernels/formats/index.ts'
import { bytesOf } from '../runtime/bytes.ts'
import { type ProjectionFormat, quantizedTensors, takesCodes } from './weights.ts'

/** The formats of products whose weights are codes. */
export type QuantizedProduct = Exclude<ProjectionFormat, 'w16'>

/** The tensors of a quantized product: codes in the order that the kernels read, and the scales of rows. */
export function productTensors(
  path: string,
  format: QuantizedProduct,
  parts: readonly QuantizedMatrix[],
): HostTensor[] {
  const matrix = stackRows(parts)
  const { rows: n, columns: k } = matrix
  const packing: WeightFormat = weightFormats[format]
  const tensor = (
    name: keyof typeof quantizedTensors,
    dtype: DType,
    shape: readonly number[],
    values: ArrayBufferView,
  ): HostTensor => ({ name: `${path}.${quantizedTensors[name]}`, dtype, shape, bytes: bytesOf(values) })
  return [
    tensor('w', 'u32', packedShape(packing, n, k), packing.pack(matrix, n, k)),
    // Scales and zero points of groups are packed with the codes.
    ...(takesCodes(format) ? [tensor('scale', 'f16', [n], matrix.scale)] : []),
    ...(format === 'w4a8' ? [tensor('zero', 'u8', [n], matrix.zero!)] : []),
  ]
}
