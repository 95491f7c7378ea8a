import { dtypeBytes } from '../../../dsl/dtype.ts'
import { DeviceError, type TensorMap } from '../../device.ts'

/**
 * The emulator's own encoding of a tensor map into the 128 bytes of a kernel parameter: 32-bit words at these indices.
 * Sizes and strides fit 32 bits, because device memory ends at 4 GiB.
 */
export const mapWords = {
  /** Tells a map from other bytes. */
  magic: 0,
  rank: 1,
  elementBytes: 2,
  swizzle: 3,
  address: 4,
  /** Three words: elements, innermost dimension first. */
  extents: 5,
  /** Two words: bytes from one index to the next of the second and third dimension. */
  strides: 8,
  /** Three words: elements that one copy takes. */
  box: 10,
} as const

export const mapMagic = 0x71a70a9e

const maxBox = 256

/**
 * Writes a tensor map into the parameter block of a launch.
 *
 * @throws DeviceError `INVALID_ARGUMENT` for what the copy engine cannot do, by the rules of CUDA's
 * `cuTensorMapEncodeTiled`.
 */
export function encodeTensorMap(view: DataView, offset: number, map: TensorMap, name: string): void {
  const refuse = (problem: string): never => {
    throw new DeviceError('INVALID_ARGUMENT', `the tensor map '${name}' cannot be encoded: ${problem}`)
  }
  const { address, dtype, extents, strides, box, swizzle } = map
  const elementBytes = dtypeBytes[dtype]
  const rank = extents.length
  if (rank < 1 || rank > 3) refuse(`it has ${rank} dimensions; one to three are possible`)
  if (strides.length !== rank - 1)
    refuse(`${rank} dimensions need ${rank - 1} strides, not ${strides.length}`)
  if (box.length !== rank) refuse(`${rank} dimensions need as many extents of a box, not ${box.length}`)
  if (address % 16 !== 0) refuse(`its address ${address} is not a multiple of 16`)
  for (const extent of extents)
    if (!Number.isInteger(extent) || extent < 1 || extent >= 2 ** 32) refuse(`an extent is ${extent}`)
  for (const stride of strides)
    if (!Number.isInteger(stride) || stride < 1 || stride % 16 !== 0 || stride >= 2 ** 32)
      refuse(`a stride of ${stride} bytes is not a multiple of 16 below 4 GiB`)
  for (const extent of box)
    if (!Number.isInteger(extent) || extent < 1 || extent > maxBox)
      refuse(`a box has 1 to ${maxBox} elements along a dimension, not ${extent}`)
  const rowBytes = box[0]! * elementBytes
  if (rowBytes % 16 !== 0) refuse(`a row of the box has ${rowBytes} bytes, which is not a multiple of 16`)
  if (swizzle !== 0 && rowBytes !== swizzle)
    refuse(`a row of the box has ${rowBytes} bytes; swizzling over ${swizzle} bytes needs as many`)
  const set = (word: number, value: number): void => view.setUint32(offset + 4 * word, value, true)
  set(mapWords.magic, mapMagic)
  set(mapWords.rank, rank)
  set(mapWords.elementBytes, elementBytes)
  set(mapWords.swizzle, swizzle)
  set(mapWords.address, address)
  for (let i = 0; i < 3; i++) {
    set(mapWords.extents + i, extents[i] ?? 1)
    set(mapWords.box + i, box[i] ?? 1)
    if (i < 2) set(mapWords.strides + i, strides[i] ?? 0)
  }
}
