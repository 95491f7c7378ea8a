import type { Findings } from './findings.ts'
import { nameOf } from './findings.ts'
import type { LaunchInfo, Site } from './interface.ts'
import type { Order } from './order.ts'
import type { AccessKind, Shadow } from './shadow.ts'

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
 * overtaken with its own predecessors unfinished.
 */
export class Overlaps {
  private readonly order: Order
  private readonly shadow: Shadow
  private readonly findings: Findings
  /** Launches that may run beside the present one, then that one. */
  private running: Running[] = []
  /** Whether the present launch may overlap with others. */
  private isOverlapping = false
  /** Whether it lets others start before it has waited. */
  private startsOthersEarly = false
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
  }

  beginLaunch({ kernel, sites, overlaps }: LaunchInfo): void {
    if (!overlaps) this.running = []
    else if (!this.startsOthersEarly) this.running = this.running.slice(-1)
    this.isOverlapping = this.running.length > 0
    this.startsOthersEarly = false
    this.running = [...this.running.slice(1 - most), { kernel, sites, start: this.order.launchStart }]
  }

  beginCluster(): void {
    this.waits.clear()
  }

  /** `griddepcontrol.wait`, by a thread of the cluster. */
  wait(thread: number, clusterThread: number): void {
    if (!this.isOverlapping) return
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
    const [first] = this.running
    const earlier = this.shadow.earlier(kind, address, bytes, first!.start, this.order.launchStart)
    if (!earlier || this.hasWaited()) return
    const launch = this.running.findLast(({ start }) => start <= earlier.access)!
    const otherSite = launch.sites[earlier.site]!
    this.findings.add('early-dependent', 'global', site, otherSite, () => {
      const verb = earlier.kind === 'read' ? 'reads' : 'writes'
      return `${describe()} before waitForPrevious(), and kernel ${launch.kernel} (${nameOf(otherSite)}), which may still run, ${verb} it.`
    })
  }
}
