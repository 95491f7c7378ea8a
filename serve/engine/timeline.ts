import type { StepLaunch } from '../../models/layer.ts'
import type { Device, Event } from '../../runtime/device.ts'

/** What a step was, and when it ran; milliseconds. */
export interface StepTimes {
  readonly kind: 'decode' | 'mixed' | 'prompts'
  readonly tokens: number
  /** Sequences that decoded. */
  readonly decoded: number
  /** Rows that the step ran with, empty ones included. */
  readonly rows: number
  /** From the end of the step before to the begin of its own first kernel, on the device: copies, or nothing at all. */
  readonly idle: number
  /** From its first kernel to its last, on the device. */
  readonly busy: number
  /** What the host took to enqueue it. */
  readonly enqueue: number
}

type StepShape = Pick<StepTimes, 'tokens' | 'decoded' | 'rows'>

/** A step that is being timed. */
export interface TimedStep {
  /** To be called before its first kernel is enqueued, and behind its last. */
  begin(): void
  end(): void
  /** To be called when the step has run. */
  finish(): void
}

/** Milliseconds by the name of a launch, summed over a step. */
export type LaunchTimes = ReadonlyMap<string, number>

/**
 * When steps run, by events on the device: how long each takes, and how long the device waits for the next. Steps in between
 * may be taken apart, launch by launch, which takes them longer.
 */
export class Timeline {
  readonly steps: StepTimes[] = []
  /** The steps that were taken apart. */
  readonly details: { readonly step: StepShape; readonly launches: LaunchTimes }[] = []
  readonly #device: Device
  readonly #every: number
  readonly #idle: Event[] = []
  /** The end of the step before. */
  #before: Event | undefined
  #count = 0

  /** Takes every `every`-th step apart; 0 takes none. */
  constructor(device: Device, every = 0) {
    this.#device = device
    this.#every = every
  }

  /** Whether the step that comes is to be run launch by launch, through `runApart`. */
  get takesApart(): boolean {
    return this.#every > 0 && this.#count % this.#every === this.#every - 1
  }

  step(shape: StepShape): TimedStep {
    const { tokens, decoded } = shape
    const [begin, end] = [this.#event(), this.#event()]
    const before = this.#before
    this.#before = end
    this.#count++
    const kind = decoded === tokens ? 'decode' : decoded > 0 ? 'mixed' : 'prompts'
    const started = performance.now()
    let enqueue = 0
    return {
      begin: () => begin.record(),
      end: () => {
        end.record()
        enqueue = performance.now() - started
      },
      finish: () => {
        const idle = before ? begin.elapsedSince(before) : 0
        this.steps.push({ kind, ...shape, idle, busy: end.elapsedSince(begin), enqueue })
        if (before) this.#idle.push(before)
        this.#idle.push(begin)
      },
    }
  }

  /** Runs launches with an event between every two; returns what is to be called when they have run. */
  runApart(shape: StepShape, launches: readonly StepLaunch[], run: (launch: StepLaunch) => void): () => void {
    const events = [this.#event()]
    events[0]!.record()
    for (const launch of launches) {
      run(launch)
      const event = this.#event()
      event.record()
      events.push(event)
    }
    return () => {
      const times = new Map<string, number>()
      for (const [i, { name }] of launches.entries())
        times.set(name, (times.get(name) ?? 0) + events[i + 1]!.elapsedSince(events[i]!))
      this.details.push({ step: shape, launches: times })
      this.#idle.push(...events)
    }
  }

  /** Forgets what was timed. */
  clear(): void {
    this.steps.length = 0
    this.details.length = 0
    this.#before = undefined
  }

  #event(): Event {
    return this.#idle.pop() ?? this.#device.createEvent()
  }
}
