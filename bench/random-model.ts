import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ModelConfig } from '../checkpoint/config.ts'
import type { Checkpoint } from '../checkpoint/open.ts'
import { describeFormat, weightsFileName } from '../checkpoint/quantized.ts'
import { SafetensorsWriter } from '../checkpoint/safetensors-writer.ts'
import { UsageError } from '../cli/failure.ts'
import type { DType } from '../dsl/dtype.ts'
import { randomCheckpoint } from '../models/random-weights.ts'
import { type ModelName, namedConfig } from '../models/shapes.ts'
import { formatOf, recipeNamed } from '../quantize/recipe.ts'
import { describeDevices } from '../runtime/open-device.ts'
import { byteCharacters } from '../serve/text/byte-level.ts'

/** Where models of random weights are kept, so that the next run finds them. */
const defaultParent = join(tmpdir(), 'quattuor-random-weights')

export interface RandomModelOptions {
  /** Folder to keep models in; one in memory, such as /dev/shm, is written soonest. */
  readonly parent?: string | undefined
  readonly onProgress?: (done: number, total: number) => void
}

/**
 * Throws `UsageError` where a named model would be run by the emulator, whose memory its weights do not fit. `device` is the one
 * that was asked for, if any.
 */
export async function needGpuFor(name: ModelName, device?: string): Promise<void> {
  const { choice } = await describeDevices()
  if ((device ?? choice.name).startsWith('cuda:')) return
  const why = device ? `which ${device} is not` : `and there is none here (${choice.reason})`
  throw new UsageError(
    `${name} by name has billions of random weights, for a GPU, ${why}; run it where an NVIDIA driver and a GPU are, ` +
      'or give the folder of a small model, such as examples/models/nano-w4a8kv4',
  )
}

/** The folder of a named model with random weights in a format, which is written where it is not there yet. */
export async function randomModelFolder(
  name: ModelName,
  format: string,
  { parent = defaultParent, onProgress }: RandomModelOptions = {},
): Promise<string> {
  const folder = join(parent, `${name}-${format}`)
  if (existsSync(join(folder, weightsFileName))) return folder
  const checkpoint = randomCheckpoint(namedConfig(name), formatOf(recipeNamed(format)))
  await writeRandomModel(folder, checkpoint, onProgress)
  return folder
}

/** Writes a checkpoint of random weights into a folder, with a tokenizer whose every token is a word. */
export async function writeRandomModel(
  folder: string,
  { config, format, tensors }: Checkpoint,
  onProgress?: RandomModelOptions['onProgress'],
): Promise<void> {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify(configFile(config)))
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizerFile(config.vocabSize)))
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ chat_template: chatTemplate }))
  const plans = tensors.names.map((name) => {
    const { dtype, shape } = tensors.info(name)
    return { name, dtype: dtype as DType, shape }
  })
  const writer = await SafetensorsWriter.create(join(folder, weightsFileName), plans, {
    ...(format.weights.bits < 16 && { metadata: describeFormat(format, 'quattuor bench') }),
    ...(onProgress && { onProgress }),
  })
  try {
    for (const { name } of plans) await writer.write(name, tensors.read(name).bytes)
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
}

/** `config.json` of a shape. */
export const configFile = (config: ModelConfig) => ({
  architectures: [config.architecture],
  hidden_size: config.hiddenSize,
  num_hidden_layers: config.layers,
  num_attention_heads: config.heads,
  num_key_value_heads: config.kvHeads,
  head_dim: config.headDim,
  intermediate_size: config.intermediateSize,
  vocab_size: config.vocabSize,
  rms_norm_eps: config.normEpsilon,
  hidden_act: 'silu',
  max_position_embeddings: config.maxPositions,
  rope_theta: config.rope.theta,
  tie_word_embeddings: config.tieEmbeddings,
})

/** Roles and contents, a line each. */
const chatTemplate =
  "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}" +
  '{% if add_generation_prompt %}assistant:{% endif %}'

/** A byte-level tokenizer without merges: the bytes, then words. */
function tokenizerFile(vocabSize: number) {
  const words = Array.from(
    { length: vocabSize - byteCharacters.length },
    (_, i) => `\u0120w${i.toString(36)}`,
  )
  return {
    added_tokens: [],
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      vocab: Object.fromEntries([...byteCharacters, ...words].map((entry, id) => [entry, id])),
      merges: [],
    },
  }
}
