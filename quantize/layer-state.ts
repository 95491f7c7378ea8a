import type { ModelConfig } from '../checkpoint/config.ts'
import { type WeightFormat, weightFormats } from '../kernels/formats/index.ts'
import type { LayerProjections } from '../models/projections.ts'
import type { ColumnStats, Compute, Grid, Mat } from './compute/compute.ts'
import type { QuantizedFormatName, Zeros } from './round-to-nearest.ts'

/** The matrices of a layer, as the Hugging Face layout has them. */
export const projectionNames = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const
export type ProjectionName = (typeof projectionNames)[number]

/** The products of a layer that kernels make at once; what is stacked has one format and one input. */
export type StackName = keyof LayerProjections

/** The matrices of each stack, in order. */
export const stacks = {
  qkv: ['q', 'k', 'v'],
  o: ['o'],
  gateUp: ['gate', 'up'],
  down: ['down'],
} as const satisfies Record<StackName, readonly ProjectionName[]>

/** The stack of a matrix, which is also the site of its input. */
export const stackOf = (projection: ProjectionName): StackName =>
  (Object.keys(stacks) as StackName[]).find((name) =>
    (stacks[name] as readonly ProjectionName[]).includes(projection),
  )!

/**
 * Where activations are looked at, in the order of the forward pass: the inputs of the four products; between them queries
 * and keys behind norm and rotation (before centring and Hadamard), and values.
 */
export const sites = ['qkv', 'queries', 'keys', 'values', 'o', 'gateUp', 'down'] as const
export type Site = (typeof sites)[number]

/** The format of a product: a quantized one, or `w16`, which leaves weights and input as they are. */
export type StackFormat = QuantizedFormatName | 'w16'

/** Whether the input of a product in this format is quantized to 8 bits. */
export const quantizesInput = (format: StackFormat): boolean =>
  (weightFormats[format] as WeightFormat).activations.includes('i8')

/** Weights that a rounding pass has put on a grid. */
export interface Rounded {
  /** [n, k], values of the grid. */
  readonly values: Mat
  readonly grid: Grid
}

/** What passes ask of the calibration. Everything is computed when it is asked for, and kept until invalidated. */
export interface Statistics {
  columns(site: Site): Promise<ColumnStats>
  /** Σ xᵀ·x over all tokens, [K, K]. It belongs to the statistics: neither change nor free it. */
  gram(site: Site): Promise<Mat>
  /** Rows at even distances, at most 512 of them, [S, K]. It belongs to the statistics as well. */
  sample(site: Site): Promise<Mat>
  /** Computes what is listed in one run of the layer; saves the later calls a run each. */
  prepare(wanted: readonly (readonly ['columns' | 'gram' | 'sample', Site])[]): Promise<void>
  /**
   * Of the input of a product when everything before it in the layer is quantized, as far as it is rounded by now: with f the
   * same input in floats, `gram` Σ xᵀ·x and, where the layer has `floatInputs`, `shift` Σ (f − x)ᵀ·x. Computed anew each
   * time; the caller frees both.
   */
  quantized(site: StackName): Promise<{ gram: Mat; shift?: Mat }>
  /**
   * Forgets what is known of these sites; of all where none is named. A pass that changes activations calls it: one that
   * scales the input of gate and up, and their columns against it, for `gateUp` alone.
   */
  invalidate(...sites: readonly Site[]): void
}

/**
 * One layer while it is quantized. Passes that transform write into the matrices, or replace them and free the old ones;
 * what they leave is a layer of the same function. Rounding leaves `weights` alone and fills `rounded`, so that statistics
 * are those of the transformed layer in floats. A plain object: `{ ...layer, weights: { ...layer.weights, q } }` is a variant
 * of it for `forward.ts`.
 */
export interface LayerState {
  readonly compute: Compute
  readonly config: ModelConfig
  readonly index: number
  /** [n, k]. */
  readonly weights: Record<ProjectionName, Mat>
  /** [1, n]; empty in most families. */
  readonly biases: Partial<Record<'q' | 'k' | 'v', Mat>>
  /** Gains: of the two norms [1, hidden size]; of heads, in families that have them, [1, head dimension]. */
  readonly norms: { attention: Mat; mlp: Mat; query?: Mat; key?: Mat }
  /** What is done to keys behind the rotation: `mean` [1, kvHeads · headDim] is subtracted, then the Hadamard transform. */
  readonly keys: { mean?: Mat; hadamard: boolean }
  /** `clip` is the part of a vector's range that codes cover; the whole where it is left out. */
  readonly kv: { readonly bits: 4 | 8 | 16; clip?: number }
  readonly formats: Record<StackName, StackFormat>
  /** How minima of two-level groups are chosen. */
  readonly zeros?: Zeros
  /** Parts of the range that grids cover (`Compute.fitGrid`); the whole range where there are none. */
  readonly ratios: Partial<Record<ProjectionName, Mat>>
  readonly rounded: Partial<Record<ProjectionName, Rounded>>
  readonly statistics: Statistics
  /** The layer's input for the calibration tokens, [tokens, hidden size], whole windows. Not to be changed. */
  readonly inputs: Mat
  /** The same tokens behind layers that stay in floats, where the recipe keeps both. */
  readonly floatInputs?: Mat
  /** Tokens of a window. */
  readonly window: number
  /** Cosines and sines of a window's positions, [window, rotated columns]. */
  readonly cosSin: Mat
}

/** The embedding table, [vocabulary, hidden size]. */
export interface EmbeddingState {
  readonly compute: Compute
  readonly config: ModelConfig
  readonly table: Mat
}

/** What follows the last layer: the norm's gain [1, hidden size], and the output head [vocabulary, hidden size]. */
export interface HeadState {
  readonly compute: Compute
  readonly config: ModelConfig
  readonly norm: Mat
  readonly weight: Mat
}
