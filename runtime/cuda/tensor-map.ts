import type { DType } from '../../dsl/dtype.ts'
import { DeviceError, type TensorMap } from '../device.ts'
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

/** Has the driver encode a tensor map for a kernel's parameter at `address`. */
export function encodeTensorMap(fn: CudaFunction, name: string, address: number, map: TensorMap): void {
  const { context, program } = fn
  const rank = map.extents.length
  if (map.address % 16 !== 0 || map.strides.some((stride) => stride % 16 !== 0))
    throw new DeviceError(
      'INVALID_LAUNCH',
      `kernel ${program.name}, ${name}: the copy engine needs addresses and rows of multiples of 16 bytes, ` +
        `and was given address 0x${map.address.toString(16)} with strides of ${map.strides.join(', ')} bytes`,
      fn.where,
    )
  const result = context
    .enter()
    .cuTensorMapEncodeTiled(
      address,
      dataTypes[map.dtype],
      rank,
      map.address,
      BigUint64Array.from(map.extents, BigInt),
      BigUint64Array.from(map.strides, BigInt),
      Uint32Array.from(map.box),
      new Uint32Array(rank).fill(1),
      noInterleave,
      swizzles[map.swizzle],
      promotion,
      zeros,
    )
  const tile = `${map.box.join('×')} of ${map.extents.join('×')} elements of ${map.dtype}`
  context.check(result, `describing tiles of ${tile} for ${name} of kernel ${program.name}`, fn)
}
