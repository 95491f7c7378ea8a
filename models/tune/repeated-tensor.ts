import type { DType } from '../../dsl/dtype.ts'
import type { Device } from '../../runtime/device.ts'
import { Tensor } from '../../runtime/tensor.ts'

/** A new tensor filled with some values, over and over: the host sends them once, and the device copies them. */
export function repeatedTensor(
  device: Device,
  dtype: DType,
  shape: readonly number[],
  source: ArrayBufferView,
  tag = 'row',
): Tensor {
  const tensor = Tensor.allocate<string>(device, dtype, shape, tag)
  fillRepeatedly(tensor, source)
  return tensor
}

/** Fills a tensor with the bytes of some values, over and over. */
export function fillRepeatedly(tensor: Tensor, source: ArrayBufferView): void {
  const { device } = tensor
  const at = (offset: number, bytes: number) => ({ address: tensor.address + offset, bytes })
  const first = Math.min(source.byteLength, tensor.bytes)
  device.write(at(0, first), new Uint8Array(source.buffer, source.byteOffset, first))
  for (let filled = first; filled < tensor.bytes; filled *= 2) {
    const bytes = Math.min(filled, tensor.bytes - filled)
    device.copy(at(filled, bytes), at(0, bytes))
  }
}
