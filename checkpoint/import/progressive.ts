import { f16Bits, f16Value } from '../../dsl/half.ts'
import { CheckpointError } from '../error.ts'
import type { QuantizedMatrix } from '../quantized-matrix.ts'

/**
 * Weights of two levels whose group minima are taken modulo 256, as −z · s2, in terms of the least code that a group has:
 * every minimum is then a weight itself, a signed byte, and no sum wraps. Throws `CheckpointError` naming `where` if a weight
 * of the first level is no signed byte.
 */
export function twoLevelMatrix(
  where: string,
  m: QuantizedMatrix & { readonly groupScale: Uint8Array; readonly groupMin: Int8Array },
): QuantizedMatrix {
  const { rows, columns } = m
  const groups = m.groupScale.length / rows
  const width = columns / groups
  const codes = Uint8Array.from(m.codes)
  const groupMin = new Int8Array(m.groupMin.length)
  for (let i = 0; i < groupMin.length; i++) {
    const scale = m.groupScale[i]!
    const own = codes.subarray(i * width, (i + 1) * width)
    const least = own.reduce((a, b) => Math.min(a, b))
    const most = own.reduce((a, b) => Math.max(a, b))
    // Modulo 256 the first weight is right; the others follow without wrapping, or the checkpoint is damaged.
    const min = ((least * scale + m.groupMin[i]!) << 24) >> 24
    if (scale === 0 || min + (most - least) * scale > 127)
      throw new CheckpointError(
        `${where} has a group of scale ${scale} and minimum ${m.groupMin[i]} whose weights are no signed bytes; download it again`,
      )
    for (let k = 0; k < width; k++) own[k] = own[k]! - least
    groupMin[i] = min
  }
  return { ...m, codes, groupMin }
}

/** The whole codes z with fp16(z · scale) equal to the stored products, or `undefined` where one is not such a product. */
export function wholeZeros(scales: Uint16Array, products: Uint16Array): Uint8Array | undefined {
  const zeros = new Uint8Array(scales.length)
  for (let i = 0; i < scales.length; i++) {
    const scale = f16Value(scales[i]!)
    const zero = Math.round(f16Value(products[i]!) / scale)
    if (!(zero >= 0 && zero <= 15) || f16Bits(zero * scale) !== products[i]) return undefined
    zeros[i] = zero
  }
  return zeros
}
