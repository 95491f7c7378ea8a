/** The merge table of a byte-pair encoding: pairs of adjacent tokens, each with its rank and what it becomes. */
export class Merges {
  /** The token that a merge gives, by rank; lower ranks go first. */
  readonly results: Int32Array
  /** Open addressing: a slot holds left, right, rank; a `left` of -1 is free. */
  readonly #slots: Int32Array
  readonly #mask: number

  /** Of `results.length` merges; `set` gives each its pair. */
  constructor(results: Int32Array) {
    this.results = results
    const size = 2 ** Math.ceil(Math.log2(2 * results.length + 2))
    this.#slots = new Int32Array(3 * size).fill(-1)
    this.#mask = size - 1
  }

  /** Gives a rank its pair of tokens. A pair that is listed twice has the later rank. */
  set(rank: number, left: number, right: number): void {
    const slots = this.#slots
    let at = hash(left, right) & this.#mask
    while (slots[3 * at] !== -1 && (slots[3 * at] !== left || slots[3 * at + 1] !== right))
      at = (at + 1) & this.#mask
    slots[3 * at] = left
    slots[3 * at + 1] = right
    slots[3 * at + 2] = rank
  }

  /** The rank of a pair's merge, or -1. */
  rankOf(left: number, right: number): number {
    const slots = this.#slots
    let at = hash(left, right) & this.#mask
    for (;;) {
      const key = slots[3 * at]!
      if (key === -1) return -1
      if (key === left && slots[3 * at + 1] === right) return slots[3 * at + 2]!
      at = (at + 1) & this.#mask
    }
  }
}

function hash(left: number, right: number): number {
  const mixed = Math.imul(left, 0x9e3779b1) + Math.imul(right, 0x85ebca6b)
  return mixed ^ (mixed >>> 15)
}
