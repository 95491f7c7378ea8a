import { type CheckpointFormat, floatFormat, formatName } from '../checkpoint/quantized.ts'
import { type WeightFormat, weightFormats } from '../kernels/formats/index.ts'
import { QuantizeError } from './error.ts'
import type { QuantizedFormatName } from './round-to-nearest.ts'

/** What is done to a model: data, so that a recipe can be named, stored and compared. */
export interface Recipe {
  /**
   * The format of all projections of all layers; embeddings and norms stay as they are. `bf16` quantizes nothing and
   * rounds every tensor to bf16.
   */
  readonly weights: QuantizedFormatName | 'bf16'
  /** The format of the output head, which stays as it is unless given. */
  readonly head?: QuantizedFormatName
  readonly kvBits: CheckpointFormat['kv']['bits']
  /** `weight-error` searches, row by row, the range with the least squared error. */
  readonly clip: 'none' | 'weight-error'
}

/** The recipes that the command line offers, by the short name of the checkpoint that they make. */
export const recipes = {
  w4a8kv4: { weights: 'w4a8', kvBits: 4, clip: 'none' },
  'w4a8kv4-g128': { weights: 'w4a8-g128', kvBits: 4, clip: 'none' },
  'w4a8kv4-g64': { weights: 'w4a8-g64', kvBits: 4, clip: 'none' },
  'w4a8kv4-g32': { weights: 'w4a8-g32', kvBits: 4, clip: 'none' },
  'w4a16kv16-g128': { weights: 'w4a16-g128', kvBits: 16, clip: 'none' },
  w8a8kv8: { weights: 'w8a8', kvBits: 8, clip: 'none' },
  bf16: { weights: 'bf16', kvBits: 16, clip: 'none' },
} as const satisfies Record<string, Recipe>

/** Formats of an output head, beside that of the model. */
export const headFormats = ['w8a8', 'w4a8', 'w4a8-g128'] as const satisfies readonly QuantizedFormatName[]

/** A recipe by name. Throws `QuantizeError` naming those that exist. */
export function recipeNamed(name: string): Recipe {
  if (Object.hasOwn(recipes, name)) return recipes[name as keyof typeof recipes]
  throw new QuantizeError(`there is no recipe ${name}; there are ${Object.keys(recipes).join(', ')}`)
}

/** The description that a checkpoint made by a recipe carries. */
export function formatOf(recipe: Recipe): CheckpointFormat {
  if (recipe.weights === 'bf16') return floatFormat('bf16')
  const { bits, group, tag, activations }: WeightFormat = weightFormats[recipe.weights]
  const codes = activations.includes('i8')
  const zero = bits === 8 ? 'none' : codes && group > 0 ? 'minimum' : 'integer'
  const format = {
    weights: { bits: bits as 4 | 8, group, zero, layout: tag },
    activations: { bits: codes ? 8 : 16, sum: codes && zero !== 'none' ? 'codes' : 'none' },
    kv: { bits: recipe.kvBits, keyMean: false, keyHadamard: false },
  } as const
  const head = recipe.head && { head: { format: recipe.head, layout: weightFormats[recipe.head].tag } }
  return { name: formatName(format), ...format, ...head }
}
