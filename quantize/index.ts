/**
 * The quantizer's public interface: checkpoints, recipes and passes, and the matrix operations that passes are made of.
 *
 * @module
 */
export type { ModelConfig } from '../checkpoint/config.ts'
export { type Checkpoint, openCheckpoint } from '../checkpoint/open.ts'
export { floatFormat } from '../checkpoint/quantized.ts'
export { randomCheckpoint } from '../models/random-weights.ts'
export { type Calibration, packWindows, readDocuments } from './calibration.ts'
export type { ColumnStats, Compute, Grid, Mat } from './compute/compute.ts'
export { DeviceCompute } from './compute/device.ts'
export { HostCompute } from './compute/host.ts'
export { QuantizeError } from './error.ts'
export {
  type LayerState,
  type ProjectionName,
  projectionNames,
  type StackName,
  type Statistics,
  stackOf,
  stacks,
} from './layer-state.ts'
export { mixFormats } from './mixed.ts'
export { passes } from './passes/index.ts'
export { definePass, noOptions, type Pass, type PassRun } from './passes/pass.ts'
export { type QuantizeOptions, quantizeCheckpoint } from './quantize-checkpoint.ts'
export { checkRecipe, type Recipe, recipeNamed } from './recipe.ts'
export { measureSensitivities } from './sensitivity.ts'
