import { advanceDecode } from '../kernels/advance-decode.ts'
import type { Device, Graph, Stream } from '../runtime/device.ts'
import { type Launch, prepare } from '../runtime/kernel.ts'
import type { Tensor } from '../runtime/tensor.ts'
import { runStepLaunch, type StepLaunch } from './layer.ts'
import type { Model } from './model.ts'
import { decodeStep, type StepInput } from './step.ts'

/** How a decode step chooses its tokens. */
export interface DecodeSampling {
  /** What runs behind the logits of so many rows. */
  launches(rows: number): readonly StepLaunch[] | Promise<readonly StepLaunch[]>
  /** i32 [rows]: the chosen ids. */
  readonly ids: Tensor
}

/**
 * A decode step of a fixed number of rows as one graph, from the ids to the chosen ids, which it leaves as the ids of the
 * next step, one position further: `launch` again is the next step, without the host.
 *
 * Rows without a sequence have a negative slot. Pages of positions to come have to be in the page table before.
 */
export class DecodeGraph {
  readonly rows: number
  readonly #model: Model
  readonly #graph: Graph
  readonly #launches: readonly StepLaunch[]

  private constructor(model: Model, rows: number, graph: Graph, launches: readonly StepLaunch[]) {
    this.#model = model
    this.rows = rows
    this.#graph = graph
    this.#launches = launches
  }

  /** Prepares the kernels for `rows` rows and records them. */
  static async capture(model: Model, rows: number, sampling: DecodeSampling): Promise<DecodeGraph> {
    const { device, activations } = model
    const { ids, positions, context, slots, pages } = activations
    const advance = (await prepare(
      device,
      advanceDecode,
      {},
      {
        chosen: sampling.ids.slice(0, rows),
        pages: pages.slice(0, rows),
        ids: ids.slice(0, rows),
        positions: positions.slice(0, rows),
        context: context.slice(0, rows),
        slots: slots.slice(0, rows),
      },
    )) as Launch
    const launches = [
      ...(await model.launches(rows, rows, decodeStep)),
      ...(await sampling.launches(rows)),
      { name: 'advance', launch: advance, size: { B: rows } },
    ]
    return new DecodeGraph(model, rows, captureLaunches(device, launches), launches)
  }

  /**
   * Enqueues the copies of what the first step reads: a decode step of as many tokens as there are rows, none of a prompt.
   * Throws `RangeError` for others.
   */
  start(input: StepInput, stream?: Stream): void {
    if (input.ids.length !== this.rows || input.logitRows.length !== this.rows)
      throw new RangeError(
        `the graph is of ${this.rows} rows and the step of ${input.ids.length} tokens and ` +
          `${input.logitRows.length} rows of logits: give each row one token, and empty ones a slot of -1`,
      )
    if (input.prompts.includes(1))
      throw new RangeError(
        'the graph is of decode steps and the step has tokens of a prompt: run it as a step',
      )
    this.#model.upload(input, stream)
  }

  /** Enqueues one step. */
  launch(stream?: Stream): void {
    this.#graph.launch(stream)
  }

  /** What the graph has recorded, in order. */
  get launches(): readonly StepLaunch[] {
    return this.#launches
  }

  destroy(): void {
    this.#graph.destroy()
  }
}

/** Records launches of a step in order. */
export const captureLaunches = (device: Device, launches: readonly StepLaunch[]): Graph =>
  device.capture((stream) => {
    for (const launch of launches) runStepLaunch(launch, stream)
  })
