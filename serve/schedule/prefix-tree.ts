/** A page's worth of tokens after all that stand before it: what the page with its keys and values depends on. */
export interface PrefixNode {
  readonly parent: PrefixNode | undefined
  /** Its tokens, as a key of its parent's `children`. */
  readonly key: string
  readonly children: Map<string, PrefixNode>
  /** The page that holds its keys and values; -1 for the root. */
  readonly page: number
}

/**
 * The prefixes whose pages are known, by their tokens. The tokens are compared in full, so that two prefixes are never
 * taken for one another, as could happen with a hash of them alone.
 */
export class PrefixTree {
  readonly root: PrefixNode = { parent: undefined, key: '', children: new Map(), page: -1 }

  /** The node of `parent` for these tokens, if there is one. */
  find(parent: PrefixNode, tokens: Int32Array): PrefixNode | undefined {
    return parent.children.size === 0 ? undefined : parent.children.get(keyOf(tokens))
  }

  add(parent: PrefixNode, tokens: Int32Array, page: number): PrefixNode {
    const node: PrefixNode = { parent, key: keyOf(tokens), children: new Map(), page }
    parent.children.set(node.key, node)
    return node
  }

  /** Takes out a node that has no children. */
  remove(node: PrefixNode): void {
    node.parent!.children.delete(node.key)
  }
}

/** The bits of the tokens as characters. */
function keyOf(tokens: Int32Array): string {
  return String.fromCharCode.apply(
    null,
    new Uint16Array(tokens.buffer, tokens.byteOffset, 2 * tokens.length) as unknown as number[],
  )
}
