import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ModelConfig } from '../../checkpoint/config.ts'
import { floatFormat, weightsFileName } from '../../checkpoint/quantized.ts'
import { SafetensorsWriter, type TensorPlan } from '../../checkpoint/safetensors-writer.ts'
import { bf16Bits, bf16Value } from '../../dsl/half.ts'
import { randomCheckpoint } from '../../models/random-weights.ts'
import { configFile } from '../random-model.ts'

/** Every so many columns one is an outlier, of normed inputs, keys and the input of the down projection. */
const outlierDistance = { norm: 331, keys: 61, up: 487 } as const
const outlierFactor = { norm: 12, keys: 6, up: 16 } as const

/**
 * Writes a checkpoint of random weights in bf16 whose activations have outlier channels where those of trained models have
 * them: behind the norms, among the rotated keys and in front of the down projection.
 */
export async function writeRandomModel(folder: string, config: ModelConfig): Promise<void> {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify(configFile(config)))
  const { tensors } = randomCheckpoint(config, floatFormat('bf16'))
  const plans = tensors.names.map((name) => tensors.info(name) as TensorPlan)
  const writer = await SafetensorsWriter.create(join(folder, weightsFileName), plans)
  try {
    for (const { name, shape } of plans) {
      const { bytes } = tensors.read(name)
      const halfs = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)
      const columns = shape.length === 1 ? 1 : shape[1]!
      if (/layernorm\.weight$/.test(name)) grow(halfs, 1, outlierDistance.norm, outlierFactor.norm)
      if (/k_proj\.weight$/.test(name)) grow(halfs, columns, outlierDistance.keys, outlierFactor.keys)
      if (/up_proj\.weight$/.test(name)) grow(halfs, columns, outlierDistance.up, outlierFactor.up)
      await writer.write(name, bytes)
    }
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
}

/** Every `distance`-th row times `factor`. */
function grow(halfs: Uint16Array, columns: number, distance: number, factor: number): void {
  for (let start = 5 * columns; start < halfs.length; start += distance * columns)
    for (let i = start; i < start + columns; i++) halfs[i] = bf16Bits(bf16Value(halfs[i]!) * factor)
}
