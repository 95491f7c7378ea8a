import { Definitions } from '../definitions.ts'
import type { Block, Instruction, KernelIr, Node, Operand, Register } from '../op.ts'
import { countReads } from '../reads.ts'
import { walk } from '../rewrite.ts'
import { ops } from '../spec.ts'

/**
 * Lets an instruction write a variable itself, where it writes a temporary that is then moved there.
 *
 *     %5 = add %1, 4        %1 = add %1, 4
 *     %1 = move %5     →
 *     store [%0], %5        store [%0], %1
 *
 * Both must stand in one block, nothing between them may touch the variable or jump away, and every other read of the
 * temporary must follow before the variable is written again. Registers of a `wgmma` stay what they are: it uses them
 * until a wait far behind.
 */
export function mergeMoves(ir: KernelIr): KernelIr {
  const definitions = new Definitions(ir)
  const reads = countReads(ir)
  return { ...ir, body: mergeBlock(ir.body, definitions, reads) }
}

function mergeBlock(block: Block, definitions: Definitions, reads: ReadonlyMap<number, number>): Block {
  const nodes = block.map((node): Node | undefined => {
    if (node.kind === 'if')
      return {
        ...node,
        body: mergeBlock(node.body, definitions, reads),
        otherwise: mergeBlock(node.otherwise, definitions, reads),
      }
    if (node.kind === 'loop')
      return {
        ...node,
        body: mergeBlock(node.body, definitions, reads),
        step: mergeBlock(node.step, definitions, reads),
      }
    return node
  })
  const writtenAt = new Map<number, number>()
  for (const [at, node] of nodes.entries()) {
    if (node?.kind !== 'instruction') continue
    if (node.op === 'move') mergeMove(nodes, at, node, writtenAt, definitions, reads)
    if (nodes[at]) for (const { id } of node.results) writtenAt.set(id, at)
  }
  return nodes.filter((node) => node !== undefined)
}

function mergeMove(
  nodes: (Node | undefined)[],
  at: number,
  { results, args }: Instruction,
  writtenAt: ReadonlyMap<number, number>,
  definitions: Definitions,
  reads: ReadonlyMap<number, number>,
): void {
  const dst = results[0]!
  const src = args[0]!
  if (src.kind === 'immediate' || !definitions.isTemporary(src.id) || definitions.isTemporary(dst.id)) return
  const from = writtenAt.get(src.id)
  if (from === undefined) return
  const producer = nodes[from] as Instruction
  if (ops[producer.op]!.inPlace || producer.results.some(({ id }) => id === dst.id)) return
  for (let i = from + 1; i < at; i++) {
    const between = nodes[i]
    if (between && (between.kind !== 'instruction' || touches(between, dst.id))) return
  }
  const last = lastRead(nodes, from, at, dst.id, src.id, reads.get(src.id)!)
  if (last === undefined) return
  nodes[from] = { ...producer, results: producer.results.map((r) => (r.id === src.id ? dst : r)) }
  nodes[at] = undefined
  for (let i = from + 1; i <= last; i++) nodes[i] = nodes[i] && rename(nodes[i]!, src.id, dst)
}

const touches = ({ results, args }: Instruction, id: number): boolean =>
  results.some((r) => r.id === id) || args.some((arg) => arg.kind === 'register' && arg.id === id)

/**
 * Where the last of `wanted` reads of `src` is behind `from`, when none stands behind a write of `dst` other than the
 * move at `at`; otherwise undefined.
 */
function lastRead(
  nodes: readonly (Node | undefined)[],
  from: number,
  at: number,
  dst: number,
  src: number,
  wanted: number,
): number | undefined {
  let left = wanted
  let i = from
  while (left > 0) {
    const node = nodes[++i]
    if (i >= nodes.length) return undefined
    if (!node) continue
    let written = false
    let kept = false
    walk([node], (inner) => {
      if (inner.kind === 'instruction') {
        if (ops[inner.op]!.inPlace && inner.args.some((arg) => arg.kind === 'register' && arg.id === src))
          kept = true
        if (inner.results.some(({ id }) => id === dst)) written = true
        for (const arg of inner.args) if (arg.kind === 'register' && arg.id === src) left--
      } else if (inner.kind === 'if' && inner.condition.kind === 'register' && inner.condition.id === src)
        left--
    })
    if (kept) return undefined
    if (written && i !== at && (left > 0 || node.kind !== 'instruction')) return undefined
  }
  return i
}

function rename(node: Node, from: number, to: Register): Node {
  const read = (operand: Operand): Operand =>
    operand.kind === 'register' && operand.id === from ? to : operand
  switch (node.kind) {
    case 'instruction':
      return { ...node, args: node.args.map(read) }
    case 'if':
      return {
        ...node,
        condition: read(node.condition),
        body: node.body.map((inner) => rename(inner, from, to)),
        otherwise: node.otherwise.map((inner) => rename(inner, from, to)),
      }
    case 'loop':
      return {
        ...node,
        body: node.body.map((inner) => rename(inner, from, to)),
        step: node.step.map((inner) => rename(inner, from, to)),
      }
    default:
      return node
  }
}
