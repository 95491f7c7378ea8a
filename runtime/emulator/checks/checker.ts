import { advanceBarrier, writeBarrier } from '../run/mbarrier.ts'
import type { WasmMemory } from '../wasm/host.ts'
import { AllocationMap } from './allocations.ts'
import { Findings, nameOf, type Space, verbs } from './findings.ts'
import { classify } from './instruction-class.ts'
import type { CheckImports, Checks, LaunchInfo, LaunchReport } from './interface.ts'
import { Order } from './order.ts'
import { ProxyOrder } from './proxy.ts'
import { AsyncReaders } from './readers.ts'
import { Requests } from './requests.ts'
import { type AccessKind, type Conflict, Shadow } from './shadow.ts'
import { WgmmaChecks } from './wgmma.ts'

const idle: LaunchInfo = {
  kernel: '',
  sites: [],
  grid: [1, 1, 1],
  block: [1, 1, 1],
  cluster: 1,
  sharedBytes: 0,
}
/** Actors for copies by the copy engine; more barriers than that share them. */
const engines = 64

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

  readonly proxy = new ProxyOrder()
  readonly readers = new AsyncReaders()
  private readonly wgmma: WgmmaChecks

  private readonly memory: WasmMemory | undefined
  private launch = idle
  private firstCta = 0
  private rank = 0
  private cta = 0
  /** Address of the shared window of the cluster's first CTA. */
  private window = 0
  private readonly findings: Findings = new Findings()
  private instructions = new Map<string, number>()
  /** By site and space: the range that it may touch, as found last. */
  private low = new Float64Array(0)
  private high = new Float64Array(0)
  /** By thread: the copies of each committed group, oldest first, and those not yet committed. */
  private readonly groups = new Map<number, PendingCopy[][]>()
  private readonly open = new Map<number, PendingCopy[]>()

  constructor(memory?: WasmMemory) {
    this.memory = memory
    this.wgmma = new WgmmaChecks({
      findings: this.findings,
      product: (site) => this.launch.products!.get(site)!,
      beginRead: (owner, address, thread, site) => this.beginRead(owner, address, thread, site),
      endRead: (address, thread, site) => this.touch('shared', 'read', address, 16, thread, site),
      release: (owner) => this.readers.release(owner),
    })
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
      initBarrier: (address, count) =>
        writeBarrier(this.words(), address >>> 2, { parity: 0, pending: count, expected: count, bytes: 0 }),
      arriveBarrier: (address, count) => void advanceBarrier(this.words(), address >>> 2, count, 0),
      arriveExpecting: (address, bytes) => void advanceBarrier(this.words(), address >>> 2, 1, -bytes),
      waitPhase: (address, parity) => Number((this.words()[address >>> 2]! & 1) === parity),
      commitBulk: () => {},
      waitBulk: () => {},
      fenceGlobal: (thread) => {
        this.order.enter(thread)
        this.order.fence()
      },
      fenceProxy: (thread) => this.proxy.fence(thread),
      warpSync: (warp) => this.order.warpSync(warp),
      endRegion: () => this.requests.flush(),
      warpgroupStep: (thread, site) => this.wgmma.step(thread, site),
      registerAccess: (thread, register, site) => this.wgmma.registerAccess(thread, register, site),
      wgmmaFence: (thread, site) => this.wgmma.fence(thread, site),
      wgmmaProduct: (thread, a, b, window, site) => this.wgmma.product(thread, a, b, window, site),
      wgmmaCommit: (thread, site) => this.wgmma.commit(thread, site),
      wgmmaWait: (thread, pending, site) => this.wgmma.wait(thread, pending, site),
    }
  }

  private words(): Int32Array {
    return new Int32Array(this.memory!.buffer)
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
    this.findings.begin(launch.kernel, launch.sites)
    this.instructions = new Map()
    this.low = new Float64Array(2 * launch.sites.length)
    this.high = new Float64Array(2 * launch.sites.length)
    const [x, y, z] = launch.block
    const copies = launch.sites.some(({ opcode }) => opcode.startsWith('mbarrier'))
    if (this.order.beginLaunch(x * y * z, launch.cluster, copies ? engines : 0)) {
      this.globalShadow.clearAccesses()
      this.sharedShadow.clearAccesses()
    }
  }

  beginCluster(first: number, window: number): void {
    this.firstCta = first
    this.window = window
    this.order.beginCluster(first)
    this.proxy.clear()
    this.readers.clear()
    this.wgmma.beginCluster()
    this.enter(0)
    this.sharedShadow.clearContents()
    this.groups.clear()
    this.open.clear()
  }

  enter(rank: number): void {
    this.rank = rank
    this.cta = this.firstCta + rank
    this.findings.cta = this.cta
    this.order.enterCta(rank)
    this.wgmma.enter(rank)
  }
  barrier(rank: number): void {
    this.order.barrier(rank)
  }
  arrive(key: number, rank: number, warp: number): void {
    this.order.arrive(keyOf(key, rank), rank, warp)
  }
  pass(key: number, rank: number, warp: number): void {
    this.order.pass(keyOf(key, rank), rank, warp)
  }
  exit(_rank: number, _warp: number): void {}
  land(_must: boolean): boolean {
    return false
  }
  endCluster(): void {
    this.wgmma.endCluster()
    this.requests.flush()
  }

  countInstruction(opcode: string, executions: number): void {
    const name = classify(opcode)
    this.instructions.set(name, (this.instructions.get(name) ?? 0) + executions)
  }

  endLaunch(): LaunchReport {
    const report: LaunchReport = {
      kernel: this.launch.kernel,
      findings: this.findings.list(),
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
      if (kind !== 'read') this.overwrite(kind, address, bytes, thread, site)
    }
    if (kind === 'write') shadow.setInitialised(address, bytes)
    else if (!shadow.isInitialised(address, bytes))
      this.reportUninitialised(space, kind, address, bytes, thread, site)
    const conflict = shadow.record(kind, address, bytes, access, site, stale)
    if (conflict) this.reportRace(space, kind, address, bytes, thread, site, conflict)
    if (kind === 'atomic' && space === 'global') this.order.atomic(address)
  }

  /** A store to shared memory, which nobody may read asynchronously any more, and which needs a fence for that. */
  private overwrite(kind: AccessKind, address: number, bytes: number, thread: number, site: number): void {
    this.proxy.wrote(address, bytes, thread)
    const hold = this.readers.holding(address, bytes)
    if (!hold) return
    const reader = this.findings.site(hold.site)
    this.findings.add('overwritten-tile', 'shared', site, reader, () => {
      const what = this.findings.access('shared', kind, address, bytes, thread, site)
      return `${what}, which ${nameOf(reader)} may still read: wait for its group first, and let a barrier tell who writes.`
    })
  }

  /** A product begins to read 16 bytes of shared memory through the asynchronous proxy. */
  private beginRead(owner: number, address: number, thread: number, site: number): void {
    this.checkBounds('shared', 'read', address, 16, thread, site)
    this.touch('shared', 'read', address, 16, thread, site)
    this.readers.hold(owner, address, 16, site)
    const writer = this.proxy.unfenced(address, 16)
    if (writer === undefined) return
    this.findings.add('proxy-fence', 'shared', site, undefined, () => {
      const what = this.findings.access('shared', 'read', address, 16, thread, site)
      return `${what} through the asynchronous proxy, which thread ${writer} stored with no fence.proxy.async since: the threads that store call fenceAsync() and then pass a barrier.`
    })
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
    const what = this.findings.access(space, kind, address, bytes, thread, site)
    this.findings.fail('misaligned', space, site, `${what}, which is not a multiple of ${bytes}.`)
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
      const what = this.findings.access(space, kind, address, bytes, thread, site)
      this.findings.fail(
        'out-of-bounds',
        space,
        site,
        `${what}, outside the CTA's ${this.launch.sharedBytes} bytes.`,
      )
    }
    const allocation = this.allocations.find(address)
    if (allocation && address + bytes <= allocation.end) {
      this.low[rangeOf(space, site)] = allocation.start
      this.high[rangeOf(space, site)] = allocation.end
      return
    }
    const what = this.findings.access(space, kind, address, bytes, thread, site)
    const freed = this.allocations.findFreed(address)
    if (freed && !allocation)
      this.findings.fail(
        'use-after-free',
        space,
        site,
        `${what}, in an allocation of ${freed.end - freed.start} bytes that was freed.`,
      )
    const near = allocation ?? this.allocations.nearest(address)
    if (!near) this.findings.fail('out-of-bounds', space, site, `${what}; nothing is allocated.`)
    const size = `an allocation of ${near.end - near.start} bytes`
    const where =
      address >= near.end
        ? `${address - near.end} bytes past the end of ${size}`
        : address < near.start
          ? `${near.start - address} bytes before ${size}`
          : `across the end of ${size}`
    this.findings.fail('out-of-bounds', space, site, `${what}, ${where}.`)
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
    this.findings.add('race', space, site, otherSite, () => {
      const other = this.order.describe(conflict.access)
      const sameCta = other.cta === this.cta
      const who =
        other.thread === undefined
          ? 'the copy engine'
          : `thread ${other.thread}${sameCta ? '' : ` of CTA ${other.cta}`}`
      const missing = !sameCta
        ? 'with no order between the two CTAs'
        : other.thread !== undefined && other.thread >> 5 === thread >> 5
          ? 'with no bar.warp.sync between them'
          : 'with no barrier between them'
      const what = this.findings.access(space, kind, address, bytes, thread, site)
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
    this.findings.add('uninitialised', space, site, undefined, () => {
      const what = this.findings.access(space, kind, address, bytes, thread, site)
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
    this.findings.add('pending-copy', 'shared', site, copySite, () => {
      const what = this.findings.access('shared', kind, address, bytes, thread, site)
      return `${what}, which a copy (${nameOf(copySite)}) may still write: wait for its group, then pass a barrier.`
    })
  }
}

/** Named barriers are those of a CTA; the cluster's barrier has a negative key. */
function keyOf(key: number, rank: number): number {
  return key < 0 ? key : 16 * rank + key
}

function rangeOf(space: Space, site: number): number {
  return 2 * site + (space === 'global' ? 0 : 1)
}
