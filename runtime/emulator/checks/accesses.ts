import { windowStride } from '../translate/layout.ts'
import { AllocationMap } from './allocations.ts'
import { Findings, nameOf, type Space, verbs } from './findings.ts'
import type { LaunchInfo } from './interface.ts'
import { Order } from './order.ts'
import { Overlaps } from './overlaps.ts'
import { ProxyOrder } from './proxy.ts'
import { AsyncReaders } from './readers.ts'
import { Requests } from './requests.ts'
import { type AccessKind, type Conflict, Shadow } from './shadow.ts'

/** Actors for copies by the copy engine; more barriers than that share them. */
const engines = 64

/**
 * What threads, and the copy engine, do to memory: bounds, alignment, initialisation, order, copies under way.
 *
 * Shared addresses are offsets from the window of the cluster's first CTA; the windows of the others follow at
 * `windowStride`. Threads are those of the CTA entered last.
 */
export class Accesses {
  readonly allocations = new AllocationMap()
  readonly order = new Order()
  readonly findings: Findings = new Findings()
  readonly requests = new Requests()
  readonly proxy = new ProxyOrder()
  readonly readers = new AsyncReaders()
  readonly globalShadow = new Shadow(this.order)
  readonly sharedShadow = new Shadow(this.order)
  readonly overlaps = new Overlaps(this.order, this.globalShadow, this.findings)
  /** Of the CTA entered last. */
  rank = 0
  cta = 0
  ctas = 1
  private firstCta = 0
  private threads = 32
  private sharedBytes = 0
  private stride = 0
  /** The last access to a CTA from another one, by both ranks and the site. */
  private readonly visits = new Map<
    string,
    { readonly rank: number; access: number; readonly site: number }
  >()
  /** By site and space: the range that it may touch, as found last. */
  private low = new Float64Array(0)
  private high = new Float64Array(0)

  beginLaunch(launch: LaunchInfo): void {
    const { kernel, sites, block, cluster, sharedBytes } = launch
    this.findings.begin(kernel, sites)
    this.low = new Float64Array(2 * sites.length)
    this.high = new Float64Array(2 * sites.length)
    this.sharedBytes = sharedBytes
    this.stride = windowStride(sharedBytes)
    this.ctas = cluster
    this.threads = Math.ceil((block[0] * block[1] * block[2]) / 32) * 32
    const copies = sites.some(({ opcode }) => /^mbarrier|bulk/.test(opcode))
    if (this.order.beginLaunch(this.threads, cluster, copies ? engines : 0)) {
      this.globalShadow.clearAccesses()
      this.sharedShadow.clearAccesses()
      this.overlaps.interrupt()
    }
    this.overlaps.beginLaunch(launch)
  }

  beginCluster(first: number): void {
    this.firstCta = first
    this.order.beginCluster(first)
    this.sharedShadow.clearContents()
    this.proxy.clear()
    this.readers.clear()
    this.visits.clear()
    this.overlaps.beginCluster()
  }

  endCluster(): void {
    for (const { rank, access, site } of this.visits.values()) {
      if (this.order.isKnownTo(rank, access)) continue
      this.findings.add('peer-lifetime', 'shared', site, undefined, () => {
        const what = nameOf(this.findings.site(site))
        return `CTA ${this.firstCta + rank} may end before another CTA of its cluster uses its shared memory (${what}): end with clusterBarrier().`
      })
    }
  }

  /** Another CTA of the cluster is used, whose shared memory must live then. */
  visit(rank: number, access: number, site: number): void {
    const key = `${rank} ${this.rank} ${site}`
    const known = this.visits.get(key)
    if (known) known.access = access
    else this.visits.set(key, { rank, access, site })
  }

  /** Loads and stores: only to shared memory that has begun to live. */
  private checkVisit(rank: number, thread: number, site: number): void {
    const access = this.order.enter(thread)
    this.visit(rank, access, site)
    if (this.order.knowsOf(rank)) return
    this.findings.add('peer-lifetime', 'shared', site, undefined, () => {
      const what = this.findings.who(thread, site)
      return `${what} uses the shared memory of CTA ${this.firstCta + rank}, which may not have begun: clusterBarrier() must come first.`
    })
  }

  enter(rank: number): void {
    this.rank = rank
    this.cta = this.firstCta + rank
    this.findings.cta = this.cta
    this.order.enterCta(rank)
  }

  freed(address: number): void {
    this.allocations.remove(address)
    this.low.fill(0)
    this.high.fill(0)
  }

  /** A thread of the CTA entered last among all of the cluster. */
  clusterThread(thread: number): number {
    return this.rank * this.threads + thread
  }

  /** An offset into the own window, as translated code gives it, among those of the cluster. */
  inCluster(offset: number): number {
    return this.rank * this.stride + offset
  }

  /** The rank of the CTA whose window holds some bytes; -1 for none. */
  ownerOf(address: number, bytes: number): number {
    const rank = Math.floor(address / this.stride)
    const isInside = rank >= 0 && rank < this.ctas && (address % this.stride) + bytes <= this.sharedBytes
    return isInside ? rank : -1
  }

  /** An access by an instruction; a shared address is an offset into the own window. */
  access(space: Space, kind: AccessKind, address: number, bytes: number, thread: number, site: number): void {
    const at = space === 'shared' ? this.inCluster(address) : address
    this.checkBounds(space, kind, at, bytes, thread, site)
    this.checkAlignment(space, kind, at, bytes, thread, site)
    if (space === 'shared' && this.ctas > 1) {
      const owner = this.ownerOf(at, bytes)
      if (owner !== this.rank) this.checkVisit(owner, thread, site)
    }
    this.requests.record(site, this.findings.site(site), space, address, bytes, thread)
    this.touch(space, kind, at, bytes, thread, site)
  }

  /** Initialisation, copies under way and order; the address is known to be good. */
  touch(space: Space, kind: AccessKind, address: number, bytes: number, thread: number, site: number): void {
    const shadow = space === 'global' ? this.globalShadow : this.sharedShadow
    const stale = space === 'global' ? this.order.launchStart : this.order.ctaStart
    const access = this.order.enter(thread)
    if (space === 'shared') {
      const copy = shadow.pendingSite(address, bytes)
      if (copy !== undefined) this.reportPending('shared', kind, address, bytes, thread, site, copy)
      if (kind !== 'read') this.overwrite(kind, address, bytes, thread, site)
    } else
      this.overlaps.check(kind, address, bytes, site, () =>
        this.sentence('global', kind, address, bytes, thread, site),
      )
    if (kind === 'write') shadow.setInitialised(address, bytes)
    else if (!shadow.isInitialised(address, bytes))
      this.reportUninitialised(space, kind, address, bytes, thread, site)
    const conflict = shadow.record(kind, address, bytes, access, site, stale)
    if (conflict) this.reportRace(space, kind, address, bytes, thread, site, conflict)
    if (kind === 'atomic' && space === 'global') this.order.atomic(address)
  }

  /** A store to shared memory, which nobody may read asynchronously any more, and which needs a fence for that. */
  private overwrite(kind: AccessKind, address: number, bytes: number, thread: number, site: number): void {
    this.proxy.wrote(address, bytes, this.clusterThread(thread))
    this.checkReaders(kind, address, bytes, thread, site)
  }

  /** Nobody may write what an asynchronous operation still reads. */
  checkReaders(kind: AccessKind, address: number, bytes: number, thread: number, site: number): void {
    const hold = this.readers.holding(address, bytes)
    if (!hold) return
    const reader = this.findings.site(hold.site)
    this.findings.add('overwritten-tile', 'shared', site, reader, () => {
      const what = this.sentence('shared', kind, address, bytes, thread, site)
      return `${what}, which ${nameOf(reader)} may still read: wait for its group first, and let a barrier tell who writes.`
    })
  }

  /** A product begins to read 16 bytes of the own window through the asynchronous proxy. */
  beginRead(owner: number, offset: number, thread: number, site: number): void {
    const address = this.inCluster(offset)
    this.checkBounds('shared', 'read', address, 16, thread, site)
    this.readByEngine(owner, address, thread, site)
  }

  /** The same for any operation of the asynchronous proxy; the address is known to be good. */
  readByEngine(owner: number, address: number, thread: number, site: number): void {
    this.touch('shared', 'read', address, 16, thread, site)
    this.readers.hold(owner, address, 16, site)
    const writer = this.proxy.unfenced(address, 16)
    if (writer === undefined) return
    this.findings.add('proxy-fence', 'shared', site, undefined, () => {
      const what = this.sentence('shared', 'read', address, 16, thread, site)
      return `${what} through the asynchronous proxy, which thread ${writer % this.threads} stored with no fence.proxy.async since: the threads that store call fenceAsync() and then pass a barrier.`
    })
  }

  /** The copy engine will write 16 bytes for a thread; `access` is the copy's name. */
  touchByEngine(address: number, access: number, thread: number, site: number): void {
    const shadow = this.sharedShadow
    this.order.enter(thread)
    const copy = shadow.pendingSite(address, 16)
    if (copy !== undefined) this.reportPending('shared', 'write', address, 16, thread, site, copy)
    this.checkReaders('write', address, 16, thread, site)
    const conflict = shadow.record('write', address, 16, access, site, this.order.ctaStart)
    if (conflict && copy === undefined) this.reportRefill(address, thread, site, conflict)
    shadow.setPending(address, 16, site)
  }

  /** The copy engine will write global memory, or add to it, for a thread; `access` is the copy's name. */
  storeByEngine(
    kind: AccessKind,
    address: number,
    bytes: number,
    access: number,
    thread: number,
    site: number,
  ): void {
    const shadow = this.globalShadow
    this.order.enter(thread)
    this.overlaps.check(kind, address, bytes, site, () =>
      this.sentence('global', kind, address, bytes, thread, site),
    )
    if (kind === 'write') shadow.setInitialised(address, bytes)
    else if (!shadow.isInitialised(address, bytes))
      this.reportUninitialised('global', kind, address, bytes, thread, site)
    const conflict = shadow.record(kind, address, bytes, access, site, this.order.launchStart)
    if (conflict) this.reportRace('global', kind, address, bytes, thread, site, conflict)
  }

  private reportRefill(address: number, thread: number, site: number, conflict: Conflict): void {
    const otherSite = this.findings.site(conflict.site)
    this.findings.add('early-refill', 'shared', site, otherSite, () => {
      const other = this.order.describe(conflict.access)
      const who =
        other.thread === undefined ? 'the copy engine' : `thread ${other.thread} of CTA ${other.cta}`
      const what = this.sentence('shared', 'write', address, 16, thread, site)
      return `${what}, which ${who} ${verbs[conflict.kind]} (${nameOf(otherSite)}) with no order between them: who uses a stage must arrive at an mbarrier that the thread which refills it waits for (behind syncWarp() where one lane arrives for a warp).`
    })
  }

  checkBounds(
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

  checkAlignment(
    space: Space,
    kind: AccessKind,
    address: number,
    bytes: number,
    thread: number,
    site: number,
  ): void {
    // Widths are powers of two.
    if (address % bytes === 0) return
    const what = this.sentence(space, kind, address, bytes, thread, site)
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
      const owner = this.ownerOf(address, bytes)
      const isMine = owner === this.rank
      if (isMine) {
        this.low[rangeOf(space, site)] = this.inCluster(0)
        this.high[rangeOf(space, site)] = this.inCluster(this.sharedBytes)
      }
      if (isMine || (owner >= 0 && this.findings.site(site).opcode.includes('shared::cluster'))) return
      const what = this.sentence(space, kind, address, bytes, thread, site)
      this.findings.fail(
        'out-of-bounds',
        space,
        site,
        `${what}, outside the CTA's ${this.sharedBytes} bytes.`,
      )
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

  private reportRace(
    space: Space,
    kind: AccessKind,
    address: number,
    bytes: number,
    thread: number,
    site: number,
    conflict: Conflict,
  ): void {
    const otherSite = this.findings.site(conflict.site)
    if (this.order.describe(conflict.access).thread === undefined) {
      this.reportPending(space, kind, address, bytes, thread, site, conflict.site)
      return
    }
    this.findings.add('race', space, site, otherSite, () => {
      const other = this.order.describe(conflict.access)
      const sameCta = other.cta === this.cta
      const who = `thread ${other.thread}${sameCta ? '' : ` of CTA ${other.cta}`}`
      const missing = !sameCta
        ? 'with no order between the two CTAs'
        : other.thread !== undefined && other.thread >> 5 === thread >> 5
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
    this.findings.add('uninitialised', space, site, undefined, () => {
      const what = this.sentence(space, kind, address, bytes, thread, site)
      return `${what}, which nothing has written.`
    })
  }

  private reportPending(
    space: Space,
    kind: AccessKind,
    address: number,
    bytes: number,
    thread: number,
    site: number,
    copy: number,
  ): void {
    const copySite = this.findings.site(copy)
    this.findings.add('pending-copy', space, site, copySite, () => {
      const what = this.sentence(space, kind, address, bytes, thread, site)
      const isStore = space === 'global'
      const remedy = isStore
        ? 'call waitBulk(0) first, and let others learn of that'
        : copySite.opcode.includes('bulk')
          ? 'wait for the phase of its mbarrier'
          : 'wait for its group, then pass a barrier'
      return `${what}, which a copy (${nameOf(copySite)}) may still write: ${remedy}.`
    })
  }

  /** What a thread does to some bytes, as the beginning of a sentence. */
  sentence(
    space: Space,
    kind: AccessKind,
    address: number,
    bytes: number,
    thread: number,
    site: number,
  ): string {
    if (space === 'global') return this.findings.access(space, kind, address, bytes, thread, site)
    const owner = this.ownerOf(address, 1)
    if (owner < 0 || owner === this.rank)
      return this.findings.access(space, kind, address - this.inCluster(0), bytes, thread, site)
    const what = this.findings.access(space, kind, address % this.stride, bytes, thread, site)
    return what.replace('shared memory', `the shared memory of CTA ${this.firstCta + owner}`)
  }
}

function rangeOf(space: Space, site: number): number {
  return 2 * site + (space === 'global' ? 0 : 1)
}
