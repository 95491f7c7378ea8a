import { captureLaunches } from '../../models/decode-graph.ts'
import type { Model } from '../../models/model.ts'
import { decodeStep, type StepInput } from '../../models/step.ts'
import type { Graph } from '../../runtime/device.ts'
import type { Sampler } from '../sampler.ts'

/** A decode step of a number of rows, from uploaded inputs to sampled ids, in one launch. */
export interface CapturedStep {
  readonly rows: number
  readonly graph: Graph
}

/** Numbers of rows that are captured: few enough to capture at start, close enough to leave few rows empty. */
export function graphSizes(most: number): number[] {
  const sizes = [1, 2, 4, 8]
  for (let size = 16; size <= most; size += size < 64 ? 8 : 16) sizes.push(size)
  return [...new Set([...sizes.filter((size) => size < most), most])]
}

/** Graphs of decode steps, captured when they are first wanted. */
export class DecodeGraphs {
  readonly #model: Model
  readonly #sampler: Sampler
  /** Numbers of rows that steps have. */
  readonly sizes: readonly number[]
  readonly #steps = new Map<number, CapturedStep>()

  constructor(model: Model, sampler: Sampler) {
    this.#model = model
    this.#sampler = sampler
    this.sizes = graphSizes(model.limits.sequences)
  }

  /** The smallest step that has so many rows. */
  async stepFor(rows: number): Promise<CapturedStep> {
    const size = this.sizes.find((candidate) => candidate >= rows)!
    let step = this.#steps.get(size)
    if (step === undefined) {
      const launches = [
        ...(await this.#model.launches(size, size, decodeStep)),
        ...this.#sampler.launches(size, false),
      ]
      step = { rows: size, graph: captureLaunches(this.#model.device, launches) }
      this.#steps.set(size, step)
    }
    return step
  }

  /** Captures all of them, the largest first. */
  async captureAll(onCaptured: () => void): Promise<void> {
    for (const size of this.sizes.toReversed()) {
      await this.stepFor(size)
      onCaptured()
    }
  }

  destroy(): void {
    for (const { graph } of this.#steps.values()) graph.destroy()
  }
}

/** A decode step with empty rows up to `rows`: they have no sequence, and nothing is kept of them. */
export function padDecodeStep(input: StepInput, rows: number, pagesPerSequence: number): StepInput {
  const count = input.ids.length
  const padded = (values: Int32Array, length: number, filler: number) => {
    const longer = new Int32Array(length).fill(filler)
    longer.set(values)
    return longer
  }
  return {
    ids: padded(input.ids, rows, 0),
    positions: padded(input.positions, rows, 0),
    slots: padded(input.slots, rows, -1),
    queryStart: padded(input.queryStart, rows + 1, count),
    context: padded(input.context, rows, 0),
    prompts: padded(input.prompts, rows, 0),
    pages: padded(input.pages, rows * pagesPerSequence, 0),
    logitRows: Int32Array.from({ length: rows }, (_, row) => row),
  }
}
