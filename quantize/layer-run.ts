import type { Checkpoint } from '../checkpoint/open.ts'
import type { Compute, Mat } from './compute/compute.ts'
import { QuantizeError } from './error.ts'
import { type ForwardLayer, forwardLayer, withRounded } from './forward.ts'
import type { LayerState, Statistics } from './layer-state.ts'
import { formatsOf, type LoadedLayer } from './load-layer.ts'
import { type LayerError, measureLayer, type Outliers } from './measure.ts'
import { productFormat, type Recipe, type RecipeStep } from './recipe.ts'
import { LayerStatistics, pieces } from './statistics.ts'

/** The calibration tokens on their way through the layers. */
export interface HiddenStates {
  /** [tokens, hidden size], as the recipe's layers see them. */
  readonly states: Mat
  /** [tokens, hidden size], behind layers that stay in floats, where the recipe wants both. */
  readonly floats?: Mat
  /** The first windows of them in the original model, for the report. */
  readonly original?: Mat
  readonly window: number
  readonly cosSin: Mat
}

/** What a pass did to a layer. */
export interface StepNotes {
  /** The pass; `original` for what plain rounding does to the layer of the source. */
  readonly pass: string
  /** Where a report is asked for. */
  readonly error?: LayerError
  readonly outliers?: readonly Outliers[]
  readonly chosen: readonly (readonly [what: string, value: number | string])[]
}

export interface LayerNotes {
  readonly layer: number
  readonly steps: readonly StepNotes[]
  readonly formats: LayerState['formats']
  readonly keys: { readonly mean: boolean; readonly hadamard: boolean; readonly clip?: number }
}

/** Tokens whose activations are in memory at once. */
const pieceTokens = 8192
/** Tokens that a report's errors are measured on, at most; at least a window. */
const measuredTokens = 2048

/** The windows that a report measures on, of so many tokens. */
export const measuredRows = (tokens: number, window: number): number =>
  Math.min(tokens, Math.max(1, Math.floor(measuredTokens / window)) * window)

/** A layer ready for its passes. */
export function startLayer(
  compute: Compute,
  src: Checkpoint,
  recipe: Recipe,
  index: number,
  loaded: LoadedLayer,
  hidden: HiddenStates | undefined,
): LayerState {
  const layer: Omit<LayerState, 'statistics'> = {
    compute,
    config: src.config,
    index,
    ...loaded,
    keys: { hadamard: false },
    kv: { bits: recipe.kv },
    formats: formatsOf((product) => productFormat(recipe, index, product)),
    ...(recipe.zeros && { zeros: recipe.zeros }),
    ratios: {},
    rounded: {},
    inputs: hidden?.states ?? nothing,
    ...(hidden?.floats && { floatInputs: hidden.floats }),
    window: hidden?.window ?? 1,
    cosSin: hidden?.cosSin ?? nothing,
  }
  const weighting = recipe.weighting ?? 'uniform'
  return Object.assign(layer, {
    statistics: hidden ? new LayerStatistics(layer, { pieceTokens, weighting }) : noStatistics(recipe),
  })
}

const nothing: Mat = { rows: 0, columns: 0, free() {} }

function noStatistics({ name }: Recipe): Statistics {
  const refuse = async (): Promise<never> => {
    throw new QuantizeError(`recipe ${name} looks at activations; give calibration text with --calibration`)
  }
  return {
    columns: refuse,
    gram: refuse,
    sample: refuse,
    prepare: refuse,
    quantized: refuse,
    invalidate() {},
  }
}

/** Runs the passes of a recipe on a layer. `onStep` is called before each. */
export async function runPasses(
  layer: LayerState,
  steps: readonly RecipeStep[],
  hidden: HiddenStates | undefined,
  options: { readonly seed: number; readonly onStep: (what: string) => void },
): Promise<LayerNotes> {
  const notes: StepNotes[] = []
  const measure = async (pass: string, x: Mat, chosen: StepNotes['chosen']): Promise<void> => {
    options.onStep('measuring')
    notes.push({ pass, ...(await measureLayer(layer, x)), chosen })
  }
  if (hidden?.original) await measure('original', hidden.original, [])
  for (const [i, step] of steps.entries()) {
    const { pass } = step
    options.onStep(pass.name)
    const chosen: [string, number | string][] = []
    await pass.layer?.(layer, step.options, {
      seed: passSeed(options.seed, i),
      record: (what, value) => chosen.push([what, value]),
    })
    // The states are those of changed embeddings, to which the layer does not fit before.
    const fits = !steps.slice(i + 1).some((later) => later.pass.embedding)
    if (hidden?.original && fits) {
      const rows = layer.compute.rowsOf(hidden.states, 0, hidden.original.rows)
      await measure(pass.name, rows, chosen)
    } else notes.push({ pass: pass.name, chosen })
  }
  const { formats, keys, kv, index } = layer
  return {
    layer: index,
    steps: notes,
    formats: { ...formats },
    keys: {
      ...{ mean: keys.mean !== undefined, hadamard: keys.hadamard },
      ...(kv.clip !== undefined && { clip: kv.clip }),
    },
  }
}

/** What a pass of a run draws its random numbers from. */
export const passSeed = (seed: number, step: number): number => (Math.imul(seed, 0x9e3779b1) + step) | 0

/** Takes the hidden states through a layer. Throws `QuantizeError` at the first that is not finite. */
export async function advance(
  hidden: HiddenStates,
  layer: LayerState,
  inputs: Recipe['inputs'] = 'quantized',
): Promise<void> {
  const exact = inputs === 'float'
  const next: ForwardLayer = exact ? layer : withRounded(layer)
  const options = exact ? {} : { fakeActivations: true, fakeKv: true }
  await forwardAll(hidden.states, next, options)
  if (hidden.floats) await forwardAll(hidden.floats, layer)
  const index = await layer.compute.firstNonFinite(hidden.states)
  if (index === undefined) return
  const token = Math.floor(index / hidden.states.columns)
  throw new QuantizeError(
    `layer ${layer.index} gives what is no finite number for calibration token ${token}, channel ` +
      `${index % hidden.states.columns}; the model cannot be run in this range, try another recipe or other text`,
  )
}

/** Hidden states through a layer in place, piece by piece. */
export async function forwardAll(
  states: Mat,
  layer: ForwardLayer,
  options: Parameters<typeof forwardLayer>[2] = {},
): Promise<void> {
  for (const { first, end } of pieces(states.rows, layer.window, pieceTokens))
    await forwardLayer(layer.compute.rowsOf(states, first, end), layer, options)
}
