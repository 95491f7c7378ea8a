/**
 * Which accesses of a launch happen before which: vector clocks over warps.
 *
 * The life of a warp is cut into segments: a new one starts whenever the warp synchronizes. An access is named by its
 * segment and lane, as one integer. Within a segment only accesses of one lane are ordered; the segments of one warp are
 * ordered; segments of two warps of a CTA are ordered if a chain of barriers leads from one to the other; those of two
 * CTAs if the first released (fence, then atomic) and the second acquired (atomic on the same address, then fence).
 */
export class Order {
  /** Accesses with smaller names belong to earlier launches, or, for shared memory, to earlier CTAs. */
  launchStart = 32
  ctaStart = 32

  private warps = 1
  private cta = 0
  private nextSegment = 1
  private firstSegment = 1
  private ctaOf = new Int32Array(1024)
  private warpOf = new Int32Array(1024)
  private clockOf = new Int32Array(1024)

  /** By warp: the segment it is in, and that segment's number among the warp's. */
  private current = new Int32Array(1)
  private clock = new Int32Array(1)
  /** `known[w * warps + v]`: the last segment of warp v that happened before what warp w does now. */
  private known = new Int32Array(1)
  private barriers = new Map<number, Int32Array>()

  /** What fences of the running CTA made ready for release, what it acquired from other CTAs, where it might acquire. */
  private released: Int32Array | undefined
  private acquired = new Map<number, Int32Array>()
  private readonly touched = new Set<number>()
  /** By address of an atomic: the clocks of CTAs that were released through it. */
  private readonly published = new Map<number, Map<number, Int32Array>>()

  private warp = 0
  private segment = 0
  private access = 0

  /** Returns true when access names start anew, and remembered ones must be forgotten. */
  beginLaunch(threads: number): boolean {
    this.warps = Math.ceil(threads / 32)
    // Names are 32-bit; a launch of the largest grids takes some millions of segments.
    const restart = this.nextSegment > 1 << 24
    if (restart) this.nextSegment = 1
    this.firstSegment = this.nextSegment
    this.launchStart = this.nextSegment * 32
    this.published.clear()
    return restart
  }

  beginCta(cta: number): void {
    this.cta = cta
    this.ctaStart = this.nextSegment * 32
    this.current = new Int32Array(this.warps)
    this.clock = new Int32Array(this.warps)
    this.known = new Int32Array(this.warps * this.warps)
    this.barriers.clear()
    this.released = undefined
    this.acquired = new Map()
    this.touched.clear()
    for (let warp = 0; warp < this.warps; warp++) this.startSegment(warp)
  }

  private startSegment(warp: number): void {
    const index = this.nextSegment - this.firstSegment
    if (index === this.ctaOf.length) {
      this.ctaOf = doubled(this.ctaOf)
      this.warpOf = doubled(this.warpOf)
      this.clockOf = doubled(this.clockOf)
    }
    this.clock[warp]!++
    this.ctaOf[index] = this.cta
    this.warpOf[index] = warp
    this.clockOf[index] = this.clock[warp]!
    this.current[warp] = this.nextSegment++
  }

  /** The name of what `thread` does now; `precedes` then compares with it. Names are never 0. */
  enter(thread: number): number {
    this.warp = thread >> 5
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
    const warp = this.warpOf[index]!
    const cta = this.ctaOf[index]!
    if (cta === this.cta)
      return warp === this.warp || this.clockOf[index]! <= this.known[this.warp * this.warps + warp]!
    const clocks = this.acquired.get(cta)
    return clocks !== undefined && this.clockOf[index]! <= clocks[warp]!
  }

  /** Who made an access of this launch. */
  describe(access: number): { readonly cta: number; readonly thread: number } {
    const index = (access >>> 5) - this.firstSegment
    return { cta: this.ctaOf[index]!, thread: this.warpOf[index]! * 32 + (access & 31) }
  }

  /** All warps of the CTA meet. */
  barrier(): void {
    for (let warp = 0; warp < this.warps; warp++) this.known.set(this.clock, warp * this.warps)
    for (let warp = 0; warp < this.warps; warp++) this.startSegment(warp)
  }

  warpSync(warp: number): void {
    this.startSegment(warp)
  }

  arrive(key: number, warp: number): void {
    const clocks = this.barriers.get(key) ?? new Int32Array(this.warps)
    join(clocks, this.clocksOf(warp))
    this.barriers.set(key, clocks)
    this.startSegment(warp)
  }

  pass(key: number, warp: number): void {
    const clocks = this.barriers.get(key)
    if (clocks) join(this.known.subarray(warp * this.warps, (warp + 1) * this.warps), clocks)
    this.startSegment(warp)
  }

  /** A fence of GPU scope by the thread that entered last. */
  fence(): void {
    this.released ??= new Int32Array(this.warps)
    join(this.released, this.clocksOf(this.warp))
    for (const address of this.touched)
      for (const [cta, clocks] of this.published.get(address) ?? []) joinInto(this.acquired, cta, clocks)
    this.touched.clear()
    this.startSegment(this.warp)
  }

  /** An atomic on global memory by the thread that entered last. */
  atomic(address: number): void {
    this.touched.add(address)
    if (!this.released) return
    const published = this.published.get(address) ?? new Map<number, Int32Array>()
    this.published.set(address, published)
    joinInto(published, this.cta, this.released)
    for (const [cta, clocks] of this.acquired) joinInto(published, cta, clocks)
  }

  /** What happened before what the warp does now, itself included. */
  private clocksOf(warp: number): Int32Array {
    const clocks = this.known.slice(warp * this.warps, (warp + 1) * this.warps)
    clocks[warp] = this.clock[warp]!
    return clocks
  }
}

function join(into: Int32Array, from: Int32Array): void {
  for (let i = 0; i < into.length; i++) if (from[i]! > into[i]!) into[i] = from[i]!
}

function joinInto(clocksByCta: Map<number, Int32Array>, cta: number, clocks: Int32Array): void {
  const own = clocksByCta.get(cta)
  if (own) join(own, clocks)
  else clocksByCta.set(cta, clocks.slice())
}

function doubled(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(array.length * 2)
  grown.set(array)
  return grown
}
