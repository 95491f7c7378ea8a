import { existsSync, realpathSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Checkpoint } from '../checkpoint/open.ts'
import { copyCompanionFiles, weightsFileName } from '../checkpoint/quantized.ts'
import { layerProjections } from '../models/projections.ts'
import type { Calibration } from './calibration.ts'
import type { Compute } from './compute/compute.ts'
import { HostCompute } from './compute/host.ts'
import { embeddingPart, headPart, storedType } from './ends.ts'
import { QuantizeError } from './error.ts'
import { advanceOriginal, startHidden, storedHidden, storeHidden } from './hidden-states.ts'
import { advance, type LayerNotes, runPasses, startLayer } from './layer-run.ts'
import type { StackName } from './layer-state.ts'
import { freeLayer, layerPrefix, loadLayer } from './load-layer.ts'
import { checkWidth, layerTensors } from './quantized-tensors.ts'
import { productFormat, type Recipe, recipeSteps } from './recipe.ts'
import { RunState, sha256, sourceFingerprint } from './resume.ts'
import { roundCheckpoint } from './round-checkpoint.ts'
import { finishedResult, layerPart, writeResult } from './write-result.ts'

export interface QuantizeOptions {
  /** The program's name and version, for the metadata. */
  readonly producer: string
  /** Where matrices are; on the host unless given. */
  readonly compute?: Compute
  /** Text to calibrate on, which recipes that look at activations need. */
  readonly calibration?: Calibration
  /** What random numbers follow from; 0 unless given. */
  readonly seed?: number
  /** Measure errors before and after each pass, for a report. Needs calibration. */
  readonly measure?: boolean
  /** Hidden states are kept on disk when so much time has passed since the last; 20 s unless given. */
  readonly storeEverySeconds?: number
  /** Called with the work done so far and in all, and what comes next. */
  readonly onProgress?: (done: number, total: number, what: string) => void
}

/** What a run tells of itself. */
export interface QuantizeResult {
  readonly bytes: number
  readonly layers: readonly LayerNotes[]
}

/**
 * Quantizes a floating-point checkpoint into a folder, layer by layer: projections as codes in the order that the kernels
 * read, norms and embeddings as passes leave them, configuration and tokenizer copied. One layer's weights are in memory
 * at a time. What is finished is kept in `DST.quantizing`, from where the same run goes on after it was stopped, with
 * the same result; the folder goes when the weights file is complete. Throws `QuantizeError` or `CheckpointError`.
 */
export async function quantizeCheckpoint(
  dst: string,
  src: Checkpoint,
  recipe: Recipe,
  options: QuantizeOptions,
): Promise<QuantizeResult> {
  const steps = recipeSteps(recipe)
  const path = join(dst, weightsFileName)
  const stateFolder = `${resolve(dst)}.quantizing`
  check(dst, src, recipe)
  // With its state still there, the file is that of a run that was stopped when only cleaning up was left.
  if (existsSync(path) && !existsSync(stateFolder))
    throw new QuantizeError(`${path} exists; remove it, or name another folder`)
  if (recipe.weights === 'bf16') return roundCheckpoint(dst, src, options)

  const { compute = new HostCompute(), calibration, seed = 0, measure = false } = options
  const state = RunState.open(stateFolder, describeRun(src, recipe, options))
  const { layers } = src.config
  // A unit of work is a pass of a layer; taking the hidden states on is another.
  const total = layers * (steps.length + 1) + 2
  const progress = (done: number, what: string): void => options.onProgress?.(done, total, what)
  try {
    if (existsSync(path)) {
      const result = finishedResult(dst, src, state)
      state.discard()
      return result
    }
    progress(0, 'embeddings')
    if (!state.has('embedding'))
      await state.write('embedding', await embeddingPart(compute, src, recipe, steps, seed))

    const finished = countFinished(state, layers)
    if (finished < layers) {
      const hidden = calibration && (await storedHidden(compute, src, state, calibration, finished))
      const first = hidden ? hidden.layer : calibration ? 0 : finished
      let states = hidden?.hidden
      if (calibration && !states)
        states = await startHidden(compute, src, steps, calibration, {
          seed,
          measure,
          floats: recipe.inputs === 'both',
        })
      let stored = performance.now()
      for (let index = first; index < layers; index++) {
        const unit = index * (steps.length + 1)
        let done = 0
        const layer = startLayer(compute, src, recipe, index, await loadLayer(compute, src, index), states)
        const onStep = (what: string): void => {
          progress(unit + Math.min(done, steps.length), `layer ${index + 1} of ${layers}, ${what}`)
          if (what !== 'measuring') done++
        }
        const notes = await runPasses(layer, steps, states, { seed, onStep })
        await state.write(layerPart(index), await layerTensors(src, layer, storedType(recipe)), notes)
        if (states && index + 1 < layers) {
          onStep('forward')
          await advance(states, layer, recipe.inputs)
          if (states.original) await advanceOriginal(compute, src, index, states)
          if (performance.now() - stored > 1000 * (options.storeEverySeconds ?? 20)) {
            await storeHidden(compute, state, index + 1, states)
            stored = performance.now()
          }
        }
        freeLayer(layer)
      }
      for (const mat of states ? [states.states, states.floats, states.original, states.cosSin] : [])
        mat?.free()
    }
    progress(total - 2, 'output head')
    if (!state.has('head')) await state.write('head', await headPart(compute, src, recipe, steps, seed))
    progress(total - 1, 'writing')
    copyCompanionFiles(dst, src.folder)
    const result = await writeResult(dst, src, recipe, state, options.producer)
    progress(total, 'done')
    state.discard()
    return result
  } catch (error) {
    // Before the first layer there is nothing to go on with.
    state.discardUnless(layerPart(0))
    throw error
  }
}

function check(dst: string, src: Checkpoint, recipe: Recipe): void {
  if (src.format.weights.bits < 16)
    throw new QuantizeError(
      `${src.folder} is quantized already, as ${src.format.name}; start from the original model`,
    )
  if (existsSync(dst) && realpathSync(dst) === realpathSync(src.folder))
    throw new QuantizeError(`${dst} is the model itself; name another folder for the result`)
  if (recipe.weights === 'bf16') return
  for (let index = 0; index < src.config.layers; index++)
    for (const [product, projection] of Object.entries(layerProjections(src.config))) {
      const format = productFormat(recipe, index, product as StackName)
      if (format !== 'w16') checkWidth(layerPrefix(index), projection, format)
    }
}

/** Layers from the first on whose part is complete. */
function countFinished(state: RunState, layers: number): number {
  let count = 0
  while (count < layers && state.has(layerPart(count))) count++
  return count
}

/** Everything that the result follows from. */
const describeRun = (src: Checkpoint, recipe: Recipe, options: QuantizeOptions): string =>
  JSON.stringify({
    producer: options.producer,
    source: sourceFingerprint(src),
    recipe: { ...recipe, passes: recipe.passes.map((step) => ({ ...step, pass: nameOf(step.pass) })) },
    seed: options.seed ?? 0,
    compute: options.compute?.name ?? 'host',
    measure: options.measure ?? false,
    calibration: options.calibration && {
      window: options.calibration.window,
      ids: sha256(new Uint8Array(options.calibration.ids.buffer)),
    },
  })

const nameOf = (pass: Recipe['passes'][number]['pass']): string =>
  typeof pass === 'string' ? pass : pass.name
