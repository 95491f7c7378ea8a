import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Checkpoint } from '../checkpoint/open.ts'
import { copyCompanionFiles, weightsFileName } from '../checkpoint/quantized.ts'
import { layerProjections } from '../models/projections.ts'
import type { Calibration } from './calibration.ts'
import type { Compute } from './compute/compute.ts'
import { HostCompute } from './compute/host.ts'
import { checkApart } from './destination.ts'
import { embeddingPart, headPart, storedType } from './ends.ts'
import { QuantizeError } from './error.ts'
import { advanceOriginal, startHidden, storedHidden, storeHidden } from './hidden-states.ts'
import { advance, type LayerNotes, runPasses, startLayer } from './layer-run.ts'
import type { StackName } from './layer-state.ts'
import { freeLayer, layerPrefix, loadLayer } from './load-layer.ts'
import { checkWidth, layerTensors } from './quantized-tensors.ts'
import { productFormat, type Recipe, type RecipeStep, recipeSteps } from './recipe.ts'
import { RunState, removePartials, sha256, sourceFingerprint } from './resume.ts'
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
  /**
   * Hidden states are kept on disk when so much time has passed since the last; unless given 20 s, or ten times what
   * keeping the last ones took.
   */
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
  if (existsSync(path) && (recipe.weights === 'bf16' || !existsSync(stateFolder)))
    throw new QuantizeError(`${path} exists; remove it, or name another folder`)
  if (recipe.weights === 'bf16') return roundCheckpoint(dst, src, options)

  const { compute = new HostCompute(), seed = 0 } = options
  const state = RunState.open(stateFolder, describeRun(src, recipe, options))
  const run: Run = { ...options, compute, src, recipe, steps, state, seed }
  // A unit of work is a pass of a layer; taking the hidden states on is another.
  const total = src.config.layers * (steps.length + 1) + 2
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

    await quantizeLayers(run, progress)
    progress(total - 2, 'output head')
    if (!state.has('head')) await state.write('head', await headPart(compute, src, recipe, steps, seed))
    progress(total - 1, 'writing')
    copyCompanionFiles(dst, src.folder)
    removePartials(dst)
    const result = await writeResult(dst, src, recipe, state, options.producer)
    progress(total, 'done')
    state.discard()
    return result
  } catch (error) {
    // Before the first layer there is nothing to go on with.
    state.discardUnless(layerPart(0))
    throw error
  } finally {
    state.close()
  }
}

/** What the steps of a run share. */
interface Run extends QuantizeOptions {
  readonly compute: Compute
  readonly src: Checkpoint
  readonly recipe: Recipe
  readonly steps: readonly RecipeStep[]
  readonly state: RunState
  readonly seed: number
}

/** Quantizes the layers that are not finished, with those before them from which no hidden states are kept. */
async function quantizeLayers(run: Run, progress: (done: number, what: string) => void): Promise<void> {
  const { compute, src, recipe, steps, state, seed, calibration, measure = false } = run
  const { layers } = src.config
  const finished = countFinished(state, layers)
  if (finished === layers) return
  const kept = calibration && (await storedHidden(compute, src, state, calibration, finished))
  const floats = recipe.inputs === 'both'
  const hidden =
    kept?.hidden ??
    (calibration && (await startHidden(compute, src, steps, calibration, { seed, measure, floats })))
  let stored = performance.now()
  let patience = run.storeEverySeconds ?? 20
  for (let index = kept?.layer ?? (hidden ? 0 : finished); index < layers; index++) {
    const layer = startLayer(compute, src, recipe, index, await loadLayer(compute, src, index), hidden)
    let done = 0
    const onStep = (what: string): void => {
      const unit = index * (steps.length + 1) + Math.min(done, steps.length)
      progress(unit, `layer ${index + 1} of ${layers}, ${what}`)
      if (what !== 'measuring') done++
    }
    const notes = await runPasses(layer, steps, hidden, { seed, onStep })
    const tensors = await layerTensors(src, layer, storedType(recipe))
    const writePart = (): Promise<void> => state.write(layerPart(index), tensors(), notes)
    if (!hidden || index + 1 === layers) await writePart()
    else {
      onStep('forward')
      // A device has been told all of its work by the next turn of the event loop, and does it while codes are packed.
      await bothOf(advance(hidden, layer, recipe.inputs), nextTurn().then(writePart))
      if (hidden.original) await advanceOriginal(compute, src, index, hidden)
      const now = performance.now()
      if (now - stored > 1000 * patience) {
        await storeHidden(compute, state, index + 1, hidden)
        stored = performance.now()
        patience = run.storeEverySeconds ?? Math.max(20, (stored - now) / 100)
      }
    }
    freeLayer(layer)
  }
  if (hidden) for (const mat of [hidden.states, hidden.floats, hidden.original, hidden.cosSin]) mat?.free()
}

/** Waits until both have ended, well or not. */
async function bothOf(...promises: readonly [Promise<void>, Promise<void>]): Promise<void> {
  for (const result of await Promise.allSettled(promises))
    if (result.status === 'rejected') throw result.reason
}

function check(dst: string, src: Checkpoint, recipe: Recipe): void {
  if (src.format.weights.bits < 16 || src.foreign)
    throw new QuantizeError(
      `${src.folder} is quantized already, as ${src.foreign?.scheme ?? src.format.name}; start from the original model`,
    )
  checkApart(dst, src)
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
