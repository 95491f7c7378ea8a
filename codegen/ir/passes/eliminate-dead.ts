import type { Block, Instruction, KernelIr, Loop, Node, Operand } from '../op.ts'
import { ops } from '../spec.ts'

/**
 * Removes what has no effect: instructions whose results nothing reads on any path, moves of a register to itself,
 * an `if` with nothing in it, and what stands behind a jump.
 *
 *     %1 = move 0        (removed)     Every path writes %1 again before reading it.
 *     %1 = move %7       %1 = move %7
 *     store [%0], %1     store [%0], %1
 *
 * Liveness runs backwards over the structure. What is live at the end of a loop's iteration is what is live at its
 * beginning; that starts empty and grows until nothing is added, so that a counter which only counts is dead.
 * Stores, atomics, copies and everything that other threads wait for are never removed.
 */
export function eliminateDead(ir: KernelIr): KernelIr {
  const live = new Set<number>()
  return { ...ir, body: keep(ir.body, live, undefined) }
}

type Live = Set<number>

/** What is live where the jumps of the loop around go. */
interface Exits {
  readonly atBreak: ReadonlySet<number>
  readonly atContinue: ReadonlySet<number>
}

/** The block without its dead nodes. `live` goes from what is live behind the block to what is live before it. */
function keep(block: Block, live: Live, exits: Exits | undefined): Block {
  const kept: Node[] = []
  for (let i = reachable(block) - 1; i >= 0; i--) {
    const node = keepNode(block[i]!, live, exits)
    if (node) kept.push(node)
  }
  return kept.reverse()
}

/** How many nodes of a block can be reached: those up to the first that never ends. */
function reachable(block: Block): number {
  const last = block.findIndex(leaves)
  return last < 0 ? block.length : last + 1
}

function leaves(node: Node): boolean {
  if (node.kind === 'if') return node.body.some(leaves) && node.otherwise.some(leaves)
  return node.kind !== 'instruction' && node.kind !== 'loop'
}

function keepNode(node: Node, live: Live, exits: Exits | undefined): Node | undefined {
  switch (node.kind) {
    case 'instruction':
      if (isDead(node, live)) return undefined
      for (const { id } of node.results) live.delete(id)
      for (const arg of node.args) read(live, arg)
      return node
    case 'if': {
      const other = new Set(live)
      const body = keep(node.body, live, exits)
      const otherwise = keep(node.otherwise, other, exits)
      add(live, other)
      if (body.length === 0 && otherwise.length === 0) return undefined
      read(live, node.condition)
      return { ...node, body, otherwise }
    }
    case 'loop':
      return keepLoop(node, live)
    case 'return':
      live.clear()
      return node
    default:
      replace(live, node.kind === 'break' ? exits!.atBreak : exits!.atContinue)
      return node
  }
}

function keepLoop(node: Loop, live: Live): Loop {
  const atBreak = new Set(live)
  const atTop: Live = new Set()
  for (;;) {
    replace(live, atTop)
    const step = keep(node.step, live, undefined)
    const exits = { atBreak, atContinue: new Set(live) }
    const body = keep(node.body, live, exits)
    const before = atTop.size
    add(atTop, live)
    if (atTop.size === before) return { ...node, body, step }
  }
}

function isDead({ op, results, args }: Instruction, live: Live): boolean {
  if (op === 'move' && args[0]!.kind === 'register' && args[0]!.id === results[0]!.id) return true
  return ops[op]!.effect !== 'write' && results.every(({ id }) => !live.has(id))
}

function read(live: Live, operand: Operand): void {
  if (operand.kind === 'register') live.add(operand.id)
}

function add(to: Live, from: ReadonlySet<number>): void {
  for (const id of from) to.add(id)
}

function replace(live: Live, by: ReadonlySet<number>): void {
  live.clear()
  add(live, by)
}
