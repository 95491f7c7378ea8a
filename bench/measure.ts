import type { Device, Stream } from '../runtime/device.ts'
import { median } from '../runtime/tune/statistics.ts'

/** Something that enqueues one launch, as `Launch` does. */
export interface Runnable {
  run(stream?: Stream): void
}

/** How long to measure. */
export interface Patience {
  readonly replays: number
  /** So long that what a replay costs besides its launches, a few µs, does not show. */
  readonly leastMicroseconds: number
  /** So short that a slow kernel does not hold up the rest, though it may not see all of the rotation. */
  readonly mostMicroseconds: number
  /** Rest between the launches that say how long one takes and those that are timed. */
  readonly pauseMs?: number
}

const defaultPatience: Patience = { replays: 9, leastMicroseconds: 2000, mostMicroseconds: 20_000 }
const mostLaunches = 2000

/**
 * Microseconds of one launch: graphs of launches that take turns among `launches` (which should read other memory each,
 * more than the caches hold), timed by events on the device; the median of some replays. Includes the gap between two
 * launches of a graph, about 1 µs on a GPU, and no time of the host.
 */
export async function launchMicroseconds(
  device: Device,
  launches: readonly Runnable[],
  patience = defaultPatience,
): Promise<number> {
  const probe = 8
  const [estimate] = await replayMicrosecondsOf(device, launches, probe, 1)
  const count = replayLength(estimate! / probe, launches.length, patience)
  if (patience.pauseMs !== undefined) await new Promise((resolve) => setTimeout(resolve, patience.pauseMs))
  return median(await replayMicrosecondsOf(device, launches, count, patience.replays)) / count
}

/** Launches of one replay: whole turns where they are not too long. */
export function replayLength(microseconds: number, turn: number, patience = defaultPatience): number {
  const wanted = Math.min(mostLaunches, Math.ceil(patience.leastMicroseconds / microseconds))
  const most = Math.max(1, Math.floor(patience.mostMicroseconds / microseconds))
  return Math.min(most, turn * Math.ceil(wanted / turn))
}

/** Captures `count` launches and times replays of them, after one that is not timed. */
async function replayMicrosecondsOf(
  device: Device,
  launches: readonly Runnable[],
  count: number,
  times: number,
): Promise<number[]> {
  const graph = device.capture((stream) => {
    for (let i = 0; i < count; i++) launches[i % launches.length]!.run(stream)
  })
  const events = Array.from({ length: times + 1 }, () => device.createEvent())
  try {
    graph.launch()
    events[0]!.record()
    for (const event of events.slice(1)) {
      graph.launch()
      event.record()
    }
    await device.synchronize()
    return events.slice(1).map((event, i) => 1000 * event.elapsedSince(events[i]!))
  } finally {
    for (const event of events) event.destroy()
    graph.destroy()
  }
}
