import { type Graph, predecessors, successors } from './graph.ts'

/**
 * A part of the graph that each lane runs through by itself: entered at its head alone, free of collectives. The lanes
 * of a warp run a region one after the other, and then go on together at one of its exits.
 */
export interface Region {
  readonly head: number
  /** In the graph's order, the head first. */
  readonly nodes: readonly number[]
  /** Nodes outside that the region jumps to, in the graph's order. */
  readonly exits: readonly number[]
  /** Whether a thread may end in it. */
  readonly mayEnd: boolean
}

/** Cuts the nodes without collectives into the fewest regions that have a single entry each; by head. */
export function findRegions(graph: Graph): Map<number, Region> {
  const { nodes, order } = graph
  const incoming = predecessors(nodes)
  const heads = new Set([graph.entry])
  for (const node of nodes) {
    if (!node.collective) continue
    heads.add(node.id)
    for (const to of successors(node.exit)) heads.add(to)
  }
  const owner = new Array<number>(nodes.length).fill(-1)
  for (let changed = true; changed; ) {
    changed = false
    owner.fill(-1)
    for (const id of order) {
      const first = incoming[id]!.find((from) => owner[from] !== -1)
      if (!heads.has(id) && first === undefined) heads.add(id)
      owner[id] = heads.has(id) ? id : owner[first!]!
    }
    for (const id of order) {
      if (heads.has(id) || incoming[id]!.every((from) => owner[from] === owner[id])) continue
      heads.add(id)
      changed = true
    }
  }
  const place = new Map(order.map((id, index) => [id, index]))
  const regions = new Map<number, Region>()
  for (const head of heads) {
    if (nodes[head]!.collective) continue
    const members = order.filter((id) => owner[id] === head)
    const exits = new Set<number>()
    let mayEnd = false
    for (const id of members) {
      const { exit } = nodes[id]!
      if (exit.kind === 'end') mayEnd = true
      for (const to of successors(exit)) if (heads.has(to)) exits.add(to)
    }
    regions.set(head, {
      head,
      nodes: members,
      exits: [...exits].sort((a, b) => place.get(a)! - place.get(b)!),
      mayEnd,
    })
  }
  return regions
}
