import { type DType, dtypeBytes } from '../dsl/dtype.ts'
import { f16FromF32 } from '../dsl/half.ts'
import { repeatedTensor } from '../models/tune/repeated-tensor.ts'
import type { Device } from '../runtime/device.ts'
import type { HostArray, Tensor } from '../runtime/tensor.ts'
import { rng } from '../test/support/rng.ts'

/** Elements that are drawn; longer tensors repeat them. */
const blockLength = 2 ** 18

const random = rng(1)
const draw = (sample: () => number) => Float32Array.from({ length: blockLength }, sample)

/** What tensors are filled with: values of the size that a model has there, never zeros. */
const blocks = {
  /** Any bits: packed integer codes, unsigned bytes. */
  bits: () => Uint32Array.from({ length: blockLength }, () => Math.floor(random.uniform() * 2 ** 32)),
  /** Quantized activations: normal, the largest of a row at 127. */
  codes: () => Int8Array.from(draw(() => Math.max(-127, Math.min(127, Math.round(36 * random.normal()))))),
  /** f16: activations, residuals, norms' weights. */
  halves: () => f16FromF32(draw(() => random.normal())),
  /** f16: weights. */
  weights: () => f16FromF32(draw(() => 0.02 * random.normal())),
  /** f16: scales of weights, of keys and of values. */
  halfScales: () => f16FromF32(draw(() => 0.02 * (0.1 + Math.abs(random.normal())))),
  /** f32: scales of activations. */
  scales: () => draw(() => 0.001 + 0.001 * random.uniform()),
  /** f32: logits; cosines and sines. */
  normals: () => draw(() => random.normal()),
} as const

export type BlockName = keyof typeof blocks

const drawn = new Map<BlockName, HostArray>()

function block(name: BlockName): HostArray {
  const known = drawn.get(name) ?? blocks[name]()
  drawn.set(name, known)
  return known
}

/** A new tensor filled with a block of random values, over and over. */
export const randomTensor = (
  device: Device,
  dtype: DType,
  shape: readonly number[],
  name: BlockName,
  tag = 'row',
): Tensor => repeatedTensor(device, dtype, shape, block(name), tag)

/** Bytes of a tensor. */
export const bytesOf = (dtype: DType, shape: readonly number[]): number =>
  shape.reduce((product, extent) => product * extent, dtypeBytes[dtype])
