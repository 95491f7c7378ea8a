import { type CheckpointFormat, formatName } from '../checkpoint/quantized.ts'
import { type WeightFormat, weightFormats } from '../kernels/formats/index.ts'
import type { QuantizedProduct } from './product-tensors.ts'
import { takesCodes } from './weights.ts'

/** The description of a checkpoint whose projections are all of one format, and its output head perhaps of another. */
export function codedFormat(
  weights: QuantizedProduct,
  kv: CheckpointFormat['kv'],
  head?: QuantizedProduct,
): CheckpointFormat {
  const { bits, group, tag }: WeightFormat = weightFormats[weights]
  const codes = takesCodes(weights)
  const zero = bits === 8 ? 'none' : codes && group > 0 ? 'minimum' : 'integer'
  const format = {
    weights: { bits: bits as 4 | 8, group, zero, layout: tag },
    activations: { bits: codes ? 8 : 16, sum: codes && zero !== 'none' ? 'codes' : 'none' },
    kv,
  } as const
  return {
    name: formatName(format),
    ...format,
    ...(head && { head: { format: head, layout: weightFormats[head].tag } }),
  }
}
