import type { DType } from '../../dsl/dtype.ts'
import { DeviceError, type TensorMap } from '../device.ts'
import { addressOf, setU64 } from './driver.ts'
import type { CudaFunction } from './module.ts'

/** Size and alignment of a `CUtensorMap`. */
export const tensorMapBytes = 128
export const tensorMapAlign = 64

/** `CUtensorMapDataType`: floats of 8 bits are bytes to the copy engine. */
const dataTypes: Readonly<Record<DType, number>> = {
  u8: 0,
  i8: 0,
  e4m3: 0,
  e5m2: 0,
  u32: 2,
  i32: 3,
  f16: 6,
  f32: 7,
  bf16: 9,
}
/** `CUtensorMapSwizzle`. */
const swizzles = { 0: 0, 32: 1, 64: 2, 128: 3 } as const
const noInterleave = 0
/** `CU_TENSOR_MAP_L2_PROMOTION_L2_128B`. */
const promotion = 2
/** `CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE`: zeros. */
const zeros = 0

/** Where the driver reads what describes a map, during the call: extents, strides, box, and steps of 1 element. */
const words = new DataView(new ArrayBuffer(72))
const offset = { extents: 0, strides: 24, box: 48, steps: 60 } as const
for (let k = 0; k < 3; k++) words.setUint32(offset.steps + 4 * k, 1, true)
const wordsAddress = addressOf(words.buffer as ArrayBuffer)

/** Has the driver encode a tensor map for a kernel's parameter at `address`. */
export function encodeTensorMap(fn: CudaFunction, name: string, address: number, map: TensorMap): void {
  const { extents, strides, box } = map
  if (map.address % 16 !== 0 || strides.some((stride) => stride % 16 !== 0))
    throw new DeviceError(
      'INVALID_LAUNCH',
      `kernel ${fn.program.name}, ${name}: the copy engine needs addresses and rows of multiples of 16 bytes, ` +
        `and was given address 0x${map.address.toString(16)} with strides of ${strides.join(', ')} bytes`,
      fn.where,
    )
  for (let k = 0; k < extents.length; k++) {
    setU64(words, offset.extents + 8 * k, extents[k]!)
    words.setUint32(offset.box + 4 * k, box[k]!, true)
    if (k > 0) setU64(words, offset.strides + 8 * (k - 1), strides[k - 1]!)
  }
  const result = fn.context
    .enter()
    .cuTensorMapEncodeTiled(
      address,
      dataTypes[map.dtype],
      extents.length,
      map.address,
      wordsAddress + offset.extents,
      wordsAddress + offset.strides,
      wordsAddress + offset.box,
      wordsAddress + offset.steps,
      noInterleave,
      swizzles[map.swizzle],
      promotion,
      zeros,
    )
  if (result === 0) return
  const tile = `${box.join('×')} of ${extents.join('×')} elements of ${map.dtype}`
  fn.context.fail(result, `describing tiles of ${tile} for ${name} of kernel ${fn.program.name}`, fn)
}
