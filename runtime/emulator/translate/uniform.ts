import type { Instruction, Operand, Register } from '../ptx/module.ts'
import { BitSet } from './bits.ts'
import { endsAtOnce, type Graph, predecessors, successors } from './graph.ts'
import { writes } from './operands.ts'

/**
 * Which registers hold one value for all lanes of a warp that run. Such a register is one WebAssembly local, computed
 * once per warp instead of once per lane.
 *
 * A register is uniform when each instruction that writes it is a function of uniform operands and stands where the
 * lanes run together: no branch on a lane's own value decides whether the node runs.
 */
export interface Uniformity {
  readonly registers: BitSet
  /** Nodes that only some lanes may run. */
  readonly divergentNodes: BitSet
}

const laneSpecials = /^%(?:tid\.[xyz]|laneid|lanemask_\w+|clock|clock64)$/

const impure = new Set([
  'ld',
  'atom',
  'red',
  'st',
  'cp',
  'trap',
  'nanosleep',
  'activemask',
  'shfl',
  'mma',
  'ldmatrix',
  'wgmma',
])

/** `shape` is the extent of the CTA: it decides whether `%tid.x >> 5` is the same for a warp. */
export function analyzeUniformity(
  graph: Graph,
  registers: number,
  shape: readonly [number, number, number],
): Uniformity {
  const { nodes } = graph
  const divergent = new BitSet(registers)
  const divergentNodes = new BitSet(nodes.length)
  const meeting = postDominators(graph)
  const isUniform = (operand: Operand | undefined): boolean => {
    if (!operand) return true
    switch (operand.kind) {
      case 'register':
        return !divergent.has(operand.register.id)
      case 'special':
        return !laneSpecials.test(operand.name)
      case 'vector':
        return operand.elements.every(isUniform)
      case 'address':
        return isUniform(operand.base) && (operand.coordinates ?? []).every(isUniform)
      default:
        return true
    }
  }
  const isUniformResult = (instruction: Instruction): boolean => {
    const { op, form, operands, guard } = instruction
    if (guard && !isUniform(guard)) return false
    // A wait ends when the phase is complete, so it always gives true.
    if (op === 'mbarrier') return true
    if (op === 'ld') return instruction.modifiers.space === 'param'
    if (op === 'vote' || op === 'redux') return isFullMask(operands[form.operands.length - 1])
    if (impure.has(op)) return false
    if (isWarpIndex(instruction, shape)) return true
    return form.operands.every((spec, index) => spec.isResult || isUniform(operands[index]))
  }
  const mark = (register: Register): boolean => {
    if (divergent.has(register.id)) return false
    divergent.add(register.id)
    return true
  }
  for (let changed = true; changed; ) {
    changed = false
    for (const node of nodes) {
      const apart = divergentNodes.has(node.id)
      for (const instruction of node.collective ? [node.collective] : node.instructions)
        if (apart || !isUniformResult(instruction))
          for (const register of writes(instruction)) changed = mark(register) || changed
      if (node.exit.kind !== 'branch' || isUniform(node.exit.condition)) continue
      // An end on one side takes lanes away for good; those that go on still run together.
      const sides = successors(node.exit).filter((to) => !endsAtOnce(graph, to))
      if (sides.length < 2) continue
      const meet = meeting[node.id]!
      const reach = new Set(sides.filter((to) => to !== meet))
      for (const id of reach) for (const to of successors(nodes[id]!.exit)) if (to !== meet) reach.add(to)
      for (const id of reach) {
        if (divergentNodes.has(id)) continue
        divergentNodes.add(id)
        changed = true
      }
    }
  }
  const uniform = new BitSet(registers)
  for (let id = 0; id < registers; id++) if (!divergent.has(id)) uniform.add(id)
  return { registers: uniform, divergentNodes }
}

function isFullMask(operand: Operand | undefined): boolean {
  return operand?.kind === 'integer' && (operand.value === 0xffffffffn || operand.value === -1n)
}

/** `%tid.x >> 5` and the like, where warps do not wrap around rows of the CTA. */
function isWarpIndex(instruction: Instruction, shape: readonly [number, number, number]): boolean {
  const [x, y, z] = shape
  const [, source, count] = instruction.operands
  if (source?.kind !== 'special' || source.name !== '%tid.x' || count?.kind !== 'integer') return false
  if (x % 32 !== 0 && (y > 1 || z > 1)) return false
  if (instruction.op === 'shr') return count.value >= 5n
  if (instruction.op === 'and') return (count.value & 31n) === 0n
  if (instruction.op === 'div') return count.value % 32n === 0n && count.value > 0n
  return false
}

/**
 * For each node the next one that all paths from it pass, or -1. Edges to a bare end do not count: the lanes that take
 * them never come back.
 */
function postDominators(graph: Graph): number[] {
  const { nodes } = graph
  const count = nodes.length
  const exitsOf = (id: number): number[] => {
    const all = successors(nodes[id]!.exit)
    const kept = all.filter((to) => !endsAtOnce(graph, to))
    return kept.length > 0 ? kept : all
  }
  // The dominators of the reversed graph, from a virtual end `count`.
  const incoming = predecessors(nodes)
  const order: number[] = []
  const seen = new Set<number>([count])
  const visit = (starts: number[]): void => {
    const stack = starts.map((id) => ({ id, next: 0 }))
    for (const { id } of stack) seen.add(id)
    while (stack.length > 0) {
      const frame = stack.at(-1)!
      const from = incoming[frame.id]![frame.next++]
      if (from === undefined) {
        order.push(frame.id)
        stack.pop()
      } else if (!seen.has(from) && exitsOf(from).includes(frame.id)) {
        seen.add(from)
        stack.push({ id: from, next: 0 })
      }
    }
  }
  for (const node of nodes) if (node.exit.kind === 'end' && !seen.has(node.id)) visit([node.id])
  // What never ends, such as an endless loop, has no post-dominator.
  order.push(count)
  const rank = new Map(order.map((id, index) => [id, index]))
  const parent = new Array<number>(count + 1).fill(-1)
  parent[count] = count
  const meet = (a: number, b: number): number => {
    while (a !== b) {
      while (rank.get(a)! < rank.get(b)!) a = parent[a]!
      while (rank.get(b)! < rank.get(a)!) b = parent[b]!
    }
    return a
  }
  for (let changed = true; changed; ) {
    changed = false
    for (let i = order.length - 2; i >= 0; i--) {
      const id = order[i]!
      const exits = nodes[id]!.exit.kind === 'end' ? [count] : exitsOf(id).filter((to) => rank.has(to))
      let next = -1
      for (const to of exits) {
        if (parent[to] === -1) continue
        next = next === -1 ? to : meet(next, to)
      }
      if (next !== parent[id]) {
        parent[id] = next
        changed = true
      }
    }
  }
  return parent.slice(0, count).map((id) => (id === count ? -1 : id))
}
