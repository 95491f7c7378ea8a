import type { FunctionBuilder, Label } from '../wasm/function.ts'
import type { I32 } from '../wasm/operations.ts'
import { type Exit, successors } from './graph.ts'

/** A single-entry part of a control-flow graph, and how to write its pieces. */
export interface Flow {
  readonly head: number
  /** In an order where every node but loop heads follows what leads to it; the head first. */
  readonly nodes: readonly number[]
  readonly exitOf: (node: number) => Exit
  /** Whether an edge leaves the flow. */
  readonly isOutside: (from: number, to: number) => boolean
  readonly writeBody: (node: number) => void
  readonly writeCondition: (node: number) => I32
  /** Leaves the flow for `to`, or ends the thread; control does not come back. */
  readonly writeLeave: (to: number | 'end') => void
}

/**
 * Writes a control-flow graph as WebAssembly's structured control. Where every loop has one head, blocks follow the
 * dominator tree: a node with several forward edges to it comes behind a block that closes in its immediate dominator
 * (N. Ramsey, "Beyond Relooper", 2022). Other graphs go through a loop around a `br_table`.
 */
export function writeStructured(w: FunctionBuilder, flow: Flow): void {
  const tree = dominatorTree(flow)
  if (tree) writeTree(w, flow, tree)
  else writeDispatch(w, flow)
}

interface Tree {
  readonly rank: ReadonlyMap<number, number>
  /** Nodes with several forward edges to them, under their immediate dominator, latest first. */
  readonly joins: ReadonlyMap<number, readonly number[]>
  readonly loopHeads: ReadonlySet<number>
}

/** `undefined` when some loop has two entries. */
function dominatorTree(flow: Flow): Tree | undefined {
  const rank = reversePostorder(flow)
  const inside = (id: number): number[] => successors(flow.exitOf(id)).filter((to) => !flow.isOutside(id, to))
  const forward = new Map<number, number[]>(flow.nodes.map((id) => [id, []]))
  const back: [from: number, to: number][] = []
  for (const id of flow.nodes)
    for (const to of inside(id)) {
      if (rank.get(to)! <= rank.get(id)!) back.push([id, to])
      else forward.get(to)!.push(id)
    }
  const parent = new Map<number, number>([[flow.head, flow.head]])
  const meet = (a: number, b: number): number => {
    while (a !== b) {
      if (rank.get(a)! > rank.get(b)!) a = parent.get(a)!
      else b = parent.get(b)!
    }
    return a
  }
  // In reverse postorder all forward edges come from nodes whose dominators are known.
  const sorted = [...flow.nodes].sort((a, b) => rank.get(a)! - rank.get(b)!)
  for (const id of sorted) {
    if (id === flow.head) continue
    parent.set(id, forward.get(id)!.reduce(meet))
  }
  for (const [from, to] of back) {
    let above = from
    while (rank.get(above)! > rank.get(to)!) above = parent.get(above)!
    if (above !== to) return undefined
  }
  const joins = new Map<number, number[]>(flow.nodes.map((id) => [id, []]))
  for (const id of sorted)
    if (id !== flow.head && forward.get(id)!.length > 1) joins.get(parent.get(id)!)!.unshift(id)
  return { rank, joins, loopHeads: new Set(back.map(([, to]) => to)) }
}

function reversePostorder(flow: Flow): Map<number, number> {
  const postorder: number[] = []
  const seen = new Set([flow.head])
  const stack = [{ id: flow.head, next: 0 }]
  while (stack.length > 0) {
    const frame = stack.at(-1)!
    const to = successors(flow.exitOf(frame.id))[frame.next++]
    if (to === undefined) {
      postorder.push(frame.id)
      stack.pop()
    } else if (!flow.isOutside(frame.id, to) && !seen.has(to)) {
      seen.add(to)
      stack.push({ id: to, next: 0 })
    }
  }
  return new Map(postorder.reverse().map((id, index) => [id, index]))
}

function writeTree(w: FunctionBuilder, flow: Flow, { rank, joins, loopHeads }: Tree): void {
  const labels = new Map<number, Label>()
  const loops = new Map<number, Label>()
  const isJoin = new Set([...joins.values()].flat())

  const writeSubtree = (id: number): void => {
    if (!loopHeads.has(id)) {
      writeWithin(id, joins.get(id)!)
      return
    }
    loops.set(id, w.beginLoop())
    writeWithin(id, joins.get(id)!)
    w.end()
  }
  const writeWithin = (id: number, [first, ...rest]: readonly number[]): void => {
    if (first !== undefined) {
      labels.set(first, w.beginBlock())
      writeWithin(id, rest)
      w.end()
      writeSubtree(first)
      return
    }
    flow.writeBody(id)
    const exit = flow.exitOf(id)
    if (exit.kind === 'end') flow.writeLeave('end')
    else if (exit.kind === 'jump') writeEdge(id, exit.to)
    else {
      w.beginIf(flow.writeCondition(id))
      writeEdge(id, exit.taken)
      w.else()
      writeEdge(id, exit.otherwise)
      w.end()
    }
  }
  const writeEdge = (from: number, to: number): void => {
    if (flow.isOutside(from, to)) flow.writeLeave(to)
    else if (rank.get(to)! <= rank.get(from)!) w.br(loops.get(to)!)
    else if (isJoin.has(to)) w.br(labels.get(to)!)
    else writeSubtree(to)
  }
  writeSubtree(flow.head)
}

function writeDispatch(w: FunctionBuilder, flow: Flow): void {
  const next = w.local('i32')
  const index = new Map(flow.nodes.map((id, i) => [id, i]))
  w.set(next, w.i32.const(0))
  const again = w.beginLoop()
  const go = (from: number, to: number): void => {
    if (flow.isOutside(from, to)) {
      flow.writeLeave(to)
      return
    }
    w.set(next, w.i32.const(index.get(to)!))
    w.br(again)
  }
  const labels = flow.nodes.map(() => w.beginBlock()).reverse()
  w.brTable(w.get(next), labels, labels[0]!)
  for (const id of flow.nodes) {
    w.end()
    flow.writeBody(id)
    const exit = flow.exitOf(id)
    if (exit.kind === 'end') flow.writeLeave('end')
    else if (exit.kind === 'jump') go(id, exit.to)
    else {
      w.if(
        flow.writeCondition(id),
        () => go(id, exit.taken),
        () => go(id, exit.otherwise),
      )
    }
  }
  w.end()
  w.release(next)
}
