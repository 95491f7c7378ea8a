import type { Checkpoint } from '../checkpoint/open.ts'
import type { HostTensor } from '../checkpoint/tensor.ts'
import { ropeTable } from '../models/rope.ts'
import { bytesOf } from '../runtime/bytes.ts'
import type { Calibration } from './calibration.ts'
import type { Compute, Mat } from './compute/compute.ts'
import { embeddingName, loadEmbedding } from './ends.ts'
import { QuantizeError } from './error.ts'
import type { ForwardLayer } from './forward.ts'
import { forwardAll, type HiddenStates, measuredRows } from './layer-run.ts'
import { formatsOf, freeLayer, loadLayer, loadMat } from './load-layer.ts'
import type { RecipeStep } from './recipe.ts'
import type { RunState } from './resume.ts'

/** Cosines and sines of the positions of a window, [window, rotated columns]. */
export const windowAngles = (compute: Compute, { config }: Checkpoint, window: number): Mat =>
  compute.from(ropeTable(config, window), window, config.rope.columns)

/** The calibration tokens' embeddings, behind the passes that change those. Throws `QuantizeError` for unknown tokens. */
export async function startHidden(
  compute: Compute,
  src: Checkpoint,
  steps: readonly RecipeStep[],
  { ids, window }: Calibration,
  options: { readonly seed: number; readonly measure: boolean; readonly floats?: boolean },
): Promise<HiddenStates> {
  const { hiddenSize, vocabSize } = src.config
  const unknown = ids.find((id) => id < 0 || id >= vocabSize)
  if (unknown !== undefined)
    throw new QuantizeError(
      `the calibration text has token ${unknown} and the model ${vocabSize} of them; the tokenizer is another model's`,
    )
  const embedded = async (table: Mat, chosen: Int32Array): Promise<Mat> => {
    const states = compute.allocate(chosen.length, hiddenSize)
    await compute.embed(states, table, chosen)
    table.free()
    return states
  }
  const states = await embedded(await loadEmbedding(compute, src, steps, options.seed), ids)
  const cosSin = windowAngles(compute, src, window)
  const floats = options.floats ? compute.allocate(states.rows, states.columns) : undefined
  if (floats) await compute.copy(floats, states)
  const hidden = { states, window, cosSin, ...(floats && { floats }) }
  if (!options.measure) return hidden
  const table = await loadMat(compute, src, embeddingName, [vocabSize, hiddenSize])
  const original = await embedded(table, ids.slice(0, measuredRows(ids.length, window)))
  return { ...hidden, original }
}

/** Takes what the original model makes of the first windows through one of its layers. */
export async function advanceOriginal(
  compute: Compute,
  src: Checkpoint,
  index: number,
  { original, window, cosSin }: HiddenStates,
): Promise<void> {
  const loaded = await loadLayer(compute, src, index)
  await forwardAll(original!, floatLayer(compute, src, index, loaded, { window, cosSin }))
  freeLayer(loaded)
}

/** A layer of a model in floats. */
export const floatLayer = (
  compute: Compute,
  { config }: Checkpoint,
  index: number,
  loaded: Pick<ForwardLayer, 'weights' | 'biases' | 'norms'>,
  { window, cosSin }: Pick<ForwardLayer, 'window' | 'cosSin'>,
): ForwardLayer => ({
  ...{ compute, config, index, window, cosSin, ...loaded },
  keys: { hadamard: false },
  kv: { bits: 16 },
  formats: formatsOf(() => 'w16'),
})

const part = (layer: number): string => `hidden-${layer}`

/** Keeps the hidden states in front of a layer, and no older ones. */
export async function storeHidden(
  compute: Compute,
  state: RunState,
  layer: number,
  { states, floats, original }: HiddenStates,
): Promise<void> {
  const tensors: HostTensor[] = []
  for (const [name, mat] of [
    ['states', states],
    ['floats', floats],
    ['original', original],
  ] as const)
    if (mat) {
      const read = await compute.read(mat)
      const bytes = bytesOf(read instanceof Float32Array ? read : Float32Array.from(read))
      tensors.push({ name, dtype: 'f32', shape: [mat.rows, mat.columns], bytes })
    }
  await state.write(part(layer), tensors)
  for (let older = layer - 1; older >= 0; older--) state.remove(part(older))
}

/** The latest hidden states that were kept, in front of a layer up to `last`. */
export async function storedHidden(
  compute: Compute,
  src: Checkpoint,
  state: RunState,
  { window }: Calibration,
  last: number,
): Promise<{ readonly layer: number; readonly hidden: HiddenStates } | undefined> {
  for (let layer = last; layer > 0; layer--) {
    if (!state.has(part(layer))) continue
    const mats: Partial<Record<'states' | 'floats' | 'original', Mat>> = {}
    for (const tensor of state.read(part(layer)))
      mats[tensor.name as keyof typeof mats] = await compute.load(tensor)
    const cosSin = windowAngles(compute, src, window)
    return { layer, hidden: { ...mats, states: mats.states!, window, cosSin } }
  }
  return undefined
}
