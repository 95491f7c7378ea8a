import { z } from 'zod'
import { CheckpointError } from './error.ts'
import { readJsonFile } from './json-file.ts'

/** The families whose layers `models/` can run, by the name that `config.json` gives in `architectures`. */
export const architectures = [
  'LlamaForCausalLM',
  'MistralForCausalLM',
  'Qwen2ForCausalLM',
  'Qwen3ForCausalLM',
] as const
export type Architecture = (typeof architectures)[number]

/** The shape of a Llama-like model. */
export interface ModelConfig {
  readonly architecture: Architecture
  readonly hiddenSize: number
  readonly layers: number
  /** Query heads. */
  readonly heads: number
  /** Key and value heads; divides `heads`. */
  readonly kvHeads: number
  readonly headDim: number
  readonly intermediateSize: number
  readonly vocabSize: number
  readonly normEpsilon: number
  readonly rope: Rope
  /** The output head is the embedding table. */
  readonly tieEmbeddings: boolean
  /** The q, k and v projections have a bias. No other projection ever has. */
  readonly attentionBias: boolean
  /** Queries and keys are normalized head by head before they are rotated. */
  readonly headNorm: boolean
  /** Positions that the model was made for. */
  readonly maxPositions: number
  /** Of each layer: how many tokens a token sees at most, itself included; `undefined` where it sees all before it. */
  readonly windows: readonly (number | undefined)[]
  readonly bosId: number | undefined
  /** Tokens that end a generation. `generation_config.json`, where present, has the last word. */
  readonly eosIds: readonly number[]
}

export interface Rope {
  readonly theta: number
  /** Leading columns of a head that are rotated. */
  readonly columns: number
  readonly scaling: RopeScaling | undefined
}

export type RopeScaling =
  | { readonly type: 'linear'; readonly factor: number }
  | {
      readonly type: 'llama3'
      readonly factor: number
      readonly lowFrequencyFactor: number
      readonly highFrequencyFactor: number
      readonly originalMaxPositions: number
    }
  | {
      readonly type: 'yarn'
      readonly factor: number
      readonly originalMaxPositions: number
      /** Turns within the original context from which a pair keeps its frequency, and below which it is stretched. */
      readonly betaFast: number
      readonly betaSlow: number
      /** Whether the pairs of those turns are rounded to whole ones. */
      readonly truncate: boolean
      /** Multiplies cosines and sines, and so scores with its square. */
      readonly attentionFactor: number
    }

/** Sampling defaults that the model's authors suggest. */
export interface GenerationConfig {
  readonly eosIds: readonly number[] | undefined
  /** `false` asks for greedy decoding. */
  readonly sample: boolean | undefined
  readonly temperature: number | undefined
  readonly topP: number | undefined
  readonly topK: number | undefined
  readonly repetitionPenalty: number | undefined
}

const count = z.int().positive()
const tokenId = z.int().nonnegative()
const tokenIds = z.union([tokenId.transform((id) => [id]), z.array(tokenId)])

const ropeFields = z.object({
  rope_type: z.string().nullish(),
  type: z.string().nullish(),
  rope_theta: z.number().positive().nullish(),
  factor: z.number().min(1).nullish(),
  low_freq_factor: z.number().positive().nullish(),
  high_freq_factor: z.number().positive().nullish(),
  original_max_position_embeddings: count.nullish(),
  partial_rotary_factor: z.number().positive().max(1).nullish(),
  beta_fast: z.number().positive().nullish(),
  beta_slow: z.number().positive().nullish(),
  attention_factor: z.number().positive().nullish(),
  mscale: z.number().nonnegative().nullish(),
  mscale_all_dim: z.number().nonnegative().nullish(),
  truncate: z.boolean().nullish(),
})

const configFields = z.object({
  architectures: z.array(z.string()).min(1),
  hidden_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  intermediate_size: count,
  vocab_size: count,
  rms_norm_eps: z.number().positive(),
  hidden_act: z.string(),
  max_position_embeddings: count,
  rope_theta: z.number().positive().nullish(),
  rope_scaling: ropeFields.nullish(),
  rope_parameters: ropeFields.nullish(),
  partial_rotary_factor: z.number().positive().max(1).nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  sliding_window: count.nullish(),
  use_sliding_window: z.boolean().nullish(),
  max_window_layers: z.int().nonnegative().nullish(),
  layer_types: z.array(z.string()).nullish(),
  bos_token_id: tokenId.nullish(),
  eos_token_id: tokenIds.nullish(),
})

const generationFields = z.object({
  eos_token_id: tokenIds.nullish(),
  do_sample: z.boolean().nullish(),
  temperature: z.number().nonnegative().nullish(),
  top_p: z.number().positive().max(1).nullish(),
  top_k: z.int().nonnegative().nullish(),
  repetition_penalty: z.number().positive().nullish(),
})

type ConfigFields = z.infer<typeof configFields>
type RopeFields = z.infer<typeof ropeFields>
type Refuse = (fault: string) => never

/** Reads a Hugging Face `config.json`. Throws `CheckpointError` for a model that Quattuor cannot run exactly. */
export function readConfig(path: string): ModelConfig {
  const value = readJsonFile(path)
  const refuse = (fault: string): never => {
    throw new CheckpointError(`${path}: ${fault}`)
  }
  // The family first: of an unknown one, other complaints would mislead.
  const named = z.object({ architectures: z.array(z.string()).min(1) }).safeParse(value)
  const architecture = named.success
    ? architectures.find((known) => known === named.data.architectures[0])
    : undefined
  if (named.success && architecture === undefined)
    refuse(
      `the architecture ${named.data.architectures[0]} is not supported; supported are ${architectures.join(', ')}`,
    )
  const config = checked(configFields, value, refuse)
  const heads = config.num_attention_heads
  const kvHeads = config.num_key_value_heads ?? heads
  if (heads % kvHeads !== 0)
    refuse(`${heads} query heads cannot share ${kvHeads} key/value heads evenly; the file is damaged`)
  if (config.head_dim == null && config.hidden_size % heads !== 0)
    refuse(`hidden_size ${config.hidden_size} is not a multiple of ${heads} heads, and head_dim is not given`)
  if (config.hidden_act !== 'silu') refuse(`hidden_act ${config.hidden_act} is not supported; silu is`)
  if (config.mlp_bias) refuse('mlp_bias is not supported; only q, k and v projections may have a bias')
  const isQwen2 = architecture === 'Qwen2ForCausalLM'
  if (config.attention_bias && !isQwen2)
    refuse(`attention_bias is not supported for ${architecture}, which would put a bias on o_proj as well`)
  const headDim = config.head_dim ?? config.hidden_size / heads
  const rope = ropeOf(config, headDim, refuse)
  return {
    architecture: architecture!,
    hiddenSize: config.hidden_size,
    layers: config.num_hidden_layers,
    heads,
    kvHeads,
    headDim,
    intermediateSize: config.intermediate_size,
    vocabSize: config.vocab_size,
    normEpsilon: config.rms_norm_eps,
    rope,
    tieEmbeddings: config.tie_word_embeddings ?? false,
    attentionBias: isQwen2 && config.attention_bias !== false,
    headNorm: architecture === 'Qwen3ForCausalLM',
    maxPositions: positionsOf(config.max_position_embeddings, rope),
    windows: windowsOf(config, architecture!, refuse),
    bosId: config.bos_token_id ?? undefined,
    eosIds: config.eos_token_id ?? [],
  }
}

/** Reads a Hugging Face `generation_config.json`. Throws `CheckpointError`. */
export function readGenerationConfig(path: string): GenerationConfig {
  const fields = checked(generationFields, readJsonFile(path), (fault) => {
    throw new CheckpointError(`${path}: ${fault}`)
  })
  return {
    eosIds: fields.eos_token_id ?? undefined,
    sample: fields.do_sample ?? undefined,
    temperature: fields.temperature ?? undefined,
    topP: fields.top_p ?? undefined,
    topK: fields.top_k ?? undefined,
    repetitionPenalty: fields.repetition_penalty ?? undefined,
  }
}

/** Throws `CheckpointError` when the model was not made for `tokens` positions. */
export function checkContext(config: ModelConfig, tokens: number): void {
  if (tokens > config.maxPositions)
    throw new CheckpointError(
      `a context of ${tokens} tokens was asked for, and the model was made for ${config.maxPositions}; ask for less`,
    )
}

/** YaRN's files give the positions before stretching; those of other scalings, behind it. */
function positionsOf(given: number, { scaling }: Rope): number {
  return scaling?.type === 'yarn' ? Math.max(given, scaling.originalMaxPositions * scaling.factor) : given
}

/**
 * The window of each layer. Newer files list the layers' types. Older ones of Qwen carry a window that only counts where
 * `use_sliding_window` says so, and then from layer `max_window_layers` on.
 */
function windowsOf(
  config: ConfigFields,
  architecture: Architecture,
  refuse: Refuse,
): readonly (number | undefined)[] {
  const { num_hidden_layers: layers, sliding_window: window, layer_types: types } = config
  const isQwen = architecture.startsWith('Qwen')
  if (types && types.length !== layers)
    refuse(
      `layer_types names ${types.length} layers and num_hidden_layers is ${layers}; correct whichever is wrong`,
    )
  const unknown = types?.find((type) => type !== 'full_attention' && type !== 'sliding_attention')
  if (unknown !== undefined)
    refuse(`the layer type ${unknown} is not supported; full_attention and sliding_attention are`)
  if (types?.includes('sliding_attention') && window == null)
    refuse('layer_types has sliding_attention, and sliding_window is not given')
  return Array.from({ length: layers }, (_, layer) => {
    if (window == null || (isQwen && !config.use_sliding_window)) return undefined
    if (types) return types[layer] === 'sliding_attention' ? window : undefined
    return !isQwen || layer >= (config.max_window_layers ?? layers) ? window : undefined
  })
}

/** Transformers up to version 4 has `rope_theta` and `rope_scaling`; from 5 on `rope_parameters` holds both. */
function ropeOf(config: ConfigFields, headDim: number, refuse: Refuse): Rope {
  const { rope_parameters: parameters, rope_scaling: scaling } = config
  const partial = parameters?.partial_rotary_factor ?? config.partial_rotary_factor ?? 1
  const columns = Math.floor(headDim * partial)
  if (columns % 16 !== 0 || columns === 0)
    refuse(
      `partial_rotary_factor ${partial} rotates ${columns} of a head's ${headDim} columns; ` +
        'supported are multiples of 16',
    )
  if (
    parameters?.rope_theta != null &&
    config.rope_theta != null &&
    parameters.rope_theta !== config.rope_theta
  )
    refuse(
      `rope_theta is ${config.rope_theta} and rope_parameters has ${parameters.rope_theta}; ` +
        'correct whichever is wrong',
    )
  return {
    theta: parameters?.rope_theta ?? config.rope_theta ?? scaling?.rope_theta ?? 10000,
    columns,
    scaling: scalingOf(parameters ?? scaling, config.max_position_embeddings, refuse),
  }
}

function scalingOf(
  fields: RopeFields | null | undefined,
  maxPositions: number,
  refuse: Refuse,
): RopeScaling | undefined {
  const type = fields?.rope_type ?? fields?.type ?? 'default'
  const need = (key: keyof RopeFields & ('factor' | `${string}_factor` | `${string}_embeddings`)): number =>
    fields?.[key] ?? refuse(`rope scaling ${type} needs ${key}`)
  switch (type) {
    case 'default':
      return undefined
    case 'linear':
      return { type, factor: need('factor') }
    case 'llama3': {
      const scaling = {
        type,
        factor: need('factor'),
        lowFrequencyFactor: need('low_freq_factor'),
        highFrequencyFactor: need('high_freq_factor'),
        originalMaxPositions: need('original_max_position_embeddings'),
      } as const
      if (scaling.highFrequencyFactor <= scaling.lowFrequencyFactor)
        refuse('rope scaling llama3 needs a high_freq_factor above its low_freq_factor')
      return scaling
    }
    case 'yarn': {
      const factor = need('factor')
      const { mscale, mscale_all_dim: mscaleAll } = fields!
      const attentionFactor =
        mscale && mscaleAll ? yarnScale(factor, mscale) / yarnScale(factor, mscaleAll) : yarnScale(factor, 1)
      return {
        type,
        factor,
        originalMaxPositions: fields?.original_max_position_embeddings ?? maxPositions,
        betaFast: fields?.beta_fast ?? 32,
        betaSlow: fields?.beta_slow ?? 1,
        truncate: fields?.truncate ?? true,
        attentionFactor: fields?.attention_factor ?? attentionFactor,
      }
    }
    default:
      return refuse(`rope scaling ${type} is not supported yet; linear, llama3 and yarn are`)
  }
}

/** What YaRN suggests that attention be scaled with, by the root, for a context stretched by `factor`. */
const yarnScale = (factor: number, weight: number): number => 0.1 * weight * Math.log(factor) + 1

function checked<T>(schema: z.ZodType<T>, value: unknown, refuse: Refuse): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]!
  return refuse(
    `${issue.path.join('.') || 'the file'}: ${issue.message}; download the file again, or correct it`,
  )
}
