import type { Device, Event, PreparedLaunch } from '../runtime/device.ts'

/** The launches of one kernel and size. */
export interface LaunchShare {
  readonly name: string
  readonly launches: number
  /** Milliseconds of all of them. */
  readonly ms: number
}

/** A device that times each of its launches; what is prepared on it must stay on it. */
export interface ProfiledDevice {
  readonly device: Device
  /** Starts counting, and forgets what was counted. */
  start(): void
  /** Waits for the launches since `start` and gathers them by name, those that take most first. */
  shares(): Promise<LaunchShare[]>
}

/** Puts an event before and after every launch that runs outside a graph. */
export function profiledDevice(inner: Device): ProfiledDevice {
  let spans: { readonly name: string; readonly before: Event; readonly after: Event }[] | undefined

  const timed = (launch: PreparedLaunch): PreparedLaunch => ({
    fn: launch.fn,
    run(stream) {
      if (!spans) return launch.run(stream)
      const [before, after] = [inner.createEvent(), inner.createEvent()]
      before.record(stream)
      launch.run(stream)
      after.record(stream)
      spans.push({ name: labelOf(launch), before, after })
    },
    setArgument: (index, value) => launch.setArgument(index, value),
    setGrid: (grid) => launch.setGrid(grid),
  })
  const device = new Proxy(inner, {
    get(_, key) {
      if (key === 'prepareLaunch')
        return (...args: Parameters<Device['prepareLaunch']>) => timed(inner.prepareLaunch(...args))
      const value: unknown = Reflect.get(inner, key, inner)
      return typeof value === 'function' ? value.bind(inner) : value
    },
  })

  return {
    device,
    start() {
      spans = []
    },
    async shares() {
      await inner.synchronize()
      const shares = new Map<string, LaunchShare>()
      for (const { name, before, after } of spans ?? []) {
        const { launches, ms } = shares.get(name) ?? { launches: 0, ms: 0 }
        shares.set(name, { name, launches: launches + 1, ms: ms + after.elapsedSince(before) })
        before.destroy()
        after.destroy()
      }
      spans = undefined
      return [...shares.values()].sort((a, b) => b.ms - a.ms)
    },
  }
}

/** The kernel's name, and the size of a matrix product. */
function labelOf({ fn: { program } }: PreparedLaunch): string {
  const { N, K } = program.config
  return N === undefined ? program.name : `${program.name} ${N}x${K}`
}
