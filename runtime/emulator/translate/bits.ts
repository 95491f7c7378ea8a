/** A set of small integers. */
export class BitSet {
  readonly words: Uint32Array

  constructor(size: number) {
    this.words = new Uint32Array((size + 31) >>> 5)
  }
  has(index: number): boolean {
    return ((this.words[index >>> 5]! >>> (index & 31)) & 1) !== 0
  }
  add(index: number): void {
    this.words[index >>> 5]! |= 1 << (index & 31)
  }
  delete(index: number): void {
    this.words[index >>> 5]! &= ~(1 << (index & 31))
  }
  copy(): BitSet {
    const set = new BitSet(this.words.length * 32)
    set.words.set(this.words)
    return set
  }
  /** Adds every member of `other`; tells whether that changed anything. */
  addAll(other: BitSet): boolean {
    let changed = false
    for (let i = 0; i < this.words.length; i++) {
      const before = this.words[i]!
      this.words[i]! |= other.words[i]!
      changed ||= this.words[i] !== before
    }
    return changed
  }
  *[Symbol.iterator](): Generator<number> {
    for (let i = 0; i < this.words.length; i++)
      for (let word = this.words[i]!; word !== 0; word &= word - 1)
        yield i * 32 + 31 - Math.clz32(word & -word)
  }
}
