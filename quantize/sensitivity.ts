import type { Checkpoint } from '../checkpoint/open.ts'
import type { Calibration } from './calibration.ts'
import type { Compute, Mat } from './compute/compute.ts'
import { loadHead } from './ends.ts'
import { type ForwardLayer, forwardLayer } from './forward.ts'
import { floatLayer, startHidden } from './hidden-states.ts'
import { type ProjectionName, type StackName, stacks } from './layer-state.ts'
import { freeLayer, loadLayer } from './load-layer.ts'
import type { QuantizedFormatName } from './round-to-nearest.ts'

/** What rounding one product of one layer to a format does to the logits of a model that is otherwise in floats. */
export interface Sensitivity {
  readonly layer: number
  readonly product: StackName
  readonly format: QuantizedFormatName
  /** Rows and columns of the stacked matrix. */
  readonly rows: number
  readonly columns: number
  /** The sum of squared differences of the logits, relative to the sum of their squares. */
  readonly error: number
}

/** Hidden states of the model with one product rounded. */
interface Branch extends Omit<Sensitivity, 'error'> {
  readonly states: Mat
}

/**
 * Rounds each product of a model alone, to the nearest weights of each format, and measures what becomes of the logits.
 * Layers are loaded once; the states of all branches, products × formats × windows of hidden states, are in memory at the
 * end, so a few windows are what is meant. Throws `QuantizeError` or `CheckpointError`.
 */
export async function measureSensitivities(
  compute: Compute,
  src: Checkpoint,
  calibration: Calibration,
  formats: readonly QuantizedFormatName[],
  onProgress: (layer: number, layers: number) => void = () => {},
): Promise<Sensitivity[]> {
  const exact = await startHidden(compute, src, [], calibration, { seed: 0, measure: false })
  const branches: Branch[] = []
  for (let index = 0; index < src.config.layers; index++) {
    onProgress(index, src.config.layers)
    const loaded = await loadLayer(compute, src, index)
    const layer = floatLayer(compute, src, index, loaded, exact)
    for (const { states } of branches) await forwardLayer(states, layer)
    for (const product of Object.keys(stacks) as StackName[])
      for (const format of formats) {
        const rounded = await roundProduct(layer, product, format)
        const states = compute.allocate(exact.states.rows, exact.states.columns)
        await compute.copy(states, exact.states)
        await forwardLayer(states, { ...layer, weights: { ...layer.weights, ...rounded } })
        const mats = Object.values(rounded)
        branches.push({
          ...{ layer: index, product, format, states },
          rows: mats.reduce((rows, mat) => rows + mat.rows, 0),
          columns: mats[0]!.columns,
        })
        for (const mat of mats) mat.free()
      }
    await forwardLayer(exact.states, layer)
    freeLayer(loaded)
  }
  const { norm, weight } = await loadHead(compute, src)
  const logitsOf = async (states: Mat): Promise<Mat> => {
    await compute.rmsNorm(states, states, norm, src.config.normEpsilon)
    const logits = compute.allocate(states.rows, weight.rows)
    await compute.multiply(logits, states, weight, { transposeB: true })
    states.free()
    return logits
  }
  const logits = await logitsOf(exact.states)
  const energy = await compute.dot(logits, logits)
  const found: Sensitivity[] = []
  for (const { states, ...branch } of branches) {
    const own = await logitsOf(states)
    await compute.add(own, logits, -1)
    found.push({ ...branch, error: (await compute.dot(own, own)) / energy })
    own.free()
  }
  for (const mat of [logits, norm, weight, exact.cosSin]) mat.free()
  return found
}

async function roundProduct(
  { compute, weights }: ForwardLayer,
  product: StackName,
  format: QuantizedFormatName,
): Promise<Partial<Record<ProjectionName, Mat>> & Record<string, Mat>> {
  const rounded: Record<string, Mat> = {}
  for (const name of stacks[product]) {
    const values = compute.allocate(weights[name].rows, weights[name].columns)
    const grid = await compute.fitGrid(weights[name], format)
    await compute.snap(values, weights[name], grid)
    grid.free()
    rounded[name] = values
  }
  return rounded
}
