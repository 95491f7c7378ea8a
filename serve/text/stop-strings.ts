import { TextError } from './error.ts'

/** What a piece of text becomes once stop strings have been looked for. */
export interface StopResult {
  /** Text that is certain to stand before any stop string. */
  readonly text: string
  /** The stop string that ended the text; it and what follows it are left out. */
  readonly stop: string | undefined
}

/** One node of the tree of stop strings: a text that begins at least one of them. */
interface Node {
  readonly depth: number
  readonly next: Map<number, Node>
  /** The node of the longest proper end of this text that begins a stop string too. */
  fallback: Node | undefined
  /** The longest stop string that this text ends with. */
  stop: string | undefined
}

/** Stop strings, ready to be looked for in any number of texts (Aho-Corasick). */
export class StopStrings {
  readonly #root: Node

  /** Throws `TextError` for a string that is empty or has half a character. */
  constructor(stops: readonly string[]) {
    this.#root = { depth: 0, next: new Map(), fallback: undefined, stop: undefined }
    for (const stop of stops) {
      if (stop === '') throw new TextError('a stop string is empty; leave it out')
      if (/\p{Surrogate}/u.test(stop))
        throw new TextError('a stop string has half a surrogate pair; send whole characters')
      this.#add(stop)
    }
    this.#link()
  }

  /** Begins a text. */
  matcher(): StopMatcher {
    return new StopMatcher(this.#root)
  }

  #add(stop: string): void {
    let node = this.#root
    for (let i = 0; i < stop.length; i++) {
      const unit = stop.charCodeAt(i)
      let child = node.next.get(unit)
      if (child === undefined) {
        child = { depth: i + 1, next: new Map(), fallback: undefined, stop: undefined }
        node.next.set(unit, child)
      }
      node = child
    }
    node.stop = stop
  }

  /** Fallbacks lead to shorter texts, so nodes are linked in the order of their length. */
  #link(): void {
    const queue = [this.#root]
    for (const node of queue)
      for (const [unit, child] of node.next) {
        child.fallback = step(node.fallback, unit) ?? this.#root
        child.stop ??= child.fallback.stop
        queue.push(child)
      }
  }
}

/** The node after one more code unit, from the longest end that can go on with it. */
function step(from: Node | undefined, unit: number): Node | undefined {
  for (let node = from; node !== undefined; node = node.fallback) {
    const child = node.next.get(unit)
    if (child !== undefined) return child
  }
  return undefined
}

/**
 * Looks for stop strings in a text that comes in pieces; what it gives does not depend on where the pieces end. The stop
 * string that ends first counts, and of those that end together the longest. Pieces must hold whole characters.
 */
export class StopMatcher {
  readonly #root: Node
  #node: Node
  /** The end of the text that may be the beginning of a stop string. */
  #held = ''

  constructor(root: Node) {
    this.#root = root
    this.#node = root
  }

  /** Takes the next piece. After a stop string was found there is nothing more to push. */
  push(piece: string): StopResult {
    const text = this.#held + piece
    for (let i = this.#held.length; i < text.length; i++) {
      this.#node = step(this.#node, text.charCodeAt(i)) ?? this.#root
      const { stop } = this.#node
      if (stop === undefined) continue
      this.#held = ''
      return { text: text.slice(0, i + 1 - stop.length), stop }
    }
    const certain = text.length - this.#node.depth
    this.#held = text.slice(certain)
    return { text: text.slice(0, certain), stop: undefined }
  }

  /** The text that was held back and turned out to be no stop string. */
  end(): string {
    const held = this.#held
    this.#held = ''
    return held
  }
}
