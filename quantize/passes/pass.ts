import { z } from 'zod'
import type { EmbeddingState, HeadState, LayerState } from '../layer-state.ts'

/** What a pass learns of the run it is part of. */
export interface PassRun {
  /** For random numbers: the same for all hooks of this pass in a run, and another one for the next pass. */
  readonly seed: number
  /** Notes what was chosen, for the report: strengths, counts, ratios. */
  record(what: string, value: number | string): void
}

/**
 * A step of a recipe. One that transforms leaves the model's function as it is, in floats; one that rounds fills `rounded`
 * of the layer. Hooks are called in the order embedding, layers, head, each for all passes of the recipe in turn; a hook
 * that throws `QuantizeError` stops the run.
 */
export interface Pass<Options = unknown> {
  /** What recipes call it. */
  readonly name: string
  /** One sentence. */
  readonly about: string
  /** What a recipe may set; defaults included. */
  readonly options: z.ZodType<Options>
  embedding?(embedding: EmbeddingState, options: Options, run: PassRun): Promise<void>
  layer?(layer: LayerState, options: Options, run: PassRun): Promise<void>
  head?(head: HeadState, options: Options, run: PassRun): Promise<void>
}

/** A pass with the types of its options inferred. */
export const definePass = <Options>(pass: Pass<Options>): Pass<Options> => pass

/** The options of a pass that has none. */
export const noOptions = z.strictObject({})
