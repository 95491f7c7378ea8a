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

/** Registers that occur in one node alone, and bring no value into it. */
export function findTemporaries({ nodes }: Graph, { liveIn }: Liveness, registers: number): BitSet {
  const owner = new Int32Array(registers).fill(-1)
  const shared = new BitSet(registers)
  for (const node of nodes) {
    const occur = (id: number): void => {
      if (owner[id] !== -1 && owner[id] !== node.id) shared.add(id)
      owner[id] = node.id
    }
    for (const instruction of node.collective ? [node.collective] : node.instructions)
      for (const { id } of [...reads(instruction), ...writes(instruction)]) occur(id)
    if (node.exit.kind === 'branch') occur(node.exit.condition.register.id)
    shared.addAll(liveIn[node.id]!)
  }
  const found = new BitSet(registers)
  for (let id = 0; id < registers; id++) if (!shared.has(id)) found.add(id)
  return found
}
