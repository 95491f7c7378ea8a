import type { Device, Event, Graph, Stream } from '../device.ts'

/** Launches in a graph, to be timed as one. */
export interface Replay {
  readonly graph: Graph
  readonly launches: number
}

/** A replay lasts so long that what it costs besides its launches, a few µs, does not show. */
const wantedMicroseconds = 200
/** A replay that is to see the whole rotation may last so long. */
const longestMicroseconds = 2500
const mostLaunches = 300

/** Launches of a replay: as many as take a while and read the whole rotation, unless that would take too long. */
export function replayLaunches(microseconds: number, rotation: number): number {
  const wanted = Math.max(Math.ceil(wantedMicroseconds / microseconds), rotation)
  const most = Math.max(1, Math.min(mostLaunches, Math.floor(longestMicroseconds / microseconds)))
  return Math.min(wanted, most)
}

/** Records `count` launches; `run` enqueues launch number i. */
export const recordReplay = (
  device: Device,
  count: number,
  run: (i: number, stream: Stream) => void,
): Replay => ({
  graph: device.capture((stream) => {
    for (let i = 0; i < count; i++) run(i, stream)
  }),
  launches: count,
})

/** Times replays by events on the device. Keeps its events from call to call. */
export class ReplayTimer {
  readonly #device: Device
  readonly #events: Event[] = []

  constructor(device: Device) {
    this.#device = device
  }

  /** Runs each replay once, one after the other: microseconds of a launch. Nothing of the host is in between. */
  async time(replays: readonly Replay[]): Promise<number[]> {
    while (this.#events.length <= replays.length) this.#events.push(this.#device.createEvent())
    this.#events[0]!.record()
    replays.forEach(({ graph }, i) => {
      graph.launch()
      this.#events[i + 1]!.record()
    })
    await this.#device.synchronize()
    return replays.map(
      ({ launches }, i) => (1000 * this.#events[i + 1]!.elapsedSince(this.#events[i]!)) / launches,
    )
  }

  free(): void {
    for (const event of this.#events.splice(0)) event.destroy()
  }
}
