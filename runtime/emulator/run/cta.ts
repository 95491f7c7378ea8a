import { finished, header, waits, windowStride } from '../translate/layout.ts'
import type { WasmMemory } from '../wasm/host.ts'
import type { ArenaLayout } from './arena.ts'
import { describeDeadlock, type WaitingWarp } from './deadlock.ts'
import type { KernelFault } from './fault.ts'

/** What running a kernel's CTAs needs to know; plain data, so that workers get it by message. */
export interface CtaPlan {
  readonly grid: readonly [number, number, number]
  readonly block: readonly [number, number, number]
  readonly layout: ArenaLayout
  /** Order of warps between barriers: a seed, or `undefined` for their own order. */
  readonly seed: number | undefined
}

/** Told about the order of events in a checked launch. Ranks are those of CTAs in their cluster. */
export interface Observer {
  /** The CTAs from `first` on begin, as many as a cluster has; `address` is the shared window of the first one. */
  beginCluster(first: number, address: number): void
  /** A warp goes on. */
  enter(rank: number, warp: number): void
  /** All threads of a CTA met. */
  barrier(rank: number): void
  arrive(key: number, rank: number, warp: number): void
  pass(key: number, rank: number, warp: number): void
  /** Between two rounds of the schedule: asynchronous copies may land. Tells whether one did; `must` asks for one. */
  land(must: boolean): boolean
  endCluster(): void
}

export type WarpFunction = (state: number, resume: number) => number

const done = -1
const ready = 0
/** Of warps that wait: the kind of wait (`waits`) plus one. */
const statusOf = (wait: number): number => wait + 1
/** Named barriers of a CTA. */
const barriers = 16
/** The key under which an observer hears of cluster barriers; named barriers have 0 to 15, per rank. */
const clusterKey = -1

/** Runs the CTAs of one launch on the calling thread: those of a cluster together, clusters one after the other. */
export class CtaRunner {
  private readonly plan: CtaPlan
  private readonly warp: WarpFunction
  private readonly words: Int32Array
  private readonly base: number
  private readonly observer: Observer | undefined
  /** Of a CTA. */
  private readonly warps: number
  private readonly threads: number
  private readonly ctas: number
  /** By warp, those of a CTA side by side. */
  private readonly resume: Int32Array
  private readonly status: Int32Array
  private readonly order: Int32Array
  /** By CTA and named barrier: threads that have come since it was complete last. */
  private readonly arrivals: Int32Array
  /** By warp: cluster barriers that it arrived at. */
  private readonly clusterArrivals: Int32Array
  private random = 1

  constructor(plan: CtaPlan, warp: WarpFunction, memory: WasmMemory, arena: number, observer?: Observer) {
    this.plan = plan
    this.warp = warp
    this.words = new Int32Array(memory.buffer)
    this.base = arena
    this.observer = observer
    const [x, y, z] = plan.block
    this.threads = x * y * z
    this.warps = Math.ceil(this.threads / 32)
    this.ctas = plan.layout.cluster
    const total = this.warps * this.ctas
    this.resume = new Int32Array(total)
    this.status = new Int32Array(total)
    this.clusterArrivals = new Int32Array(total)
    this.arrivals = new Int32Array(this.ctas * barriers)
    this.order = Int32Array.from({ length: total }, (_, i) => i)
    for (let index = 0; index < total; index++) this.prepareWarp(index)
  }

  /** The state's address as an index of words. */
  private state(index: number): number {
    const { layout } = this.plan
    return this.base + layout.states + index * layout.stateBytes
  }

  private field(index: number, offset: number): number {
    return this.words[(this.state(index) + offset) >>> 2]!
  }

  /** What stays the same for all CTAs of the launch. */
  private prepareWarp(index: number): void {
    const { words, plan } = this
    const at = this.state(index) >>> 2
    const warp = index % this.warps
    const rank = Math.floor(index / this.warps)
    words[at + (header.warp >> 2)] = warp
    words[at + (header.clusterRank >> 2)] = rank
    words[at + (header.shared >> 2)] = this.window(rank)
    words[at + (header.params >> 2)] = this.base + plan.layout.params
    for (let i = 0; i < 3; i++) words[at + (header.nctaid >> 2) + i] = plan.grid[i]!
    const [x, y] = plan.block
    for (let lane = 0; lane < 32; lane++) {
      const thread = warp * 32 + lane
      words[at + (header.tid >> 2) + lane] = thread % x
      words[at + (header.tid >> 2) + 32 + lane] = Math.floor(thread / x) % y
      words[at + (header.tid >> 2) + 64 + lane] = Math.floor(thread / (x * y))
    }
  }

  private window(rank: number): number {
    const { layout } = this.plan
    return this.base + layout.shared + rank * windowStride(layout.sharedBytes)
  }

  /** Runs the clusters that `next` hands out until it is past the last. */
  runAll(count: number, next: () => number): void {
    for (let cluster = next(); cluster < count; cluster = next()) this.run(cluster)
  }

  /** Runs the cluster of a linear index, x fastest. */
  private run(cluster: number): void {
    const { status, plan, observer, order } = this
    const first = cluster * this.ctas
    this.begin(first)
    if (plan.seed !== undefined) {
      // A cluster's schedule depends on the seed and its own number, whatever ran before it on this thread.
      this.random = Math.imul(plan.seed + first, 0x85ebca6b) | 1
      for (let index = 0; index < order.length; index++) order[index] = index
    }
    observer?.beginCluster(first, this.window(0))
    let running = order.length
    while (running > 0) {
      if (plan.seed !== undefined) this.shuffle()
      for (let i = 0; i < order.length; i++) {
        const index = order[i]!
        if (status[index] === ready) running -= Number(this.step(index))
      }
      observer?.land(false)
      if (running > 0) this.wake(running)
    }
    observer?.endCluster()
  }

  private begin(first: number): void {
    const { words, status, resume, clusterArrivals, arrivals } = this
    const [gx, gy] = this.plan.grid
    const y = Math.floor(first / gx) % gy
    const z = Math.floor(first / (gx * gy))
    for (let index = 0; index < status.length; index++) {
      const at = this.state(index) >>> 2
      const lanes = Math.min(32, this.threads - (index % this.warps) * 32)
      const live = lanes === 32 ? -1 : (1 << lanes) - 1
      words[at + (header.live >> 2)] = live
      words[at + (header.active >> 2)] = live
      words[at + (header.ctaid >> 2)] = (first % gx) + Math.floor(index / this.warps)
      words[at + (header.ctaid >> 2) + 1] = y
      words[at + (header.ctaid >> 2) + 2] = z
    }
    status.fill(ready)
    resume.fill(0)
    clusterArrivals.fill(0)
    arrivals.fill(0)
  }

  /** Runs a warp until it waits; tells whether it ended. */
  private step(index: number): boolean {
    const { status, observer } = this
    const rank = Math.floor(index / this.warps)
    const warp = index % this.warps
    for (;;) {
      observer?.enter(rank, warp)
      const next = this.warp(this.state(index), this.resume[index]!)
      if (next === finished) {
        status[index] = done
        return true
      }
      this.resume[index] = next
      const wait = this.field(index, header.wait)
      const barrier = this.field(index, header.barrier)
      if (wait === waits.barrierArrival) {
        this.arriveAtNamed(rank, warp, barrier, this.field(index, header.barrierThreads))
        continue
      }
      if (wait === waits.clusterArrival) {
        this.clusterArrivals[index]!++
        observer?.arrive(clusterKey, rank, warp)
        continue
      }
      status[index] = statusOf(wait)
      const threads = this.field(index, header.barrierThreads)
      if (wait === waits.barrier && threads !== 0) this.arriveAtNamed(rank, warp, barrier, threads)
      return false
    }
  }

  /** A warp comes to a named barrier, to wait there or not; the one that completes it lets those go on who wait. */
  private arriveAtNamed(rank: number, warp: number, barrier: number, threads: number): void {
    const { arrivals, status, observer, warps } = this
    const at = rank * barriers + barrier
    observer?.arrive(barrier, rank, warp)
    arrivals[at]! += 32
    if (arrivals[at]! < threads) return
    arrivals[at] = 0
    for (let index = rank * warps; index < (rank + 1) * warps; index++) {
      if (!this.waitsAtBarrier(index) || this.field(index, header.barrier) !== barrier) continue
      if (this.field(index, header.barrierThreads) === 0) continue
      status[index] = ready
      observer?.pass(barrier, rank, index % warps)
    }
  }

  private waitsAtBarrier(index: number): boolean {
    return this.status[index] === statusOf(waits.barrier)
  }

  /** Lets those warps go on whose barrier is complete. */
  private wake(running: number): void {
    const { observer, status } = this
    do {
      let woken = 0
      for (let rank = 0; rank < this.ctas; rank++) woken += this.openBarriers(rank)
      const arrived = this.clusterArrived()
      for (let index = 0; index < status.length; index++) {
        if (status[index] === statusOf(waits.phase)) woken += this.wakeAtPhase(index)
        else if (status[index] === statusOf(waits.cluster) && this.clusterArrivals[index]! <= arrived) {
          status[index] = ready
          observer?.pass(clusterKey, Math.floor(index / this.warps), index % this.warps)
          woken++
        } else if (status[index] === ready) woken++
      }
      if (woken > 0) return
    } while (observer?.land(true))
    throw this.deadlock(running)
  }

  private wakeAtPhase(index: number): number {
    const barrier = this.field(index, header.barrier)
    const parity = this.field(index, header.barrierThreads)
    if ((this.words[barrier >>> 2]! & 1) === parity) return 0
    this.status[index] = ready
    return 1
  }

  /** Cluster barriers that all warps of the cluster which have not ended have arrived at. */
  private clusterArrived(): number {
    let least = Number.MAX_SAFE_INTEGER
    for (let index = 0; index < this.status.length; index++)
      if (this.status[index] !== done) least = Math.min(least, this.clusterArrivals[index]!)
    return least
  }

  /** Opens a barrier of all threads of a CTA that its warps have come to; gives the number of warps that go on. */
  private openBarriers(rank: number): number {
    const { warps, status } = this
    let running = 0
    let arrived = 0
    let barrier = -1
    for (let index = rank * warps; index < (rank + 1) * warps; index++) {
      if (status[index] !== done) running++
      if (!this.waitsAtBarrier(index) || this.field(index, header.barrierThreads) !== 0) continue
      const own = this.field(index, header.barrier)
      if (barrier !== -1 && own !== barrier) return 0
      barrier = own
      arrived++
    }
    if (arrived === 0 || arrived < running) return 0
    for (let index = rank * warps; index < (rank + 1) * warps; index++)
      if (status[index] !== done) status[index] = ready
    this.observer?.barrier(rank)
    return arrived
  }

  private deadlock(running: number): KernelFault {
    const waiting: WaitingWarp[] = []
    for (let index = 0; index < this.status.length; index++) {
      if (this.status[index] === done) continue
      const rank = Math.floor(index / this.warps)
      waiting.push({
        rank,
        warp: index % this.warps,
        wait: this.status[index]! - 1,
        instruction: this.field(index, header.waitInstruction),
        barrier: this.field(index, header.barrier),
        parity: this.field(index, header.barrierThreads),
        window: this.window(rank),
      })
    }
    return describeDeadlock(waiting, running, this.ctas, this.words)
  }

  /** A new order of the warps (Fisher and Yates), from a xorshift generator. */
  private shuffle(): void {
    const { order } = this
    for (let i = order.length - 1; i > 0; i--) {
      this.random ^= this.random << 13
      this.random ^= this.random >>> 17
      this.random ^= this.random << 5
      const j = (this.random >>> 0) % (i + 1)
      const swap = order[i]!
      order[i] = order[j]!
      order[j] = swap
    }
  }
}
