/** The pages of the key/value cache that are free, and those that sequences hold. */
export class PagePool {
  readonly size: number
  readonly #free: number[]

  constructor(size: number) {
    this.size = size
    this.#free = Array.from({ length: size }, (_, i) => size - 1 - i)
  }

  get available(): number {
    return this.#free.length
  }

  /** Takes `count` pages, or none at all when there are fewer. */
  take(count: number): number[] | undefined {
    if (count > this.#free.length) return undefined
    return this.#free.splice(this.#free.length - count, count).reverse()
  }

  giveBack(pages: readonly number[]): void {
    for (const page of pages) this.#free.push(page)
  }
}
