import { BitSet } from './bits.ts'
import { type Graph, successors } from './graph.ts'
import { reads, writes } from './operands.ts'

export interface Liveness {
  /** Registers by id whose value on entry to the node may still be read. */
  readonly liveIn: readonly BitSet[]
  readonly liveOut: readonly BitSet[]
}

/** Which registers may still be read where: the usual backward data flow over nodes. */
export function analyzeLiveness(graph: Graph, registers: number): Liveness {
  const { nodes, order } = graph
  const used = nodes.map(() => new BitSet(registers))
  const killed = nodes.map(() => new BitSet(registers))
  for (const node of nodes) {
    const use = used[node.id]!
    const kill = killed[node.id]!
    for (const instruction of node.collective ? [node.collective] : node.instructions) {
      for (const register of reads(instruction)) if (!kill.has(register.id)) use.add(register.id)
      if (!instruction.guard) for (const register of writes(instruction)) kill.add(register.id)
    }
    if (node.exit.kind === 'branch') {
      const { id } = node.exit.condition.register
      if (!kill.has(id)) use.add(id)
    }
  }
  const liveIn = used.map((set) => set.copy())
  const liveOut = nodes.map(() => new BitSet(registers))
  for (let changed = true; changed; ) {
    changed = false
    for (const id of [...order].reverse()) {
      const out = liveOut[id]!
      for (const to of successors(nodes[id]!.exit)) out.addAll(liveIn[to]!)
      const into = liveIn[id]!
      const kill = killed[id]!.words
      for (let i = 0; i < kill.length; i++) {
        const before = into.words[i]!
        into.words[i]! |= out.words[i]! & ~kill[i]!
        changed ||= into.words[i] !== before
      }
    }
  }
  return { liveIn, liveOut }
}
