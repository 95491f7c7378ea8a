import type { Device } from '../runtime/device.ts'
import { Tensor } from '../runtime/tensor.ts'

const rooms = new WeakMap<Device, Map<number, Tensor>>()

/**
 * Room on a device for sums of slices that products park. Products share it, for none begins to sum before those before
 * it have ended; it lives as long as the device is open.
 */
export function parkingRoom(device: Device, shape: readonly number[]): Tensor {
  const ofDevice = rooms.get(device) ?? new Map<number, Tensor>()
  rooms.set(device, ofDevice)
  const elements = shape.reduce((a, b) => a * b)
  const room = ofDevice.get(elements) ?? Tensor.allocate(device, 'f32', [elements])
  ofDevice.set(elements, room)
  return room.view(0, 'f32', shape)
}
