import { DeviceError } from '../../device.ts'
import { AllocationMap } from './allocations.ts'
import { findingCodes } from './finding-codes.ts'
import { classify } from './instruction-class.ts'
import type {
  CheckImports,
  Checks,
  Finding,
  FindingKind,
  LaunchInfo,
  LaunchReport,
  Site,
} from './interface.ts'
import { Order } from './order.ts'
import { Requests } from './requests.ts'
import { type AccessKind, type Conflict, Shadow } from './shadow.ts'

type Space = 'global' | 'shared'

const idle: LaunchInfo = { kernel: '', sites: [], grid: [1, 1, 1], block: [1, 1, 1], sharedBytes: 0 }

interface PendingCopy {
  readonly dst: number
  readonly bytes: number
  readonly site: number
}

/** See `Checks`: finds what a GPU forgives, and counts what memory accesses cost. */
export class Checker implements Checks {
  readonly imports: CheckImports

  private readonly allocations = new AllocationMap()
  private readonly order = new Order()
  private readonly globalShadow = new Shadow(this.order)
  private readonly sharedShadow = new Shadow(this.order)
  private readonly requests = new Requests()

  private launch = idle
  private cta = 0
  private findings = new Map<string, Finding>()
  private instructions = new Map<string, number>()
  /** By site and space: the range that it may touch, as found last. */
  private low = new Float64Array(0)
  private high = new Float64Array(0)
  /** By thread: the copies of each committed group, oldest first, and those not yet committed. */
  private readonly groups = new Map<number, PendingCopy[][]>()
  private readonly open = new Map<number, PendingCopy[]>()

  constructor() {
    this.imports = {
      loadGlobal: (address, bytes, thread, site) =>
        this.access('global', 'read', address, bytes, thread, site),
      loadShared: (address, bytes, thread, site) =>
        this.access('shared', 'read', address, bytes, thread, site),
      storeGlobal: (address, bytes, thread, site) =>
        this.access('global', 'write', address, bytes, thread, site),
      storeShared: (address, bytes, thread, site) =>
        this.access('shared', 'write', address, bytes, thread, site),
      atomicGlobal: (address, bytes, thread, site) =>
        this.access('global', 'atomic', address, bytes, thread, site),
      atomicShared: (address, bytes, thread, site) =>
        this.access('shared', 'atomic', address, bytes, thread, site),
      matrixRow: (address, thread, site) => this.access('shared', 'read', address, 16, thread, site),
      asyncCopy: (dst, src, bytes, sourceBytes, thread, site) =>
        this.asyncCopy(dst, src, bytes, sourceBytes, thread, site),
      commitGroup: (thread) => this.commitGroup(thread),
      waitGroup: (thread, pending) => this.waitGroup(thread, pending),
      fenceGlobal: (thread) => {
        this.order.enter(thread)
        this.order.fence()
      },
      warpSync: (warp) => this.order.warpSync(warp),
      endRegion: () => this.requests.flush(),
    }
  }

  allocated(address: number, bytes: number): void {
    this.allocations.add(address, bytes)
    this.globalShadow.setInitialised(address, bytes, false)
  }

  freed(address: number): void {
    this.allocations.remove(address)
    this.low.fill(0)
    this.high.fill(0)
  }

  initialised(address: number, bytes: number): void {
    this.globalShadow.setInitialised(address, bytes)
  }

  copied(dst: number, src: number, bytes: number): void {
    this.globalShadow.copyInitialised(dst, src, bytes)
  }

  beginLaunch(launch: LaunchInfo): void {
    this.launch = launch
    this.findings = new Map()
    this.instructions = new Map()
    this.low = new Float64Array(2 * launch.sites.length)
    this.high = new Float64Array(2 * launch.sites.length)
    const [x, y, z] = launch.block
    if (this.order.beginLaunch(x * y * z)) {
      this.globalShadow.clearAccesses()
      this.sharedShadow.clearAccesses()
    }
  }

  beginCta(cta: number): void {
    this.cta = cta
    this.order.beginCta(cta)
    this.sharedShadow.clearContents()
    this.groups.clear()
    this.open.clear()
  }

  barrier(): void {
    this.order.barrier()
  }
  arrive(key: number, warp: number): void {
    this.order.arrive(key, warp)
  }
  pass(key: number, warp: number): void {
    this.order.pass(key, warp)
  }
  endCta(): void {
    this.requests.flush()
  }

  countInstruction(opcode: string, executions: number): void {
    const name = classify(opcode)
    this.instructions.set(name, (this.instructions.get(name) ?? 0) + executions)
  }

  endLaunch(): LaunchReport {
    const report: LaunchReport = {
      kernel: this.launch.kernel,
      findings: [...this.findings.values()],
      memory: this.requests.take(),
      instructions: Object.fromEntries(this.instructions),
    }
    this.launch = idle
    return report
  }

  private access(
    space: Space,
    kind: AccessKind,
    address: number,
    bytes: number,
    thread: number,
    site: number,
  ): void {
    this.checkBounds(space, kind, address, bytes, thread, site)
    this.checkAlignment(space, kind, address, bytes, thread, site)
    this.requests.record(site, this.launch.sites[site]!, space, address, bytes, thread)
    this.touch(space, kind, address, bytes, thread, site)
  }

  /** Initialisation, copies under way and order; the address is known to be good. */
  private touch(
    space: Space,
    kind: AccessKind,
    address: number,
    bytes: number,
    thread: number,
    site: number,
  ): void {
    const shadow = space === 'global' ? this.globalShadow : this.sharedShadow
    const stale = space === 'global' ? this.order.launchStart : this.order.ctaStart
    const access = this.order.enter(thread)
    if (space === 'shared') {
      const copy = shadow.pendingSite(address, bytes)
      if (copy !== undefined) this.reportPending(kind, address, bytes, thread, site, copy)
    }
    if (kind === 'write') shadow.setInitialised(address, bytes)
    else if (!shadow.isInitialised(address, bytes))
      this.reportUninitialised(space, kind, address, bytes, thread, site)
    const conflict = shadow.record(kind, address, bytes, access, site, stale)
    if (conflict) this.reportRace(space, kind, address, bytes, thread, site, conflict)
    if (kind === 'atomic' && space === 'global') this.order.atomic(address)
  }

  private checkBounds(
    space: Space,
    kind: AccessKind,
    address: number,
    bytes: number,
    thread: number,
    site: number,
  ): void {
    const range = rangeOf(space, site)
    if (address < this.low[range]! || address + bytes > this.high[range]!)
      this.findBounds(space, kind, address, bytes, thread, site)
  }

  private checkAlignment(
    space: Space,
    kind: AccessKind,
    address: number,
    bytes: number,
    thread: number,
    site: number,
  ): void {
    // Widths are powers of two.
    if ((address & (bytes - 1)) === 0) return
    const what = this.sentence(space, kind, address, bytes, thread, site)
    this.fail('misaligned', space, site, `${what}, which is not a multiple of ${bytes}.`)
  }

  private findBounds(
    space: Space,
    kind: AccessKind,
    address: number,
    bytes: number,
    thread: number,
    site: number,
  ): void {
    if (space === 'shared') {
      this.high[rangeOf(space, site)] = this.launch.sharedBytes
      if (address >= 0 && address + bytes <= this.launch.sharedBytes) return
      const what = this.sentence(space, kind, address, bytes, thread, site)
      this.fail('out-of-bounds', space, site, `${what}, outside the CTA's ${this.launch.sharedBytes} bytes.`)
    }
    const allocation = this.allocations.find(address)
    if (allocation && address + bytes <= allocation.end) {
      this.low[rangeOf(space, site)] = allocation.start
      this.high[rangeOf(space, site)] = allocation.end
      return
    }
    const what = this.sentence(space, kind, address, bytes, thread, site)
    const freed = this.allocations.findFreed(address)
    if (freed && !allocation)
      this.fail(
        'use-after-free',
        space,
        site,
        `${what}, in an allocation of ${freed.end - freed.start} bytes that was freed.`,
      )
    const near = allocation ?? this.allocations.nearest(address)
    if (!near) this.fail('out-of-bounds', space, site, `${what}; nothing is allocated.`)
    const size = `an allocation of ${near.end - near.start} bytes`
    const where =
      address >= near.end
        ? `${address - near.end} bytes past the end of ${size}`
        : address < near.start
          ? `${near.start - address} bytes before ${size}`
          : `across the end of ${size}`
    this.fail('out-of-bounds', space, site, `${what}, ${where}.`)
  }

  private asyncCopy(
    dst: number,
    src: number,
    bytes: number,
    sourceBytes: number,
    thread: number,
    site: number,
  ): void {
    this.checkBounds('shared', 'write', dst, bytes, thread, site)
    this.checkAlignment('shared', 'write', dst, bytes, thread, site)
    if (sourceBytes > 0) {
      this.checkBounds('global', 'read', src, sourceBytes, thread, site)
      this.checkAlignment('global', 'read', src, bytes, thread, site)
      this.requests.record(site, this.launch.sites[site]!, 'global', src, bytes, thread)
      const whole = sourceBytes - (sourceBytes % 4)
      for (let at = 0; at < whole; at += 4) this.touch('global', 'read', src + at, 4, thread, site)
      for (let at = whole; at < sourceBytes; at++) this.touch('global', 'read', src + at, 1, thread, site)
    }
    this.touch('shared', 'write', dst, bytes, thread, site)
    this.sharedShadow.setPending(dst, bytes, site)
    const copies = this.open.get(thread)
    if (copies) copies.push({ dst, bytes, site })
    else this.open.set(thread, [{ dst, bytes, site }])
  }

  private commitGroup(thread: number): void {
    const copies = this.open.get(thread) ?? []
    this.open.delete(thread)
    const groups = this.groups.get(thread)
    if (groups) groups.push(copies)
    else this.groups.set(thread, [copies])
  }

  private waitGroup(thread: number, pending: number): void {
    const groups = this.groups.get(thread) ?? []
    while (groups.length > pending)
      for (const { dst, bytes, site } of groups.shift()!) {
        this.sharedShadow.setPending(dst, bytes, undefined)
        // The copy is this thread's write from now on: others see it past the next barrier.
        this.touch('shared', 'write', dst, bytes, thread, site)
      }
  }

  private reportRace(
    space: Space,
    kind: AccessKind,
    address: number,
    bytes: number,
    thread: number,
    site: number,
    conflict: Conflict,
  ): void {
    const otherSite = this.launch.sites[conflict.site]!
    this.add('race', space, site, otherSite, () => {
      const other = this.order.describe(conflict.access)
      const sameCta = other.cta === this.cta
      const who = `thread ${other.thread}${sameCta ? '' : ` of CTA ${other.cta}`}`
      const missing = !sameCta
        ? 'with no order between the two CTAs'
        : other.thread >> 5 === thread >> 5
          ? 'with no bar.warp.sync between them'
          : 'with no barrier between them'
      const what = this.sentence(space, kind, address, bytes, thread, site)
      return `${what}, which ${who} ${verbs[conflict.kind]} (${nameOf(otherSite)}) ${missing}.`
    })
  }

  private reportUninitialised(
    space: Space,
    kind: AccessKind,
    address: number,
    bytes: number,
    thread: number,
    site: number,
  ): void {
    this.add('uninitialised', space, site, undefined, () => {
      const what = this.sentence(space, kind, address, bytes, thread, site)
      return `${what}, which nothing has written.`
    })
  }

  private reportPending(
    kind: AccessKind,
    address: number,
    bytes: number,
    thread: number,
    site: number,
    copy: number,
  ): void {
    const copySite = this.launch.sites[copy]!
    this.add('pending-copy', 'shared', site, copySite, () => {
      const what = this.sentence('shared', kind, address, bytes, thread, site)
      return `${what}, which a copy (${nameOf(copySite)}) may still write: wait for its group, then pass a barrier.`
    })
  }

  private sentence(
    space: Space,
    kind: AccessKind,
    address: number,
    bytes: number,
    thread: number,
    site: number,
  ): string {
    const at = `0x${address < 0 ? (address >>> 0).toString(16) : address.toString(16)}`
    const amount = bytes === 1 ? '1 byte' : `${bytes} bytes`
    const instruction = nameOf(this.launch.sites[site]!)
    return `Thread ${thread} of CTA ${this.cta} ${verbs[kind]} ${amount} of ${space} memory at ${at} (${instruction})`
  }

  private add(
    kind: FindingKind,
    space: Space,
    site: number,
    otherSite: Site | undefined,
    message: () => string,
  ): void {
    const key = `${kind} ${space} ${site} ${otherSite?.line}`
    const known = this.findings.get(key)
    if (known) {
      known.count++
      return
    }
    const finding = { kind, space, message: message(), site: this.launch.sites[site]!, count: 1 }
    this.findings.set(key, otherSite ? { ...finding, otherSite } : finding)
  }

  /** Records a fault that the launch cannot survive, and leaves the kernel. */
  private fail(kind: FindingKind, space: Space, site: number, message: string): never {
    this.add(kind, space, site, undefined, () => message)
    const { kernel, sites } = this.launch
    const location = sites[site]!.location
    throw new DeviceError(findingCodes[kind], message, {
      kernel,
      ...(location === undefined ? {} : { location }),
    })
  }
}

const verbs: Readonly<Record<AccessKind, string>> = {
  read: 'reads',
  write: 'writes',
  atomic: 'changes atomically',
}

function rangeOf(space: Space, site: number): number {
  return 2 * site + (space === 'global' ? 0 : 1)
}

function nameOf(site: Site): string {
  return `${site.opcode}, ${site.location ?? `PTX line ${site.line}`}`
}
