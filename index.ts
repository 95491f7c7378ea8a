/**
 * Quattuor's public interface: the language (`kernel`, `range`, `load`, …), devices, tensors and launches.
 *
 * @module
 */
export * from './dsl/index.ts'
export type { Device, DeviceProperties, Event, Graph, Stream } from './runtime/device.ts'
export { DeviceError } from './runtime/device.ts'
export type { EmulatorDevice, EmulatorOptions } from './runtime/emulator/device.ts'
export { openEmulator } from './runtime/emulator/device.ts'
export type { Arguments, Launch } from './runtime/kernel.ts'
export { prepare } from './runtime/kernel.ts'
export { openDevice } from './runtime/open-device.ts'
export { Tensor } from './runtime/tensor.ts'
