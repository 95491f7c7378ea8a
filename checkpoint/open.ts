import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type GenerationConfig, type ModelConfig, readConfig, readGenerationConfig } from './config.ts'
import { CheckpointError } from './error.ts'
import type { ForeignWeights } from './import/foreign.ts'
import { recognizeForeign } from './import/recognize.ts'
import { type CheckpointFormat, floatFormat, parseFormat, weightsFileName } from './quantized.ts'
import { openSafetensors, openShards } from './safetensors.ts'
import type { TensorSource } from './tensor.ts'
import { openTorchFile } from './torch-file.ts'

/** A checkpoint folder, opened: its description at hand, its tensors on disk until they are asked for. */
export interface Checkpoint {
  readonly folder: string
  readonly config: ModelConfig
  readonly format: CheckpointFormat
  readonly tensors: TensorSource
  /** The `__metadata__` of a weights file in one piece; empty for a sharded checkpoint. */
  readonly metadata: ReadonlyMap<string, string>
  readonly generationConfig: GenerationConfig | undefined
  /**
   * The projections of a checkpoint that another program has quantized. Its `tensors` are that program's, and `format` says
   * what its floats are; `models/open-model.ts` makes it a checkpoint of ours.
   */
  readonly foreign?: ForeignWeights | undefined
  close(): void
}

const indexFileName = `${weightsFileName}.index.json`

/** Files of PyTorch that hold a whole model, in the order of preference. */
const torchFileNames = ['pytorch_model.bin', 'model.pt'] as const
const torchIndexName = 'pytorch_model.bin.index.json'

/**
 * Opens a folder in the Hugging Face layout: `config.json`, and weights in `model.safetensors`, its index and shards, or
 * files of PyTorch; the tokenizer's files are read by `serve/text/`. Throws `CheckpointError` naming what is missing or wrong.
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
    const own = parseFormat(path, metadata)
    const format = own ?? unquantizedFormat(path, tensors)
    const foreign = own ? undefined : recognizeForeign(folder, tensors, projectionPaths(config.layers))
    return {
      folder,
      config: { ...config, eosIds: generationConfig?.eosIds ?? config.eosIds },
      format,
      tensors,
      metadata,
      generationConfig,
      foreign,
      close: tensors.close,
    }
  } catch (error) {
    tensors.close()
    throw error
  }
}

/** The matrices of layers that programs quantize. */
const projectionNames = [
  'self_attn.q_proj',
  'self_attn.k_proj',
  'self_attn.v_proj',
  'self_attn.o_proj',
  'mlp.gate_proj',
  'mlp.up_proj',
  'mlp.down_proj',
]

const projectionPaths = (layers: number): string[] =>
  Array.from({ length: layers }, (_, layer) =>
    projectionNames.map((name) => `model.layers.${layer}.${name}`),
  ).flat()

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
  if (existsSync(index))
    return { path: index, tensors: openShards(index, openSafetensors, '.safetensors'), metadata: new Map() }
  const names = readdirSync(folder)
  if (names.some((name) => name.endsWith('.safetensors')))
    throw new CheckpointError(`${folder} has shards and no ${indexFileName}; download it beside them`)
  const torchIndex = join(folder, torchIndexName)
  if (existsSync(torchIndex))
    return { path: torchIndex, tensors: openShards(torchIndex, openTorchFile, '.bin'), metadata: new Map() }
  const torchName = torchFileNames.find((name) => names.includes(name))
  if (torchName !== undefined) {
    const path = join(folder, torchName)
    return { path, tensors: openTorchFile(path), metadata: new Map() }
  }
  const pickled = names.find((name) => /\.(bin|pt|pth)$/.test(name))
  throw new CheckpointError(
    pickled === undefined
      ? `${folder} has neither ${weightsFileName} nor ${indexFileName}; download the weights`
      : `${folder} has its weights in ${pickled}, and ${torchFileNames.join(' or ')} is looked for; ` +
          'rename it, or get the model as safetensors',
  )
}

/** By the element type of the embeddings, which every supported family has. */
function unquantizedFormat(path: string, tensors: TensorSource): CheckpointFormat {
  const { name, dtype } = tensors.info('model.embed_tokens.weight')
  if (dtype !== 'bf16' && dtype !== 'f16' && dtype !== 'f32')
    throw new CheckpointError(`${path}: tensor ${name} holds ${dtype}; bf16, f16 or f32 is expected`)
  return floatFormat(dtype)
}
