import type { Findings } from './findings.ts'
import { nameOf } from './findings.ts'
import type { LaunchInfo, Site } from './interface.ts'
import type { Order } from './order.ts'
import type { AccessKind, Conflict, Shadow } from './shadow.ts'

/** A launch that may still run when a later one begins. */
interface Running {
  readonly kernel: string
  readonly sites: readonly Site[]
  /** The least name of its accesses. */
  readonly start: number
}

/** Launches that are remembered. */
const most = 64

/**
 * Launches that may begin before their predecessor has ended: until a thread knows of a `griddepcontrol.wait`, it must
 * not touch what earlier launches touch. A predecessor that lets others start before it has waited itself may be
 * overtaken with its own predecessors unfinished. One in which no thread waits may also end before them: then who waits for it
 * has not waited for them.
 */
export class Overlaps {
  private readonly order: Order
  private readonly shadow: Shadow
  private readonly findings: Findings
  /** Launches that may run beside the present one, then that one. */
  private running: Running[] = []
  /** Those that run even when the present one has waited. */
  private unwaited: (Running & { readonly end: number })[] = []
  /** Whether the present launch may overlap with others. */
  private isOverlapping = false
  /** Whether it lets others start before it has waited, and whether it waits. */
  private startsOthersEarly = false
  private waitsAtAll = false
  /** By thread of the cluster: the names of waits. */
  private waits = new Map<number, number>()

  constructor(order: Order, shadow: Shadow, findings: Findings) {
    this.order = order
    this.shadow = shadow
    this.findings = findings
  }

  /** Something else ran on the device: what came before has ended. */
  interrupt(): void {
    this.running = []
    this.unwaited = []
  }

  beginLaunch({ kernel, sites, overlaps }: LaunchInfo): void {
    if (this.isOverlapping && !this.waitsAtAll) {
      const before = this.running.slice(0, -1)
      const ended = before.map((launch, i) => ({ ...launch, end: this.running[i + 1]!.start }))
      this.unwaited = [...this.unwaited, ...ended].slice(-most)
    }
    if (!overlaps) this.interrupt()
    else if (!this.startsOthersEarly) this.running = this.running.slice(-1)
    this.isOverlapping = this.running.length > 0
    this.startsOthersEarly = false
    this.waitsAtAll = false
    this.running = [...this.running.slice(1 - most), { kernel, sites, start: this.order.launchStart }]
  }

  beginCluster(): void {
    this.waits.clear()
  }

  /** `griddepcontrol.wait`, by a thread of the cluster. */
  wait(thread: number, clusterThread: number): void {
    if (!this.isOverlapping) return
    this.waitsAtAll = true
    this.waits.set(clusterThread, this.order.enter(thread))
    this.order.warpSync(thread >> 5)
  }

  /** `griddepcontrol.launch_dependents`. */
  launchDependents(thread: number): void {
    this.order.enter(thread)
    if (this.isOverlapping && !this.hasWaited()) this.startsOthersEarly = true
  }

  /** Whether the thread that entered last knows that a thread has waited. */
  private hasWaited(): boolean {
    for (const wait of this.waits.values()) if (this.order.precedes(wait)) return true
    return false
  }

  /** An access to global memory by the thread that entered last; `describe` begins a sentence about it. */
  check(kind: AccessKind, address: number, bytes: number, site: number, describe: () => string): void {
    if (!this.isOverlapping) return
    const earlierIn = (from: number, to: number) => this.shadow.earlier(kind, address, bytes, from, to)
    const earlier = earlierIn(this.running[0]!.start, this.order.launchStart)
    if (earlier && !this.hasWaited()) {
      const launch = this.running.findLast(({ start }) => start <= earlier.access)!
      this.report(earlier, site, launch, () => `${describe()} before waitForPrevious()`)
      return
    }
    for (const launch of this.unwaited) {
      const earlier = earlierIn(launch.start, launch.end)
      if (earlier) {
        this.report(
          earlier,
          site,
          launch,
          () => `${describe()} behind a launch that ends without waitForPrevious()`,
        )
        return
      }
    }
  }

  private report(earlier: Conflict, site: number, { kernel, sites }: Running, describe: () => string): void {
    const otherSite = sites[earlier.site]!
    this.findings.add('early-dependent', 'global', site, otherSite, () => {
      const verb = earlier.kind === 'read' ? 'reads' : 'writes'
      return `${describe()}, and kernel ${kernel} (${nameOf(otherSite)}), which may still run, ${verb} it.`
    })
  }
}
