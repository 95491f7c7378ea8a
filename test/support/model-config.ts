import type { ModelConfig } from '../../checkpoint/config.ts'

/** A small Llama with grouped queries and a head dimension that the hidden size does not give. */
export function modelConfig(change: Partial<ModelConfig> = {}): ModelConfig {
  return {
    architecture: 'LlamaForCausalLM',
    hiddenSize: 256,
    layers: 2,
    heads: 6,
    kvHeads: 2,
    headDim: 64,
    intermediateSize: 384,
    vocabSize: 100,
    normEpsilon: 1e-5,
    rope: { theta: 10000, columns: change.headDim ?? 64, scaling: undefined },
    tieEmbeddings: false,
    attentionBias: false,
    headNorm: false,
    maxPositions: 256,
    windows: Array(change.layers ?? 2).fill(undefined),
    bosId: undefined,
    eosIds: [1],
    ...change,
  }
}
