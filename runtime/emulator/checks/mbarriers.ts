import { advanceBarrier, readBarrier, writeBarrier } from '../run/mbarrier.ts'
import type { Accesses } from './accesses.ts'
import { hex, nameOf } from './findings.ts'

/** How far a thread has followed the phases of a barrier. */
interface Follower {
  /** The phase that it saw complete last; -1 stands for the one before the first. */
  phase: number
  /** Arrivals of the thread, at any barrier, when it saw that. */
  arrivals: number
  /** Where it passed the same phase once more although it had arrived somewhere since. */
  repeated: number | undefined
}

/** Copies that were issued while one phase was current. */
export interface Issued {
  count: number
  readonly site: number
}

export interface Barrier {
  /** In linear memory. */
  readonly address: number
  /** Rank of the CTA that has it. */
  readonly owner: number
  readonly engine: number
  readonly initSite: number
  /** The name of the initialization among accesses, and the thread that made it. */
  readonly initAccess: number
  readonly initThread: number
  /** Whether the copy engine and other CTAs may know of it. */
  isFenced: boolean
  /** Phases that are complete. */
  phase: number
  /** What those who pass learn: from the phases that are complete, and from the one that is not. */
  passed: Int32Array
  gathered: Int32Array
  /** By thread of the cluster. */
  readonly followers: Map<number, Follower>
  /** Copies that are to complete on it: by the phase that was current when they were issued. */
  readonly underWay: Map<number, Issued>
  /** The latest phase that somebody has waited for. */
  seen: number
}

const maxCount = 2 ** 20 - 1

/** mbarriers in shared memory: who may use them when, and what they order. */
export class Mbarriers {
  private readonly accesses: Accesses
  private readonly words: () => Int32Array
  /** Linear address of the cluster's shared windows. */
  private window = 0
  private readonly barriers = new Map<number, Barrier>()
  /** By thread of the cluster. */
  private readonly arrivals = new Map<number, number>()

  constructor(accesses: Accesses, words: () => Int32Array) {
    this.accesses = accesses
    this.words = words
  }

  beginCluster(window: number): void {
    this.window = window
    this.barriers.clear()
    this.arrivals.clear()
  }

  /** Where an address of linear memory lies among the cluster's shared offsets. */
  offsetOf(address: number): number {
    return (address >>> 0) - this.window
  }

  private place(address: number): string {
    return hex(this.offsetOf(address) - this.accesses.inCluster(0))
  }

  init(address: number, count: number, thread: number, site: number): void {
    const { accesses } = this
    const { findings } = accesses
    const at = this.offsetOf(address)
    accesses.checkBounds('shared', 'write', at, 8, thread, site)
    accesses.checkAlignment('shared', 'write', at, 8, thread, site)
    if (count < 1 || count > maxCount)
      findings.fail(
        'barrier-arrivals',
        'shared',
        site,
        `${findings.who(thread, site)} initializes an mbarrier for ${count} arrivals; it takes 1 to ${maxCount}.`,
      )
    const known = this.barriers.get(address >>> 0)
    if (known)
      findings.add('barrier-init', 'shared', site, findings.site(known.initSite), () => {
        const before = nameOf(findings.site(known.initSite))
        return `${findings.who(thread, site)} initializes the mbarrier at shared ${this.place(address)} again (${before} did): it may be in use.`
      })
    accesses.touch('shared', 'write', at, 8, thread, site)
    writeBarrier(this.words(), address >>> 2, { parity: 0, pending: count, expected: count, bytes: 0 })
    this.barriers.set(address >>> 0, {
      address: address >>> 0,
      owner: accesses.rank,
      engine: this.barriers.size,
      initSite: site,
      initAccess: accesses.order.enter(thread),
      initThread: accesses.clusterThread(thread),
      isFenced: false,
      phase: 0,
      passed: accesses.order.noClocks(),
      gathered: accesses.order.noClocks(),
      followers: new Map(),
      underWay: new Map(),
      seen: -1,
    })
  }

  /** `fence.mbarrier_init` or `fence.proxy.async`. */
  fence(thread: number): void {
    const owner = this.accesses.clusterThread(thread)
    for (const barrier of this.barriers.values()) if (barrier.initThread === owner) barrier.isFenced = true
  }

  /** A barrier that a thread, or a copy for it, uses. */
  use(address: number, thread: number, site: number, byEngine: boolean): Barrier {
    const { accesses } = this
    const { findings, order } = accesses
    const at = this.offsetOf(address)
    if (address % 8 !== 0)
      findings.fail(
        'misaligned',
        'shared',
        site,
        `${findings.who(thread, site)} uses an mbarrier at shared ${this.place(address)}, which is not a multiple of 8.`,
      )
    const barrier = this.barriers.get(address >>> 0)
    if (!barrier) {
      if (accesses.ownerOf(at, 8) < 0)
        findings.fail(
          'out-of-bounds',
          'shared',
          site,
          `${findings.who(thread, site)} uses an mbarrier at shared ${this.place(address)}, outside of the shared memory of its cluster.`,
        )
      return findings.fail(
        'barrier-init',
        'shared',
        site,
        `${findings.who(thread, site)} uses the mbarrier at shared ${this.place(address)} before it was initialized: call initBarrier first, then fenceBarrierInit and a barrier.`,
      )
    }
    const init = findings.site(barrier.initSite)
    const access = order.enter(thread)
    const isRemote = barrier.owner !== accesses.rank
    if (!order.precedes(barrier.initAccess))
      findings.add('barrier-init', 'shared', site, init, () => {
        const meet = isRemote ? 'clusterBarrier()' : 'a barrier of the CTA'
        return `${findings.who(thread, site)} uses the mbarrier at shared ${this.place(address)} with no barrier behind its initialization (${nameOf(init)}): ${meet} must come between.`
      })
    else if ((byEngine || isRemote) && !barrier.isFenced)
      findings.add('barrier-init', 'shared', site, init, () => {
        const who = byEngine ? 'the copy engine' : 'another CTA'
        return `${findings.who(thread, site)} lets ${who} use an mbarrier whose initialization (${nameOf(init)}) was not followed by fenceBarrierInit().`
      })
    if (isRemote && !byEngine) accesses.visit(barrier.owner, access, site)
    return barrier
  }

  arrive(address: number, count: number, bytes: number, thread: number, site: number): void {
    const { findings, order } = this.accesses
    const barrier = this.use(address, thread, site, false)
    const state = readBarrier(this.words(), address >>> 2)
    if (state.pending < count)
      findings.fail(
        'barrier-arrivals',
        'shared',
        site,
        `${findings.who(thread, site)} arrives at the mbarrier at shared ${this.place(address)} beyond its count of ${state.expected}: the phase has had all its arrivals.`,
      )
    if (bytes < 0 || bytes > maxCount)
      findings.fail(
        'barrier-bytes',
        'shared',
        site,
        `${findings.who(thread, site)} announces ${bytes} bytes; an mbarrier takes 0 to ${maxCount}.`,
      )
    const owner = this.accesses.clusterThread(thread)
    this.arrivals.set(owner, (this.arrivals.get(owner) ?? 0) + 1)
    order.enter(thread)
    order.publish(barrier.gathered)
    if (advanceBarrier(this.words(), address >>> 2, count, -bytes)) this.complete(barrier, site)
  }

  /** A copy ended that `issue` announced. */
  land(barrier: Barrier, issued: Issued, copy: number, bytes: number): void {
    issued.count--
    this.accesses.order.endCopy(barrier.gathered, copy)
    if (advanceBarrier(this.words(), barrier.address >>> 2, 0, bytes)) this.complete(barrier, issued.site)
  }

  /** A copy begins that is to complete on the barrier, in its current phase. */
  issue(barrier: Barrier, site: number): Issued {
    const issued = barrier.underWay.get(barrier.phase) ?? { count: 0, site }
    barrier.underWay.set(barrier.phase, issued)
    issued.count++
    return issued
  }

  /** The current phase is complete; `site` did the last that it lacked. */
  private complete(barrier: Barrier, site: number): void {
    const { findings } = this.accesses
    const { passed, gathered } = barrier
    for (let i = 0; i < passed.length; i++) passed[i] = Math.max(passed[i]!, gathered[i]!)
    gathered.fill(0)
    const left = barrier.underWay.get(barrier.phase)
    barrier.underWay.delete(barrier.phase)
    barrier.phase++
    if (barrier.seen < barrier.phase - 2)
      findings.add('barrier-arrivals', 'shared', site, findings.site(barrier.initSite), () => {
        const last = nameOf(findings.site(site))
        return `The mbarrier at shared ${this.place(barrier.address)} completes a phase (${last}) before anybody has waited for the phase before it: its count (${nameOf(findings.site(barrier.initSite))}) is less than the arrivals of a phase, or a wait is missing.`
      })
    if (!left || left.count === 0) return
    findings.add('barrier-bytes', 'shared', left.site, undefined, () => {
      const copy = nameOf(findings.site(left.site))
      return `More bytes are copied (${copy}) than the phase of the mbarrier at shared ${this.place(barrier.address)} was told to expect: it completes before all of them have come.`
    })
  }

  /** Tells whether the thread must wait. */
  wait(address: number, parity: number, thread: number, site: number): boolean {
    const { accesses } = this
    const barrier = this.use(address, thread, site, false)
    if ((this.words()[address >>> 2]! & 1) === parity) return true
    accesses.order.learn(barrier.passed, accesses.rank, thread >> 5)
    barrier.seen = Math.max(barrier.seen, barrier.phase - 1)
    this.follow(barrier, thread, site)
    return false
  }

  private follow(barrier: Barrier, thread: number, site: number): void {
    const owner = this.accesses.clusterThread(thread)
    const arrivals = this.arrivals.get(owner) ?? 0
    const phase = barrier.phase - 1
    const follower = barrier.followers.get(owner)
    if (!follower) {
      barrier.followers.set(owner, { phase, arrivals, repeated: undefined })
      return
    }
    if (phase === follower.phase) {
      if (arrivals > follower.arrivals) follower.repeated ??= site
      return
    }
    if (phase > follower.phase + 1) this.reportParity(barrier, follower, owner)
    follower.phase = phase
    follower.arrivals = arrivals
    follower.repeated = undefined
  }

  /** A thread passed one phase twice and never saw the next one: it waited for the wrong parity. */
  private reportParity(barrier: Barrier, { repeated, phase }: Follower, thread: number): void {
    const { findings } = this.accesses
    if (repeated === undefined) return
    findings.add('barrier-parity', 'shared', repeated, findings.site(barrier.initSite), () => {
      const who = findings.who(thread - this.accesses.clusterThread(0), repeated)
      return `${who} waits for parity ${phase & 1} of the mbarrier at shared ${this.place(barrier.address)} a second time, which the phase before satisfies already: the parity must change with every phase.`
    })
  }

  /**
   * Nothing more will happen: who passed a phase twice and missed a later one waited for the wrong parity. Where no warp
   * can go on, passing a phase twice is reason enough.
   */
  checkParities(isStuck: boolean): void {
    for (const barrier of this.barriers.values())
      for (const [thread, follower] of barrier.followers)
        if (isStuck || barrier.phase > follower.phase + 1) this.reportParity(barrier, follower, thread)
  }

  endCluster(): void {
    this.checkParities(false)
  }
}
