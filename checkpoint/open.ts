import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type GenerationConfig, type ModelConfig, readConfig, readGenerationConfig } from './config.ts'
import { CheckpointError } from './error.ts'
import { type CheckpointFormat, floatFormat, parseFormat, weightsFileName } from './quantized.ts'
import { openSafetensors, openShardedSafetensors } from './safetensors.ts'
import type { TensorSource } from './tensor.ts'

/** A checkpoint folder, opened: its description at hand, its tensors on disk until they are asked for. */
export interface Checkpoint {
  readonly folder: string
  readonly config: ModelConfig
  readonly format: CheckpointFormat
  readonly tensors: TensorSource
  /** The `__metadata__` of a weights file in one piece; empty for a sharded checkpoint. */
  readonly metadata: ReadonlyMap<string, string>
  readonly generationConfig: GenerationConfig | undefined
  close(): void
}

const indexFileName = `${weightsFileName}.index.json`

/**
 * Opens a folder in the Hugging Face layout: `config.json`, and `model.safetensors` or its index and shards; the
 * tokenizer's files are read by `serve/text/`. Throws `CheckpointError` naming what is missing or wrong.
 */
export function openCheckpoint(folder: string): Checkpoint {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory())
    throw new CheckpointError(
      `${folder} is not a folder; name the folder that holds config.json and the weights`,
    )
  const config = readConfig(join(folder, 'config.json'))
  const generationPath = join(folder, 'generation_config.json')
  const generationConfig = existsSync(generationPath) ? readGenerationConfig(generationPath) : undefined
  const { tensors, metadata, path } = openWeights(folder)
  try {
    checkLayers(path, tensors, config.layers)
    const format = parseFormat(path, metadata) ?? unquantizedFormat(path, tensors)
    return {
      folder,
      config: { ...config, eosIds: generationConfig?.eosIds ?? config.eosIds },
      format,
      tensors,
      metadata,
      generationConfig,
      close: tensors.close,
    }
  } catch (error) {
    tensors.close()
    throw error
  }
}

/** Layers left over would be ignored, and the model would be another one. */
function checkLayers(path: string, tensors: TensorSource, layers: number): void {
  const surplus = tensors.names.find(
    (name) => Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? -1) >= layers,
  )
  if (surplus !== undefined)
    throw new CheckpointError(
      `${path} has the tensor ${surplus}, and config.json says num_hidden_layers ${layers}; ` +
        'the weights and the configuration are not of the same model',
    )
}

interface Weights {
  readonly path: string
  readonly tensors: TensorSource
  readonly metadata: ReadonlyMap<string, string>
}

function openWeights(folder: string): Weights {
  const whole = join(folder, weightsFileName)
  const index = join(folder, indexFileName)
  if (existsSync(whole)) {
    const file = openSafetensors(whole)
    return { path: whole, tensors: file, metadata: file.metadata }
  }
  if (existsSync(index)) return { path: index, tensors: openShardedSafetensors(index), metadata: new Map() }
  const names = readdirSync(folder)
  if (names.some((name) => name.endsWith('.safetensors')))
    throw new CheckpointError(`${folder} has shards and no ${indexFileName}; download it beside them`)
  const pickled = names.find((name) => /\.(bin|pt|pth)$/.test(name))
  throw new CheckpointError(
    pickled === undefined
      ? `${folder} has neither ${weightsFileName} nor ${indexFileName}; download the weights`
      : `${folder} has its weights in ${pickled}, which can run code when it is read; ` +
          'get the model as safetensors, or convert it',
  )
}

/** By the element type of the embeddings, which every supported family has. */
function unquantizedFormat(path: string, tensors: TensorSource): CheckpointFormat {
  const { name, dtype } = tensors.info('model.embed_tokens.weight')
  if (dtype !== 'bf16' && dtype !== 'f16' && dtype !== 'f32')
    throw new CheckpointError(`${path}: tensor ${name} holds ${dtype}; bf16, f16 or f32 is expected`)
  return floatFormat(dtype)
}
