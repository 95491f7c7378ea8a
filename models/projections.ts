import type { ModelConfig } from '../checkpoint/config.ts'

/** One matrix product of a decoder layer: y = x·Wᵀ with W of `n` output and `k` input features. */
export interface Projection {
  /** Where its tensors are stored, below `model.layers.N.`. */
  readonly path: string
  /** The projections of the Hugging Face layout whose output features it stacks, in order. */
  readonly parts: readonly { readonly path: string; readonly n: number }[]
  readonly n: number
  readonly k: number
  readonly bias: boolean
}

export interface LayerProjections {
  readonly qkv: Projection
  readonly o: Projection
  readonly gateUp: Projection
  readonly down: Projection
}

/** The four products of a layer; projections that read the same input are stacked into one. */
export function layerProjections(config: ModelConfig): LayerProjections {
  const { hiddenSize, heads, kvHeads, headDim, intermediateSize } = config
  const projection = (
    path: string,
    parts: readonly (readonly [string, number])[],
    k: number,
    bias = false,
  ): Projection => ({
    path,
    parts: parts.map(([part, n]) => ({ path: part, n })),
    n: parts.reduce((total, [, n]) => total + n, 0),
    k,
    bias,
  })
  return {
    qkv: projection(
      'self_attn.qkv_proj',
      [
        ['self_attn.q_proj', heads * headDim],
        ['self_attn.k_proj', kvHeads * headDim],
        ['self_attn.v_proj', kvHeads * headDim],
      ],
      hiddenSize,
      config.attentionBias,
    ),
    o: projection('self_attn.o_proj', [['self_attn.o_proj', hiddenSize]], heads * headDim),
    gateUp: projection(
      'mlp.gate_up_proj',
      [
        ['mlp.gate_proj', intermediateSize],
        ['mlp.up_proj', intermediateSize],
      ],
      hiddenSize,
    ),
    down: projection('mlp.down_proj', [['mlp.down_proj', hiddenSize]], intermediateSize),
  }
}

/** The output head: the embedding table again where a model ties the two. */
export function headProjection({ tieEmbeddings, vocabSize: n, hiddenSize: k }: ModelConfig): Projection {
  return {
    path: 'lm_head',
    parts: [{ path: tieEmbeddings ? 'model.embed_tokens' : 'lm_head', n }],
    n,
    k,
    bias: false,
  }
}
