import type { Architecture, ModelConfig } from '../checkpoint/config.ts'

/** What of a model decides the products of its layers. */
export interface LayerShape {
  readonly hidden: number
  readonly intermediate: number
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
}

/** A product of a layer: N features from K columns. */
export interface ProductShape {
  readonly name: 'qkv' | 'o' | 'gate_up' | 'down'
  readonly N: number
  readonly K: number
}

/** What else a configuration says. */
interface ModelShape extends LayerShape {
  readonly layers: number
  readonly vocabulary: number
  readonly positions: number
  readonly theta: number
  /** Default: 1e-5. */
  readonly epsilon?: number
  /** Default: `LlamaForCausalLM`. */
  readonly architecture?: Architecture
}

const qwen = { architecture: 'Qwen2ForCausalLM', headDim: 128, theta: 1e6, positions: 32768 } as const

/** Models by name, with the figures of their `config.json`; Mistral 7B is version 0.3. */
export const namedShapes = {
  'llama-3-8b': {
    ...{ hidden: 4096, intermediate: 14336, heads: 32, kvHeads: 8, headDim: 128 },
    ...{ layers: 32, vocabulary: 128256, positions: 8192, theta: 500000 },
  },
  'llama-2-7b': {
    ...{ hidden: 4096, intermediate: 11008, heads: 32, kvHeads: 32, headDim: 128 },
    ...{ layers: 32, vocabulary: 32000, positions: 4096, theta: 10000 },
  },
  'llama-2-13b': {
    ...{ hidden: 5120, intermediate: 13824, heads: 40, kvHeads: 40, headDim: 128 },
    ...{ layers: 40, vocabulary: 32000, positions: 4096, theta: 10000 },
  },
  'mistral-7b': {
    ...{ hidden: 4096, intermediate: 14336, heads: 32, kvHeads: 8, headDim: 128 },
    ...{ layers: 32, vocabulary: 32768, positions: 32768, theta: 1e6, architecture: 'MistralForCausalLM' },
  },
  'qwen2.5-7b': {
    ...{ hidden: 3584, intermediate: 18944, heads: 28, kvHeads: 4, layers: 28, vocabulary: 152064 },
    ...{ ...qwen, epsilon: 1e-6 },
  },
  'qwen2.5-32b': {
    ...{ hidden: 5120, intermediate: 27648, heads: 40, kvHeads: 8, layers: 64, vocabulary: 152064 },
    ...qwen,
  },
  'yi-34b': {
    ...{ hidden: 7168, intermediate: 20480, heads: 56, kvHeads: 8, headDim: 128 },
    ...{ layers: 60, vocabulary: 64000, positions: 4096, theta: 5e6 },
  },
  'llama-3-70b': {
    ...{ hidden: 8192, intermediate: 28672, heads: 64, kvHeads: 8, headDim: 128 },
    ...{ layers: 80, vocabulary: 128256, positions: 8192, theta: 500000 },
  },
} as const satisfies Readonly<Record<string, ModelShape>>

export type ModelName = keyof typeof namedShapes

export const isModelName = (name: string): name is ModelName => Object.hasOwn(namedShapes, name)

/** The configuration of a named model, without tokens that end a text: those belong to a tokenizer. */
export function namedConfig(name: ModelName): ModelConfig {
  const shape: ModelShape = namedShapes[name]
  const { architecture = 'LlamaForCausalLM' } = shape
  return {
    architecture,
    hiddenSize: shape.hidden,
    layers: shape.layers,
    heads: shape.heads,
    kvHeads: shape.kvHeads,
    headDim: shape.headDim,
    intermediateSize: shape.intermediate,
    vocabSize: shape.vocabulary,
    normEpsilon: shape.epsilon ?? 1e-5,
    rope: { theta: shape.theta, columns: shape.headDim, scaling: undefined },
    tieEmbeddings: false,
    attentionBias: architecture === 'Qwen2ForCausalLM',
    headNorm: false,
    maxPositions: shape.positions,
    windows: Array<undefined>(shape.layers).fill(undefined),
    bosId: undefined,
    eosIds: [],
  }
}

/** The four products of a layer. */
export function layerProducts({ hidden, intermediate, heads, kvHeads, headDim }: LayerShape): ProductShape[] {
  return [
    { name: 'qkv', N: (heads + 2 * kvHeads) * headDim, K: hidden },
    { name: 'o', N: hidden, K: heads * headDim },
    { name: 'gate_up', N: 2 * intermediate, K: hidden },
    { name: 'down', N: hidden, K: intermediate },
  ]
}
