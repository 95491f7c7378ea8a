/**
 * Quattuor's public interface: the language (`kernel`, `range`, `load`, …), devices, tensors and launches; and what a
 * quantization pass of one's own is made of.
 *
 * @module
 */
export * from './dsl/index.ts'
export type { Compute, Grid, Mat } from './quantize/compute/compute.ts'
export type { EmbeddingState, HeadState, LayerState, Statistics } from './quantize/layer-state.ts'
export type { Pass, PassRun } from './quantize/passes/pass.ts'
export { definePass } from './quantize/passes/pass.ts'
export type { Recipe } from './quantize/recipe.ts'
export type { Device, DeviceProperties, Event, Graph, Stream } from './runtime/device.ts'
export { DeviceError } from './runtime/device.ts'
export type { EmulatorDevice, EmulatorOptions } from './runtime/emulator/device.ts'
export { openEmulator } from './runtime/emulator/device.ts'
export type { Arguments, Launch } from './runtime/kernel.ts'
export { prepare } from './runtime/kernel.ts'
export { openDevice } from './runtime/open-device.ts'
export { Tensor } from './runtime/tensor.ts'
