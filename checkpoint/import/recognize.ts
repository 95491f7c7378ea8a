import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { CheckpointError } from '../error.ts'
import { readJsonFile } from '../json-file.ts'
import type { TensorSource } from '../tensor.ts'
import { recognizeAwq } from './awq.ts'
import { recognizeCompressedTensors } from './compressed-tensors.ts'
import type { ForeignWeights } from './foreign.ts'
import { recognizeGptq } from './gptq.ts'
import { recognizeLmquant } from './lmquant.ts'
import { recognizeQServe } from './qserve.ts'

/** In this order: the later ones look at less. */
const schemes = [recognizeCompressedTensors, recognizeQServe, recognizeLmquant, recognizeAwq, recognizeGptq]

/** Files of settings that older programs write in the place of `quantization_config`. */
const settingsFiles = [
  { name: 'quantize_config.json', method: 'gptq' },
  { name: 'quant_config.json', method: 'awq' },
]

/**
 * What another program has made of a model, from its tensors and settings; `undefined` for a model in floats. `paths` are
 * those of all projections. Throws `CheckpointError` for what is recognized and cannot be read.
 */
export function recognizeForeign(
  folder: string,
  tensors: TensorSource,
  paths: readonly string[],
): ForeignWeights | undefined {
  const declared = declaredSettings(folder)
  const files = { folder, tensors, declared, paths }
  for (const recognize of schemes) {
    const found = recognize(files)
    if (found) return found
  }
  if (declared)
    throw new CheckpointError(
      `${folder} is quantized by the method ${JSON.stringify(declared.quant_method)}, which is not read; AWQ, GPTQ, ` +
        'compressed-tensors, QServe and LMQuant are. Take the original model, or one of these',
    )
  return undefined
}

function declaredSettings(folder: string): Readonly<Record<string, unknown>> | undefined {
  const config = readJsonFile(join(folder, 'config.json')) as Record<string, unknown>
  const declared = config.quantization_config ?? config.compression_config
  if (isRecord(declared)) return declared
  for (const { name, method } of settingsFiles) {
    const path = join(folder, name)
    if (!existsSync(path)) continue
    const settings = readJsonFile(path)
    if (isRecord(settings)) return { quant_method: method, ...settings }
  }
  return undefined
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
