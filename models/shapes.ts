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

/** Models by name, with the figures of their `config.json`. */
export const namedShapes = {
  'llama-3-8b': { hidden: 4096, intermediate: 14336, heads: 32, kvHeads: 8, headDim: 128 },
  'llama-2-7b': { hidden: 4096, intermediate: 11008, heads: 32, kvHeads: 32, headDim: 128 },
  'llama-2-13b': { hidden: 5120, intermediate: 13824, heads: 40, kvHeads: 40, headDim: 128 },
  'mistral-7b': { hidden: 4096, intermediate: 14336, heads: 32, kvHeads: 8, headDim: 128 },
  'qwen2.5-7b': { hidden: 3584, intermediate: 18944, heads: 28, kvHeads: 4, headDim: 128 },
  'qwen2.5-32b': { hidden: 5120, intermediate: 27648, heads: 40, kvHeads: 8, headDim: 128 },
  'yi-34b': { hidden: 7168, intermediate: 20480, heads: 56, kvHeads: 8, headDim: 128 },
  'llama-3-70b': { hidden: 8192, intermediate: 28672, heads: 64, kvHeads: 8, headDim: 128 },
} as const satisfies Readonly<Record<string, LayerShape>>

export type ModelName = keyof typeof namedShapes

/** The four products of a layer. */
export function layerProducts({ hidden, intermediate, heads, kvHeads, headDim }: LayerShape): ProductShape[] {
  return [
    { name: 'qkv', N: (heads + 2 * kvHeads) * headDim, K: hidden },
    { name: 'o', N: hidden, K: heads * headDim },
    { name: 'gate_up', N: 2 * intermediate, K: hidden },
    { name: 'down', N: hidden, K: intermediate },
  ]
}
