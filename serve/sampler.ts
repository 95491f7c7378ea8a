import type { DType } from '../dsl/dtype.ts'
import { bitWordsOf, groupsOf, type LogitType } from '../kernels/sampling/groups.ts'
import {
  BIASED,
  historyWordsOf,
  IN_PROMPT,
  MOST_OCCURRENCES,
  OCCURRENCE,
} from '../kernels/sampling/history.ts'
import { openSlot } from '../kernels/sampling/open-slot.ts'
import { reportLogProbs } from '../kernels/sampling/report.ts'
import { sampleTokens } from '../kernels/sampling/sample.ts'
import { encodeSettings, hasPenalties, SETTINGS_WORDS } from '../kernels/sampling/settings.ts'
import type { Device, Stream } from '../runtime/device.ts'
import { type Launch, prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import { checkSampling, MOST_TOP_LOG_PROBS, type Sampling, SamplingError } from './sampling.ts'

/** Logits of a row that are looked at closely. */
const CANDIDATES = 2048
/** Steps of a bias that never ends. */
const ALWAYS = 2 ** 31 - 1

/** What a slot is told of the request that it serves. */
export interface SlotRequest {
  readonly sampling: Sampling
  readonly prompt: readonly number[]
  /** Tokens drawn so far, where a request is taken up again. */
  readonly output?: readonly number[]
  /** Tokens that end the request: not drawn before `sampling.minTokens`. */
  readonly endIds?: readonly number[]
}

/** Log-probabilities of a step; rows of slots that did not ask hold what was there before. */
export interface LogProbTensors {
  /** f32 [rows]: of the chosen tokens. */
  readonly chosen: Tensor
  /** i32 and f32 [rows, 20]: the most likely tokens, falling; id −1 where there are no more. */
  readonly topIds: Tensor
  readonly top: Tensor
}

/** One launch of a step: what it is called, and the rows that it is resized to. */
export interface SamplingLaunch {
  readonly name: string
  readonly launch: Launch
  readonly size: { readonly B: number }
}

export interface SamplerOptions {
  /** Requests that run at a time. */
  readonly slots: number
  /** Entries of a slot's list of biases (default: 512); end tokens that are held back take one each. */
  readonly biases?: number
}

/** What a slot's record says. */
interface SlotState {
  readonly sampling: Sampling
  readonly biases: number
  readonly masked: boolean
}

/** How long a row takes beside others: wide nuclei need their candidates searched, or all of the row once more. */
function costOf(slot: SlotState | undefined): number {
  if (!slot) return 0
  const { temperature, topK, topP, minP } = slot.sampling
  const isChanged = slot.biases > 0 || slot.masked || hasPenalties(slot.sampling)
  return (isChanged ? 1 : 0) + (temperature === 0 ? 0 : topK > 0 ? 2 : topP < 1 ? 4 : minP > 0 ? 1 : 2)
}

/** What the device knows of the slots, and what the kernels hand on to each other. */
type State = Readonly<Record<keyof ReturnType<typeof stateShapes>, Tensor>>

function stateShapes(rows: number, V: number, slots: number, biases: number) {
  const words = bitWordsOf(V)
  const groups = groupsOf(V)
  const halves = historyWordsOf(V)
  const f32 = (...shape: number[]) => ['f32', shape] as const
  const i32 = (...shape: number[]) => ['i32', shape] as const
  const u32 = (...shape: number[]) => ['u32', shape] as const
  return {
    settings: u32(slots, SETTINGS_WORDS),
    steps: i32(slots),
    touched: u32(slots, words),
    history: u32(slots, halves),
    allowed: u32(slots, words),
    biasIds: i32(slots, biases),
    biases: f32(slots, biases),
    biasSteps: i32(slots, biases),
    lastIds: i32(slots),
    slots: i32(rows),
    ids: i32(rows),
    largest: f32(rows, groups),
    sums: f32(rows, groups),
    plainSums: f32(rows, groups),
    arrivals: i32(rows),
    places: i32(rows, 2),
    chosen: f32(rows),
    topIds: i32(rows, MOST_TOP_LOG_PROBS),
    top: f32(rows, MOST_TOP_LOG_PROBS),
    marked: i32(V),
    marks: u32(V),
  }
}

/**
 * Chooses tokens from rows of logits, each row by the settings of the slot that it belongs to. What a slot's settings are,
 * how far it is and which tokens it has had stay on the device: a step uploads nothing but which row belongs to which slot,
 * and that only when it changes. The launches of a step may stand in a graph.
 *
 * The logits are changed in place by penalties, biases and bitmasks.
 */
export class Sampler {
  readonly #state: State
  readonly #sample: Launch
  readonly #report: Launch
  readonly #open: Launch
  readonly #vocabulary: number
  /** Of the slots that are open: what their records say. */
  readonly #records: (SlotState | undefined)[]
  #assigned = new Int32Array(0)
  /** Whether rows are in the order of what their slots ask for now. */
  #isOrdered = false

  private constructor(state: State, launches: readonly [sample: Launch, report: Launch, open: Launch]) {
    this.#state = state
    ;[this.#sample, this.#report, this.#open] = launches
    this.#vocabulary = state.marked.length
    this.#records = Array(state.steps.length).fill(undefined)
  }

  /** For logits [rows, vocabulary], f32 or f16. */
  static async create(
    device: Device,
    logits: Tensor,
    { slots, biases = 512 }: SamplerOptions,
  ): Promise<Sampler> {
    const [rows, V] = logits.shape as [number, number]
    const state = Object.fromEntries(
      Object.entries(stateShapes(rows, V, slots, biases)).map(([name, [dtype, shape]]) => [
        name,
        Tensor.allocate(device, dtype as DType, shape),
      ]),
    ) as unknown as State
    // Slots that were never opened, and log-probabilities that nobody asked for, read as zeros.
    for (const tensor of Object.values(state)) tensor.fill(0)
    state.places.write(Int32Array.from({ length: 2 * rows }, (_, i) => (i % 2 === 0 ? i / 2 : -1)))
    const pick = <K extends keyof State>(...names: K[]) =>
      Object.fromEntries(names.map((name) => [name, state[name]])) as Pick<State, K>
    const shared = pick('settings', 'largest')
    const dtype = logits.dtype as LogitType
    const config = { V, dtype, candidates: CANDIDATES }
    const launches = await Promise.all([
      prepare(device, sampleTokens, config, {
        logits,
        ...shared,
        ...pick('steps', 'touched', 'history', 'allowed', 'biasIds', 'biases', 'biasSteps'),
        ...pick('sums', 'plainSums', 'arrivals', 'places', 'lastIds', 'ids'),
      }),
      prepare(
        device,
        reportLogProbs,
        { ...config, most: MOST_TOP_LOG_PROBS },
        { logits, ...shared, ...pick('slots', 'plainSums', 'ids', 'chosen', 'topIds', 'top') },
      ),
      prepare(
        device,
        openSlot,
        { V },
        {
          slot: 0,
          ids: state.marked,
          marks: state.marks,
          ...pick('touched', 'history'),
        },
      ),
    ])
    return new Sampler(state, launches as never)
  }

  /** i32 [rows]: the tokens drawn last, row by row. Stays on the device; the next step may read it. */
  get ids(): Tensor {
    return this.#state.ids
  }

  /** i32 [slots]: the token that each slot drew last. */
  get lastIds(): Tensor {
    return this.#state.lastIds
  }

  get logProbs(): LogProbTensors {
    return this.#state
  }

  /** Bytes of device memory for its state. */
  get bytes(): number {
    return Object.values(this.#state).reduce((sum, tensor) => sum + tensor.bytes, 0)
  }

  /** Gives a slot to a request. Throws `SamplingError` when its settings make no sense. */
  open(slot: number, request: SlotRequest, stream?: Stream): void {
    const { sampling, prompt, output = [], endIds = [] } = request
    checkSampling(sampling, this.#vocabulary)
    const held = (sampling.minTokens ?? 0) > output.length ? endIds : []
    const biases = [
      ...[...(sampling.logitBias ?? [])].map(([id, value]) => ({ id, value, until: ALWAYS })),
      ...held.map((id) => ({ id, value: Number.NEGATIVE_INFINITY, until: sampling.minTokens! })),
    ].sort((one, other) => one.id - other.id)
    const state = this.#state
    const [, room] = state.biasIds.shape as [number, number]
    if (biases.length > room)
      throw new SamplingError(
        `the request biases ${biases.length} tokens and there is room for ${room}; bias fewer`,
      )
    const marks = new Map<number, number>()
    const mark = (id: number, change: (old: number) => number) => marks.set(id, change(marks.get(id) ?? 0))
    if (hasPenalties(sampling)) {
      // A mark of nothing, for a prompt of nothing.
      marks.set(0, 0)
      for (const id of prompt) mark(id, (old) => old | IN_PROMPT)
      for (const id of output) mark(id, (old) => old + (old >> 1 < MOST_OCCURRENCES ? OCCURRENCE : 0))
    }
    for (const { id } of biases) mark(id, (old) => old | BIASED)
    if (marks.size > 0) {
      const ids = state.marked.slice(0, marks.size)
      const values = state.marks.slice(0, marks.size)
      ids.write(Int32Array.from(marks.keys()), stream)
      values.write(Uint32Array.from(marks.values()), stream)
      ;(this.#open as Launch<{ slot: number; ids: never; marks: never }>).set({
        slot,
        ids,
        marks: values,
      } as never)
      this.#open.run(stream)
    }
    if (biases.length > 0) {
      const column = <T>(of: (bias: (typeof biases)[number]) => T) => biases.map(of)
      const row = (tensor: Tensor) => tensor.at(slot).slice(0, biases.length)
      row(state.biasIds).write(Int32Array.from(column(({ id }) => id)), stream)
      row(state.biases).write(Float32Array.from(column(({ value }) => value)), stream)
      row(state.biasSteps).write(Int32Array.from(column(({ until }) => until)), stream)
    }
    state.steps.slice(slot, slot + 1).write(Int32Array.of(output.length), stream)
    this.#records[slot] = { sampling, biases: biases.length, masked: false }
    this.#writeRecord(slot, stream)
  }

  /** Says which tokens a slot may draw from now on: a bit for each token, the lowest first; nothing: all. */
  allow(slot: number, bits: Uint32Array | undefined, stream?: Stream): void {
    const record = this.#records[slot]
    if (!record) throw new SamplingError(`slot ${slot} is not open; open it for a request first`)
    if (bits) {
      const words = Math.ceil(this.#vocabulary / 32)
      if (bits.length !== words)
        throw new SamplingError(`the bitmask has ${bits.length} words, and the vocabulary takes ${words}`)
      this.#state.allowed.at(slot).slice(0, words).write(bits, stream)
    }
    if (record.masked === (bits !== undefined)) return
    this.#records[slot] = { ...record, masked: bits !== undefined }
    this.#writeRecord(slot, stream)
  }

  /** Says which slot each row of logits belongs to: −1 for rows of padding, of which nothing is drawn. */
  assign(slots: ArrayLike<number>, stream?: Stream): void {
    const same =
      slots.length === this.#assigned.length && this.#assigned.every((slot, i) => slot === slots[i])
    if (same && this.#isOrdered) return
    this.#assigned = Int32Array.from(slots)
    this.#isOrdered = true
    this.#state.slots.slice(0, slots.length).write(this.#assigned, stream)
    const costs = Array.from(this.#assigned, (slot) => costOf(this.#records[slot]))
    const order = [...costs.keys()].sort((one, other) => costs[other]! - costs[one]!)
    const places = Int32Array.from(order.flatMap((row) => [row, this.#assigned[row]!]))
    this.#state.places.slice(0, slots.length).write(places, stream)
  }

  /** Whether some row that is assigned belongs to a slot that wants log-probabilities. */
  get reports(): boolean {
    return this.#assigned.some((slot) => this.#records[slot]?.sampling.topLogProbs !== undefined)
  }

  /** What chooses a token for each of the first `rows` rows, and reports on it. */
  launches(rows: number, reports = this.reports): SamplingLaunch[] {
    const size = { B: rows }
    return [
      { name: 'sample', launch: this.#sample, size },
      ...(reports ? [{ name: 'report', launch: this.#report, size }] : []),
    ]
  }

  /** Enqueues `launches`. */
  run(rows: number, stream?: Stream, reports = this.reports): void {
    for (const { launch, size } of this.launches(rows, reports)) {
      if (launch.dims.B !== rows) launch.resize(size)
      launch.run(stream)
    }
  }

  /** `assign`, `run`, and the ids read back. */
  async choose(slots: ArrayLike<number>, stream?: Stream): Promise<Int32Array> {
    this.assign(slots, stream)
    this.run(slots.length, stream)
    return (await this.ids.slice(0, slots.length).read(stream)) as Int32Array
  }

  free(): void {
    for (const tensor of Object.values(this.#state)) tensor.free()
  }

  #writeRecord(slot: number, stream?: Stream): void {
    this.#isOrdered = false
    const { sampling, biases, masked } = this.#records[slot]!
    const topLogProbs = sampling.topLogProbs ?? -1
    this.#state.settings.at(slot).write(encodeSettings(sampling, { biases, masked, topLogProbs }), stream)
  }
}
