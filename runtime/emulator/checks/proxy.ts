/**
 * Which words of shared memory hold what a thread stored and the asynchronous proxy (`wgmma`, bulk copies) may not see
 * yet: the thread must have executed `fence.proxy.async` since.
 */
export class ProxyOrder {
  /** By word: 1 + the thread that stored last, 0 when nobody did or the asynchronous proxy itself. */
  private writers = new Int32Array(1024)
  /** By word: how many fences that thread had executed then. */
  private times = new Int32Array(1024)
  private fences = new Int32Array(1024)

  clear(): void {
    this.writers.fill(0)
    this.fences.fill(0)
  }

  /** A thread stored there: by `st`, `stmatrix`, an atomic or `cp.async`. */
  wrote(address: number, bytes: number, thread: number): void {
    const end = (address + bytes + 3) >> 2
    if (end > this.writers.length) {
      this.writers = grown(this.writers, end)
      this.times = grown(this.times, end)
    }
    this.writers.fill(thread + 1, address >> 2, end)
    this.times.fill(this.fencesOf(thread), address >> 2, end)
  }

  /** The asynchronous proxy stored there. */
  wroteAsync(address: number, bytes: number): void {
    this.writers.fill(0, address >> 2, (address + bytes + 3) >> 2)
  }

  /** `fence.proxy.async` by a thread. */
  fence(thread: number): void {
    const count = this.fencesOf(thread)
    if (thread >= this.fences.length) this.fences = grown(this.fences, thread + 1)
    this.fences[thread] = count + 1
  }

  /** A thread whose store to one of these bytes the asynchronous proxy may not see. */
  unfenced(address: number, bytes: number): number | undefined {
    for (let word = address >> 2; word < (address + bytes + 3) >> 2; word++) {
      const thread = (this.writers[word] ?? 0) - 1
      if (thread >= 0 && this.times[word] === this.fencesOf(thread)) return thread
    }
    return undefined
  }

  private fencesOf(thread: number): number {
    return this.fences[thread] ?? 0
  }
}

function grown(array: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  const result = new Int32Array(Math.max(length, 2 * array.length))
  result.set(array)
  return result
}
