/**
 * Which accesses of a launch happen before which: vector clocks over warps.
 *
 * The life of a warp is cut into segments: a new one starts whenever the warp synchronizes. An access is named by its
 * segment and lane, as one integer. Within a segment only accesses of one lane are ordered; the segments of one warp are
 * ordered; segments of two warps of a cluster are ordered if a chain of barriers leads from one to the other; those of two
 * clusters if the first released (fence, then atomic) and the second acquired (atomic on the same address, then fence).
 *
 * Asynchronous copies act as warps of their own behind those of the cluster: *engines*, one for each barrier that they
 * complete on, so that who waited for one barrier knows its copies and no others.
 */
export class Order {
  /** Accesses with smaller names belong to earlier launches, or, for shared memory, to earlier CTAs. */
  launchStart = 32
  ctaStart = 32

  /** Warps of a CTA, and the actors of a cluster: its warps, then the engines. */
  private warps = 1
  private actors = 1
  private engines = 0
  private firstCta = 0
  private rank = 0
  private nextSegment = 1
  private firstSegment = 1
  /** By segment: the first CTA of its cluster, the actor, and its number among the actor's. */
  private clusterOf = new Int32Array(1024)
  private actorOf = new Int32Array(1024)
  private clockOf = new Int32Array(1024)

  /** By actor: the segment it is in, and that segment's number among the actor's. */
  private current = new Int32Array(1)
  private clock = new Int32Array(1)
  /** `known[w * actors + v]`: the last segment of actor v that happened before what warp w does now. */
  private known = new Int32Array(1)
  private barriers = new Map<number, Int32Array>()

  /** What fences of the running cluster made ready for release, what it acquired from other clusters, where it might acquire. */
  private released: Int32Array | undefined
  private acquired = new Map<number, Int32Array>()
  private readonly touched = new Set<number>()
  /** By address of an atomic: the clocks of clusters that were released through it. */
  private readonly published = new Map<number, Map<number, Int32Array>>()

  private warp = 0
  private segment = 0
  private access = 0

  /** Returns true when access names start anew, and remembered ones must be forgotten. */
  beginLaunch(threads: number, ctas: number, engines: number): boolean {
    this.warps = Math.ceil(threads / 32)
    this.engines = engines
    this.actors = this.warps * ctas + engines
    // Names are 32-bit; a launch of the largest grids takes some millions of segments.
    const restart = this.nextSegment > 1 << 24
    if (restart) this.nextSegment = 1
    this.firstSegment = this.nextSegment
    this.launchStart = this.nextSegment * 32
    this.published.clear()
    return restart
  }

  beginCluster(firstCta: number): void {
    this.firstCta = firstCta
    this.rank = 0
    this.ctaStart = this.nextSegment * 32
    this.current = new Int32Array(this.actors)
    this.clock = new Int32Array(this.actors)
    this.known = new Int32Array(this.actors * this.actors)
    this.barriers.clear()
    this.released = undefined
    this.acquired = new Map()
    this.touched.clear()
    for (let actor = 0; actor < this.actors; actor++) this.startSegment(actor)
  }

  /** Whose threads the calls that follow speak of. */
  enterCta(rank: number): void {
    this.rank = rank
  }

  private actor(rank: number, warp: number): number {
    return rank * this.warps + warp
  }

  private startSegment(actor: number): void {
    const index = this.nextSegment - this.firstSegment
    if (index === this.clusterOf.length) {
      this.clusterOf = doubled(this.clusterOf)
      this.actorOf = doubled(this.actorOf)
      this.clockOf = doubled(this.clockOf)
    }
    this.clock[actor]!++
    this.clusterOf[index] = this.firstCta
    this.actorOf[index] = actor
    this.clockOf[index] = this.clock[actor]!
    this.current[actor] = this.nextSegment++
  }

  /** The name of what `thread` does now; `precedes` then compares with it. Names are never 0. */
  enter(thread: number): number {
    this.warp = this.actor(this.rank, thread >> 5)
    this.segment = this.current[this.warp]!
    this.access = this.segment * 32 + (thread & 31)
    return this.access
  }

  /** Whether `earlier` (of this launch) happened before the access entered last. */
  precedes(earlier: number): boolean {
    if (earlier === this.access) return true
    const segment = earlier >>> 5
    if (segment === this.segment) return false
    const index = segment - this.firstSegment
    const actor = this.actorOf[index]!
    const cluster = this.clusterOf[index]!
    if (cluster === this.firstCta)
      return actor === this.warp || this.clockOf[index]! <= this.known[this.warp * this.actors + actor]!
    const clocks = this.acquired.get(cluster)
    return clocks !== undefined && this.clockOf[index]! <= clocks[actor]!
  }

  /** Who made an access of this launch; no thread where the copy engine did. */
  describe(access: number): { readonly cta: number; readonly thread: number | undefined } {
    const index = (access >>> 5) - this.firstSegment
    const actor = this.actorOf[index]!
    const rank = Math.floor(actor / this.warps)
    const isEngine = actor >= this.engineBase
    const thread = isEngine ? undefined : (actor % this.warps) * 32 + (access & 31)
    return { cta: this.clusterOf[index]! + (isEngine ? 0 : rank), thread }
  }

  /** All warps of a CTA meet. */
  barrier(rank: number): void {
    const first = this.actor(rank, 0)
    const met = new Int32Array(this.actors)
    for (let warp = 0; warp < this.warps; warp++) join(met, this.clocksOf(first + warp))
    for (let warp = 0; warp < this.warps; warp++) {
      this.known.set(met, (first + warp) * this.actors)
      this.startSegment(first + warp)
    }
  }

  warpSync(warp: number): void {
    this.startSegment(this.actor(this.rank, warp))
  }

  arrive(key: number, rank: number, warp: number): void {
    const actor = this.actor(rank, warp)
    const clocks = this.barriers.get(key) ?? new Int32Array(this.actors)
    join(clocks, this.clocksOf(actor))
    this.barriers.set(key, clocks)
    this.startSegment(actor)
  }

  pass(key: number, rank: number, warp: number): void {
    const clocks = this.barriers.get(key)
    if (clocks) this.learn(clocks, rank, warp)
    else this.startSegment(this.actor(rank, warp))
  }

  /** A warp learns of what others did. */
  learn(clocks: Int32Array, rank: number, warp: number): void {
    const actor = this.actor(rank, warp)
    join(this.known.subarray(actor * this.actors, (actor + 1) * this.actors), clocks)
    this.startSegment(actor)
  }

  /** Adds what happened before the arrival of the thread that entered last to what a barrier passes on. */
  publish(clocks: Int32Array): void {
    join(clocks, this.clocksOf(this.warp))
    this.startSegment(this.warp)
  }

  /** Room for the clocks that a barrier passes on. */
  noClocks(): Int32Array {
    return new Int32Array(this.actors)
  }

  private get engineBase(): number {
    return this.actors - this.engines
  }

  /** The name of what an engine does now: that of a barrier, or -1 for the one of stores. */
  startCopy(engine: number): number {
    const actor = engine < 0 ? this.actors - 1 : this.engineBase + (engine % (this.engines - 1))
    this.startSegment(actor)
    return this.current[actor]! * 32
  }

  /** The thread that entered last has waited for a copy. */
  awaitCopy(copy: number): void {
    this.endCopy(this.known.subarray(this.warp * this.actors, (this.warp + 1) * this.actors), copy)
  }

  /** A copy that `startCopy` named has ended: who learns these clocks knows of it. */
  endCopy(clocks: Int32Array, copy: number): void {
    const index = (copy >>> 5) - this.firstSegment
    const actor = this.actorOf[index]!
    clocks[actor] = Math.max(clocks[actor]!, this.clockOf[index]!)
  }

  /** Whether the thread that entered last knows of anything that a CTA of its cluster has done. */
  knowsOf(rank: number): boolean {
    for (let warp = 0; warp < this.warps; warp++)
      if (this.known[this.warp * this.actors + this.actor(rank, warp)]! > 0) return true
    return false
  }

  /** Whether some warp of a CTA knows of what an access name stands for. */
  isKnownTo(rank: number, access: number): boolean {
    const index = (access >>> 5) - this.firstSegment
    const actor = this.actorOf[index]!
    if (Math.floor(actor / this.warps) === rank) return true
    for (let warp = 0; warp < this.warps; warp++)
      if (this.known[this.actor(rank, warp) * this.actors + actor]! >= this.clockOf[index]!) return true
    return false
  }

  /** A fence of GPU scope by the thread that entered last. */
  fence(): void {
    this.released ??= this.noClocks()
    join(this.released, this.clocksOf(this.warp))
    for (const address of this.touched)
      for (const [cluster, clocks] of this.published.get(address) ?? [])
        joinInto(this.acquired, cluster, clocks)
    this.touched.clear()
    this.startSegment(this.warp)
  }

  /** An atomic on global memory by the thread that entered last. */
  atomic(address: number): void {
    this.touched.add(address)
    if (!this.released) return
    const published = this.published.get(address) ?? new Map<number, Int32Array>()
    this.published.set(address, published)
    joinInto(published, this.firstCta, this.released)
    for (const [cluster, clocks] of this.acquired) joinInto(published, cluster, clocks)
  }

  /** What happened before what the warp does now, itself included. */
  private clocksOf(actor: number): Int32Array {
    const clocks = this.known.slice(actor * this.actors, (actor + 1) * this.actors)
    clocks[actor] = this.clock[actor]!
    return clocks
  }
}

function join(into: Int32Array, from: Int32Array): void {
  for (let i = 0; i < into.length; i++) if (from[i]! > into[i]!) into[i] = from[i]!
}

function joinInto(byCluster: Map<number, Int32Array>, cluster: number, clocks: Int32Array): void {
  const own = byCluster.get(cluster)
  if (own) join(own, clocks)
  else byCluster.set(cluster, clocks.slice())
}

function doubled(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(array.length * 2)
  grown.set(array)
  return grown
}
