/** Someone who reads shared memory asynchronously. */
export interface Hold {
  readonly owner: number
  readonly site: number
}

const chunkBytes = 16

/**
 * What asynchronous operations still read of shared memory, in chunks of 16 bytes: nobody may write there until they
 * have finished.
 */
export class AsyncReaders {
  /** By chunk: how many hold it, and who did last. */
  private counts = new Int32Array(1024)
  private readonly last = new Map<number, Hold>()
  private readonly chunks = new Map<number, number[]>()

  clear(): void {
    this.counts.fill(0)
    this.last.clear()
    this.chunks.clear()
  }

  /** `owner`, any integer, reads these whole chunks from now on, at a site. */
  hold(owner: number, address: number, bytes: number, site: number): void {
    const held = this.chunks.get(owner) ?? []
    this.chunks.set(owner, held)
    const hold = { owner, site }
    for (let chunk = address / chunkBytes; chunk < (address + bytes) / chunkBytes; chunk++) {
      if (chunk >= this.counts.length) {
        const grown = new Int32Array(Math.max(chunk + 1, 2 * this.counts.length))
        grown.set(this.counts)
        this.counts = grown
      }
      this.counts[chunk]!++
      this.last.set(chunk, hold)
      held.push(chunk)
    }
  }

  /** The owner has read all that it held. */
  release(owner: number): void {
    for (const chunk of this.chunks.get(owner) ?? []) this.counts[chunk]!--
    this.chunks.delete(owner)
  }

  /** A reader of one of these bytes that has not finished. */
  holding(address: number, bytes: number): Hold | undefined {
    if (this.chunks.size === 0) return undefined
    const first = Math.floor(address / chunkBytes)
    for (let chunk = first; chunk * chunkBytes < address + bytes; chunk++)
      if ((this.counts[chunk] ?? 0) > 0) return this.last.get(chunk)
    return undefined
  }
}
