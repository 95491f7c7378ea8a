import { Definitions } from '../definitions.ts'
import type { Block, If, Instruction, KernelIr, Node, Operand, Register } from '../op.ts'
import { freshRegisters, uses } from '../rewrite.ts'
import { isPure } from '../spec.ts'

/**
 * Makes one condition of two that enclose each other, where what they guard is short enough to be written without a branch:
 *
 *     if %1 {                          %2 = compare %7, 0
 *       %2 = compare %7, 0             %3 = and %1, %2
 *       if %2 {                  →     if %3 {
 *         arrive %8                      arrive %8
 *       }                              }
 *     }
 *
 * Only for kernels with `wgmma`: between groups of them in a loop, ptxas 13.0 takes a branch for the end of a stage, and puts
 * the groups one after the other (C7513).
 */
export function joinConditions(ir: KernelIr): KernelIr {
  if (!uses(ir.body, 'wgmma')) return ir
  const definitions = new Definitions(ir)
  const fresh = freshRegisters(ir)
  const join = (node: If): Block => {
    const outer = guardOf(node)
    const last = outer?.block.at(-1)
    const inner = last?.kind === 'if' ? guardOf(last) : undefined
    const before = outer?.block.slice(0, -1) ?? []
    if (!outer || !inner || !isShort(inner.block) || before.length > longest) return [node]
    if (!before.every((each) => isFree(each, definitions))) return [node]
    const added: Instruction[] = []
    const emit = (op: string, args: readonly Operand[]): Register => {
      const result = fresh('bool')
      const { location } = node
      added.push({ kind: 'instruction', op, results: [result], args, attributes: {}, location })
      return result
    }
    const holds = ({ condition, negated }: Guard): Operand => (negated ? emit('not', [condition]) : condition)
    const condition = emit('and', [holds(outer), holds(inner)])
    return [...before, ...added, { ...(last as If), condition, body: inner.block, otherwise: [] }]
  }
  const inBlock = (block: Block): Block =>
    block.flatMap((node): Block => {
      if (node.kind === 'loop') return [{ ...node, body: inBlock(node.body), step: inBlock(node.step) }]
      if (node.kind !== 'if') return [node]
      return join({ ...node, body: inBlock(node.body), otherwise: inBlock(node.otherwise) })
    })
  return { ...ir, body: inBlock(ir.body) }
}

/** Instructions that are worth doing in vain, or guarding one by one. */
const longest = 4

/** An `if` of one branch. */
interface Guard {
  readonly condition: Operand
  /** Whether the block runs when the condition does not hold. */
  readonly negated: boolean
  readonly block: Block
}

function guardOf({ condition, body, otherwise }: If): Guard | undefined {
  if (otherwise.length === 0) return { condition, negated: false, block: body }
  return body.length === 0 ? { condition, negated: true, block: otherwise } : undefined
}

const isShort = (block: Block): boolean =>
  block.length <= longest && block.every(({ kind }) => kind === 'instruction')

/** Whether a node may run without its condition: nothing pure traps. */
const isFree = (node: Node, definitions: Definitions): boolean =>
  node.kind === 'instruction' && isPure(node) && node.results.every(({ id }) => definitions.isTemporary(id))
