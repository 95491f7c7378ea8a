import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ModelConfig } from '../checkpoint/config.ts'
import { openCheckpoint } from '../checkpoint/open.ts'
import { describeFormat, weightsFileName } from '../checkpoint/quantized.ts'
import { SafetensorsWriter } from '../checkpoint/safetensors-writer.ts'
import type { DType } from '../dsl/dtype.ts'
import { randomCheckpoint } from '../models/random-weights.ts'
import { type ModelName, namedConfig } from '../models/shapes.ts'
import { formatOf, recipeNamed } from '../quantize/recipe.ts'
import { byteCharacters } from '../serve/text/byte-level.ts'

/** Where models of random weights are kept, so that the next run finds them. */
const defaultParent = join(tmpdir(), 'quattuor-random-weights')

export interface RandomModelOptions {
  /** Folder to keep models in; one in memory, such as /dev/shm, is written soonest. */
  readonly parent?: string | undefined
  readonly onProgress?: (done: number, total: number) => void
}

/**
 * Writes a model of a named shape with random weights, and a tokenizer whose every token is a word, as a checkpoint folder;
 * or finds it, written before. Returns the folder.
 */
export async function randomModelFolder(
  name: ModelName,
  format: string,
  { parent = defaultParent, onProgress }: RandomModelOptions = {},
): Promise<string> {
  const folder = join(parent, `${name}-${format}`)
  if (existsSync(join(folder, weightsFileName))) return folder
  const config = namedConfig(name)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify(configFile(config)))
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizerFile(config.vocabSize)))
  const checkpoint = randomCheckpoint(config, formatOf(recipeNamed(format)))
  const { tensors } = checkpoint
  const plans = tensors.names.map((tensor) => {
    const { dtype, shape } = tensors.info(tensor)
    return { name: tensor, dtype: dtype as DType, shape }
  })
  const quantized = checkpoint.format.weights.bits < 16
  const writer = await SafetensorsWriter.create(join(folder, weightsFileName), plans, {
    ...(quantized && { metadata: describeFormat(checkpoint.format, 'quattuor bench') }),
    ...(onProgress && { onProgress }),
  })
  try {
    for (const { name: tensor } of plans) await writer.write(tensor, tensors.read(tensor).bytes)
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
  // What was written must be what is read.
  openCheckpoint(folder).close()
  return folder
}

const configFile = (config: ModelConfig) => ({
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
