/**
 * Tokens of a sequence that follow each other: some of its prompt, then some that were generated. Keys and values of a token
 * differ between the two, for a prompt is attended for by other arithmetic.
 */
export interface TokenRun {
  readonly ids: Int32Array
  /** How many of them are of the prompt. */
  readonly ofPrompt: number
}

/** The tokens of a run from `start` to `end`. */
export const partOfRun = ({ ids, ofPrompt }: TokenRun, start: number, end: number): TokenRun => ({
  ids: ids.subarray(start, end),
  ofPrompt: Math.min(Math.max(ofPrompt - start, 0), end - start),
})

/** A page's worth of tokens after all that stand before it: what the page with its keys and values depends on. */
export interface PrefixNode {
  readonly parent: PrefixNode | undefined
  /** Its run, as a key of its parent's `children`. */
  readonly key: string
  readonly children: Map<string, PrefixNode>
  /** The page that holds its keys and values; -1 for the root. */
  readonly page: number
}

/**
 * The prefixes whose pages are known, by their tokens and by which of them were generated. Both are compared in full, so that
 * two prefixes are never taken for one another, as could happen with a hash of them alone.
 */
export class PrefixTree {
  readonly root: PrefixNode = { parent: undefined, key: '', children: new Map(), page: -1 }

  /** The node of `parent` for this run, if there is one. */
  find(parent: PrefixNode, run: TokenRun): PrefixNode | undefined {
    return parent.children.size === 0 ? undefined : parent.children.get(keyOf(run))
  }

  add(parent: PrefixNode, run: TokenRun, page: number): PrefixNode {
    const node: PrefixNode = { parent, key: keyOf(run), children: new Map(), page }
    parent.children.set(node.key, node)
    return node
  }

  /** Takes out a node that has no children. */
  remove(node: PrefixNode): void {
    node.parent!.children.delete(node.key)
  }
}

/** The bits of the tokens as characters, and how many are of a prompt as one more. */
function keyOf({ ids, ofPrompt }: TokenRun): string {
  const bits = new Uint16Array(ids.buffer, ids.byteOffset, 2 * ids.length) as unknown as number[]
  return String.fromCharCode.apply(null, bits) + String.fromCharCode(ofPrompt)
}
