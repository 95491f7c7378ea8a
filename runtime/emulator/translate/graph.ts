import { DeviceError } from '../../device.ts'
import type { Instruction, Kernel, RegisterOperand } from '../ptx/module.ts'
import { writes } from './operands.ts'

/**
 * A kernel's control flow. A node holds either instructions that each thread executes for itself, or one
 * *collective*: an instruction that the lanes of a warp execute together (shfl, mma, bar.sync, …).
 */
export interface Node {
  readonly id: number
  instructions: Instruction[]
  collective: Instruction | undefined
  exit: Exit
}

export type Exit =
  | { readonly kind: 'jump'; to: number }
  | { readonly kind: 'branch'; readonly condition: RegisterOperand; taken: number; otherwise: number }
  /** The thread ends. */
  | { readonly kind: 'end' }

export interface Graph {
  readonly nodes: readonly Node[]
  readonly entry: number
  /** Nodes in an order that keeps every loop together and puts it before what follows it. */
  readonly order: readonly number[]
}

const collectiveOperations = new Set([
  'activemask',
  'bar',
  'barrier',
  'ldmatrix',
  'mma',
  'redux',
  'setmaxnreg',
  'shfl',
  'stmatrix',
  'vote',
  'wgmma',
])

/** Whether the lanes of a warp execute every form of an operation together. */
export function isCollectiveOperation(op: string): boolean {
  return collectiveOperations.has(op)
}

export function isCollective(instruction: Instruction): boolean {
  return isCollectiveOperation(instruction.op) || isWait(instruction)
}

/** `bar.sync` and its like, where a warp meets others: all of its lanes must come. */
export function isBarrier(instruction: Instruction): boolean {
  return (instruction.op === 'bar' || instruction.op === 'barrier') && !instruction.modifiers.warp
}

/** `mbarrier.try_wait`, where any lanes wait for a phase of an mbarrier. */
export function isWait(instruction: Instruction): boolean {
  return instruction.op === 'mbarrier' && instruction.modifiers.try_wait !== undefined
}

export function successors(exit: Exit): number[] {
  if (exit.kind === 'jump') return [exit.to]
  if (exit.kind === 'branch') return [exit.taken, exit.otherwise]
  return []
}

export function predecessors(nodes: readonly Node[]): number[][] {
  const found: number[][] = nodes.map(() => [])
  for (const node of nodes) for (const to of successors(node.exit)) found[to]!.push(node.id)
  return found
}

/** Whether a node does nothing but end the thread. */
export function endsAtOnce(graph: Graph, id: number): boolean {
  return isEmptyEnd(graph.nodes[id]!)
}

/** Builds the graph of a kernel: unreachable code is gone, a loop has one edge back to its head. */
export function buildGraph(kernel: Kernel): Graph {
  const nodes = split(kernel)
  threadEnds(nodes)
  joinLatches(nodes)
  const compacted = compact(nodes)
  const order = loopOrder(compacted, 0)
  return { nodes: compacted, entry: 0, order }
}

/** Cuts the instructions into nodes at labels, branches and collectives. */
function split(kernel: Kernel): Node[] {
  const { instructions, labels } = kernel
  const nodes: Node[] = []
  /** Nodes whose exit is decided. */
  const closed = new Set<Node>()
  const end: Exit = { kind: 'end' }
  const make = (collective?: Instruction): Node => {
    const node: Node = { id: nodes.length, instructions: [], collective, exit: end }
    nodes.push(node)
    return node
  }
  const starts = new Map<number, Node>()
  for (const index of [0, ...labels.values()]) if (!starts.has(index)) starts.set(index, make())
  const target = (instruction: Instruction): number => {
    const operand = instruction.operands[0]!
    const index = operand.kind === 'label' ? labels.get(operand.name) : undefined
    if (index === undefined)
      throw new DeviceError(
        'EMULATOR_INVALID_PTX',
        `PTX line ${instruction.line}: '${instruction.text}' branches to a label that does not exist.`,
        { kernel: kernel.name },
      )
    return starts.get(index)!.id
  }

  const alwaysTrue = waitResults(instructions)
  let current = starts.get(0)!
  // Code behind an unconditional branch and before the next label lands in a node that nothing reaches.
  for (const instruction of instructions) {
    const start = starts.get(instruction.index)
    if (start && start !== current) {
      if (!closed.has(current)) current.exit = { kind: 'jump', to: start.id }
      current = start
    }
    const { op, guard } = instruction
    const condition = guard
    if (op === 'bra') {
      const taken = target(instruction)
      const next = make()
      if (condition && alwaysTrue.has(condition.register.id))
        current.exit = { kind: 'jump', to: condition.negated ? next.id : taken }
      else
        current.exit = condition
          ? { kind: 'branch', condition, taken, otherwise: next.id }
          : { kind: 'jump', to: taken }
      closed.add(current)
      current = next
    } else if (op === 'ret' || op === 'exit' || op === 'trap') {
      const last = make()
      if (op === 'trap') last.instructions.push({ ...instruction, guard: undefined })
      closed.add(last)
      const next = make()
      current.exit = condition
        ? { kind: 'branch', condition, taken: last.id, otherwise: next.id }
        : { kind: 'jump', to: last.id }
      closed.add(current)
      current = next
    } else if (isCollective(instruction)) {
      const collective = make({ ...instruction, guard: undefined })
      const next = make()
      current.exit = condition
        ? { kind: 'branch', condition, taken: collective.id, otherwise: next.id }
        : { kind: 'jump', to: collective.id }
      collective.exit = { kind: 'jump', to: next.id }
      closed.add(current)
      closed.add(collective)
      current = next
    } else current.instructions.push(instruction)
  }
  const tail = starts.get(instructions.length)
  if (tail && tail !== current && !closed.has(current)) current.exit = { kind: 'jump', to: tail.id }
  return nodes
}

/** Predicates that only waits write: a wait here ends when the phase is complete, so nobody has to try again. */
function waitResults(instructions: readonly Instruction[]): ReadonlySet<number> {
  const found = new Set<number>()
  const others = new Set<number>()
  for (const instruction of instructions)
    for (const { id } of writes(instruction)) (isWait(instruction) ? found : others).add(id)
  for (const id of others) found.delete(id)
  return found
}

const isEmptyEnd = (node: Node): boolean =>
  node.exit.kind === 'end' && node.instructions.length === 0 && !node.collective

/** Skips empty nodes that only jump on. */
function threadEnds(nodes: Node[]): void {
  const resolve = (id: number): number => {
    const seen = new Set<number>()
    for (;;) {
      const node = nodes[id]!
      if (node.collective || node.instructions.length > 0 || node.exit.kind !== 'jump' || seen.has(id))
        return id
      seen.add(id)
      id = node.exit.to
    }
  }
  for (const node of nodes) {
    const { exit } = node
    if (exit.kind === 'jump') {
      exit.to = resolve(exit.to)
      if (isEmptyEnd(nodes[exit.to]!) && !node.collective) node.exit = { kind: 'end' }
    } else if (exit.kind === 'branch') {
      exit.taken = resolve(exit.taken)
      exit.otherwise = resolve(exit.otherwise)
      if (exit.taken === exit.otherwise) node.exit = { kind: 'jump', to: exit.taken }
    }
  }
  // An end of its own for every branch to one, so that a shared `ret` does not look like a place to meet.
  for (const node of [...nodes]) {
    if (node.exit.kind !== 'branch') continue
    for (const side of ['taken', 'otherwise'] as const) {
      if (!isEmptyEnd(nodes[node.exit[side]]!)) continue
      const own: Node = { id: nodes.length, instructions: [], collective: undefined, exit: { kind: 'end' } }
      nodes.push(own)
      node.exit[side] = own.id
    }
  }
}

/**
 * Gives each loop head with several edges back one latch that they share. Lanes that `continue` then wait in the latch
 * for the others, instead of running ahead into the next iteration.
 */
function joinLatches(nodes: Node[]): void {
  const state = new Uint8Array(nodes.length)
  const back = new Map<number, number[]>()
  const stack: { id: number; next: number }[] = [{ id: 0, next: 0 }]
  state[0] = 1
  while (stack.length > 0) {
    const frame = stack.at(-1)!
    const to = successors(nodes[frame.id]!.exit)[frame.next++]
    if (to === undefined) {
      state[frame.id] = 2
      stack.pop()
    } else if (state[to] === 0) {
      state[to] = 1
      stack.push({ id: to, next: 0 })
    } else if (state[to] === 1) back.set(to, [...(back.get(to) ?? []), frame.id])
  }
  for (const [head, sources] of back) {
    if (sources.length < 2) continue
    const latch: Node = {
      id: nodes.length,
      instructions: [],
      collective: undefined,
      exit: { kind: 'jump', to: head },
    }
    nodes.push(latch)
    for (const source of sources) {
      const { exit } = nodes[source]!
      if (exit.kind === 'jump') exit.to = latch.id
      if (exit.kind === 'branch') {
        if (exit.taken === head) exit.taken = latch.id
        if (exit.otherwise === head) exit.otherwise = latch.id
      }
    }
  }
}

/** Merges straight chains and drops what the entry does not reach; the entry becomes node 0. */
function compact(nodes: Node[]): Node[] {
  const reached = new Set<number>([0])
  for (const id of reached) for (const to of successors(nodes[id]!.exit)) reached.add(to)
  const incoming = new Map<number, number>()
  for (const id of reached)
    for (const to of successors(nodes[id]!.exit)) incoming.set(to, (incoming.get(to) ?? 0) + 1)
  const merged = new Set<number>()
  for (const id of reached) {
    const node = nodes[id]!
    if (merged.has(id) || node.collective) continue
    while (node.exit.kind === 'jump') {
      const next = nodes[node.exit.to]!
      if (next.id === id || next.id === 0 || next.collective || incoming.get(next.id) !== 1) break
      node.instructions = [...node.instructions, ...next.instructions]
      node.exit = next.exit
      merged.add(next.id)
    }
  }
  const kept = [...reached].filter((id) => !merged.has(id)).sort((a, b) => a - b)
  const renumbered = new Map(kept.map((id, index) => [id, index]))
  const to = (id: number): number => renumbered.get(id)!
  return kept.map((id, index) => {
    const { instructions, collective, exit } = nodes[id]!
    return {
      id: index,
      instructions,
      collective,
      exit:
        exit.kind === 'jump'
          ? { kind: 'jump', to: to(exit.to) }
          : exit.kind === 'branch'
            ? { ...exit, taken: to(exit.taken), otherwise: to(exit.otherwise) }
            : exit,
    }
  })
}

/**
 * A topological order of strongly connected components, and within each the same again without the edges back to its
 * head (Bourdoncle's weak topological order). Lanes that wait for others always wait at a later place in it.
 */
function loopOrder(nodes: readonly Node[], entry: number): number[] {
  const order: number[] = []
  const visit = (members: ReadonlySet<number>, starts: readonly number[]): void => {
    for (const component of components(nodes, members, starts)) {
      const [head] = component
      order.push(head!)
      if (component.length === 1) continue
      const rest = new Set(component)
      rest.delete(head!)
      visit(rest, successors(nodes[head!]!.exit))
    }
  }
  visit(new Set(nodes.map((node) => node.id)), [entry])
  return order
}

/** Tarjan's strongly connected components within `members`, in topological order; each begins with its head. */
function components(
  nodes: readonly Node[],
  members: ReadonlySet<number>,
  starts: readonly number[],
): number[][] {
  const index = new Map<number, number>()
  const low = new Map<number, number>()
  const open: number[] = []
  const isOpen = new Set<number>()
  const found: number[][] = []
  const walk = (root: number): void => {
    const stack: { id: number; next: number }[] = []
    const enter = (id: number): void => {
      index.set(id, index.size)
      low.set(id, index.get(id)!)
      open.push(id)
      isOpen.add(id)
      stack.push({ id, next: 0 })
    }
    enter(root)
    while (stack.length > 0) {
      const frame = stack.at(-1)!
      const to = successors(nodes[frame.id]!.exit)[frame.next++]
      if (to === undefined) {
        stack.pop()
        const parent = stack.at(-1)
        if (parent) low.set(parent.id, Math.min(low.get(parent.id)!, low.get(frame.id)!))
        if (low.get(frame.id) === index.get(frame.id)) {
          const component = open.splice(open.indexOf(frame.id))
          for (const id of component) isOpen.delete(id)
          found.push(component)
        }
      } else if (!members.has(to)) continue
      else if (!index.has(to)) enter(to)
      else if (isOpen.has(to)) low.set(frame.id, Math.min(low.get(frame.id)!, index.get(to)!))
    }
  }
  for (const start of [...starts, ...members]) if (members.has(start) && !index.has(start)) walk(start)
  return found.reverse()
}
