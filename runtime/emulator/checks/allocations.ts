export interface Allocation {
  readonly start: number
  readonly end: number
}

/** The live allocations of a device, and the last ones that were freed, by address. */
export class AllocationMap {
  /** Sorted by start; they never overlap. */
  private readonly live: Allocation[] = []
  private readonly freed: Allocation[] = []
  private static readonly remembered = 256

  add(start: number, bytes: number): void {
    this.live.splice(this.firstAfter(start), 0, { start, end: start + bytes })
  }

  /** Returns the range that was freed, or undefined if no allocation starts there. */
  remove(start: number): Allocation | undefined {
    const index = this.firstAfter(start) - 1
    if (this.live[index]?.start !== start) return undefined
    const [allocation] = this.live.splice(index, 1)
    this.freed.push(allocation!)
    if (this.freed.length > AllocationMap.remembered) this.freed.shift()
    return allocation
  }

  /** The live allocation that holds the first byte at `address`. */
  find(address: number): Allocation | undefined {
    const candidate = this.live[this.firstAfter(address) - 1]
    return candidate && address < candidate.end ? candidate : undefined
  }

  /** The range freed last that held `address`. */
  findFreed(address: number): Allocation | undefined {
    return this.freed.findLast(({ start, end }) => start <= address && address < end)
  }

  /** The live allocation nearest to an address that none holds. */
  nearest(address: number): Allocation | undefined {
    const index = this.firstAfter(address)
    const below = this.live[index - 1]
    const above = this.live[index]
    if (!below || !above) return below ?? above
    return address - below.end < above.start - address ? below : above
  }

  private firstAfter(address: number): number {
    let low = 0
    let high = this.live.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.live[middle]!.start <= address) low = middle + 1
      else high = middle
    }
    return low
  }
}
