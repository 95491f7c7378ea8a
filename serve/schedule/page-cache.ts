import { type PrefixNode, PrefixTree, partOfRun, type TokenRun } from './prefix-tree.ts'

const nowhere = -1

/**
 * The pages of the key/value cache. A page is free, or held by one or more sequences, or idle: nobody holds it, and it
 * still has the keys and values of a known prefix. Idle pages go when pages are wanted, those first that were given back
 * first; a prefix is always given back after what follows it, so what goes first has nothing after it.
 */
export class PageCache {
  readonly pages: number
  readonly pageTokens: number
  readonly tree = new PrefixTree()
  readonly #references: Int32Array
  readonly #nodes: (PrefixNode | undefined)[]
  readonly #free: number[]
  readonly #idle: IdlePages

  constructor(pages: number, pageTokens: number) {
    this.pages = pages
    this.pageTokens = pageTokens
    this.#references = new Int32Array(pages)
    this.#nodes = new Array<PrefixNode | undefined>(pages).fill(undefined)
    this.#free = Array.from({ length: pages }, (_, i) => pages - 1 - i)
    this.#idle = new IdlePages(pages)
  }

  /** Pages that can be taken. */
  get available(): number {
    return this.#free.length + this.#idle.size
  }

  /** Pages that nobody holds and that a prefix may find again. */
  get idle(): number {
    return this.#idle.size
  }

  /** How many sequences hold a page. */
  referencesOf(page: number): number {
    return this.#references[page]!
  }

  /** The prefix that a page has, if it is known. */
  nodeOf(page: number): PrefixNode | undefined {
    return this.#nodes[page]
  }

  /** Takes a page with nothing of use in it; `undefined` when all are held. */
  take(): number | undefined {
    let page = this.#free.pop()
    if (page === undefined) {
      page = this.#idle.takeOldest()
      if (page === undefined) return undefined
      this.#forget(this.#nodes[page]!)
    }
    this.#references[page] = 1
    return page
  }

  /**
   * Holds the pages of the longest known prefix of `run`, of `most` pages at most. Returns the nodes, from the first page on.
   */
  match(run: TokenRun, most: number): PrefixNode[] {
    const matched: PrefixNode[] = []
    let node = this.tree.root
    while (matched.length < most) {
      const next = this.#find(node, run, matched.length)
      if (next === undefined) break
      this.#hold(next.page)
      matched.push(next)
      node = next
    }
    return matched
  }

  /** How many tokens of a prompt, from the first on, are in pages that are known. */
  knownTokens(prompt: Int32Array): number {
    const run = { ids: prompt, ofPrompt: prompt.length }
    const full = Math.floor(prompt.length / this.pageTokens)
    let node = this.tree.root
    for (let page = 0; page < full; page++) {
      const next = this.#find(node, run, page)
      if (next === undefined) return page * this.pageTokens
      node = next
    }
    return full * this.pageTokens
  }

  /**
   * Makes a full page known that the caller holds, as the continuation of `parent`, which it holds too. When the prefix is
   * known already, the page is given back and that of the prefix held in its place. Returns the node.
   */
  register(page: number, parent: PrefixNode, run: TokenRun): PrefixNode {
    const known = this.tree.find(parent, run)
    if (known === undefined) {
      const node = this.tree.add(parent, run, page)
      this.#nodes[page] = node
      return node
    }
    this.#hold(known.page)
    this.#giveBackOne(page)
    return known
  }

  /**
   * Gives back a sequence's pages, which are in the order of its tokens. Nobody will look for what is in those from `end` on:
   * they are free unless others have them, or what follows them.
   */
  giveBack(pages: readonly number[], end = pages.length): void {
    for (let i = pages.length - 1; i >= 0; i--) this.#giveBackOne(pages[i]!, i < end)
  }

  /** Free pages and idle ones, the oldest first: for `audit`. */
  contents(): { free: readonly number[]; idle: readonly number[] } {
    return { free: [...this.#free], idle: [...this.#idle] }
  }

  /** The node of `parent` for the page of a run that is so many pages from its first. */
  #find(parent: PrefixNode, run: TokenRun, page: number): PrefixNode | undefined {
    const start = page * this.pageTokens
    return this.tree.find(parent, partOfRun(run, start, start + this.pageTokens))
  }

  #hold(page: number): void {
    if (this.#references[page]++ === 0) this.#idle.remove(page)
  }

  #giveBackOne(page: number, isSought = true): void {
    if (--this.#references[page]! > 0) return
    const node = this.#nodes[page]
    if (node && (isSought || node.children.size > 0)) this.#idle.append(page)
    else {
      if (node) this.#forget(node)
      this.#free.push(page)
    }
  }

  #forget(node: PrefixNode): void {
    this.tree.remove(node)
    this.#nodes[node.page] = undefined
  }
}

/** A list of pages in the order in which they were appended, with removal from anywhere. */
class IdlePages {
  /** Neighbours by page; the entry after the last page is the head of the ring. */
  readonly #next: Int32Array
  readonly #previous: Int32Array
  readonly #head: number
  size = 0

  constructor(pages: number) {
    this.#head = pages
    this.#next = new Int32Array(pages + 1).fill(nowhere)
    this.#previous = new Int32Array(pages + 1).fill(nowhere)
    this.#next[pages] = pages
    this.#previous[pages] = pages
  }

  append(page: number): void {
    const last = this.#previous[this.#head]!
    this.#next[last] = page
    this.#previous[page] = last
    this.#next[page] = this.#head
    this.#previous[this.#head] = page
    this.size++
  }

  remove(page: number): void {
    const before = this.#previous[page]!
    const after = this.#next[page]!
    this.#next[before] = after
    this.#previous[after] = before
    this.#next[page] = nowhere
    this.#previous[page] = nowhere
    this.size--
  }

  takeOldest(): number | undefined {
    const oldest = this.#next[this.#head]!
    if (oldest === this.#head) return undefined
    this.remove(oldest)
    return oldest
  }

  *[Symbol.iterator](): Iterator<number> {
    for (let page = this.#next[this.#head]!; page !== this.#head; page = this.#next[page]!) yield page
  }
}
