import { compareRank, type ScheduledSequence } from './sequence.ts'

/** Sequences in the order of their rank. */
export class Ranked<S extends ScheduledSequence> {
  readonly #items: S[] = []

  get size(): number {
    return this.#items.length
  }

  get first(): S | undefined {
    return this.#items[0]
  }

  get last(): S | undefined {
    return this.#items.at(-1)
  }

  /** In the order of rank; not to be changed while it is read. */
  get items(): readonly S[] {
    return this.#items
  }

  add(sequence: S): void {
    this.#items.splice(this.#placeOf(sequence), 0, sequence)
  }

  has(sequence: S): boolean {
    return this.#items[this.#placeOf(sequence)] === sequence
  }

  /** Takes a sequence out; returns whether it was there. */
  remove(sequence: S): boolean {
    const place = this.#placeOf(sequence)
    if (this.#items[place] !== sequence) return false
    this.#items.splice(place, 1)
    return true
  }

  /** Where a sequence is or would be. */
  #placeOf(sequence: S): number {
    let low = 0
    let high = this.#items.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compareRank(this.#items[middle]!, sequence) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}
