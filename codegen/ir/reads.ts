import type { KernelIr, Operand } from './op.ts'
import { walk } from './rewrite.ts'

/** How often the text reads each register. */
export function countReads(ir: KernelIr): Map<number, number> {
  const reads = new Map<number, number>()
  const read = (operand: Operand): void => {
    if (operand.kind === 'register') reads.set(operand.id, (reads.get(operand.id) ?? 0) + 1)
  }
  walk(ir.body, (node) => {
    if (node.kind === 'instruction') node.args.forEach(read)
    else if (node.kind === 'if') read(node.condition)
  })
  return reads
}
