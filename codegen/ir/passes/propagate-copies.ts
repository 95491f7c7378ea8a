import { assigned, hasContinue } from '../definitions.ts'
import type { Block, KernelIr, Operand, Register } from '../op.ts'

/**
 * Reads through moves: a register whose value is known to be that of another operand is replaced by it.
 *
 *     %2 = move %1        %2 = move %1            %1 is a variable; %2 its value at this point
 *     %3 = add %2, 4  →   %3 = add %1, 4
 *     %1 = move %3        %1 = move %3
 *     store [%0], %1      store [%0], %3
 *
 * What is known of a register ends where it, or what it equals, is written: in straight-line code at the write, at an
 * `if` for what either branch writes, at a loop for what the loop writes. The moves stay; those that nothing reads
 * any more are `eliminateDead`'s.
 */
export function propagateCopies(ir: KernelIr): KernelIr {
  const values = new Map<number, Operand>()
  /** Registers that are known to equal this one. */
  const equals = new Map<number, Set<number>>()

  const forget = (id: number): void => {
    const value = values.get(id)
    if (value?.kind === 'register') equals.get(value.id)?.delete(id)
    values.delete(id)
    for (const other of equals.get(id) ?? []) values.delete(other)
    equals.delete(id)
  }
  const learn = (dst: Register, src: Operand): void => {
    if (src.kind === 'register') {
      if (src.id === dst.id) return
      let same = equals.get(src.id)
      if (!same) {
        same = new Set()
        equals.set(src.id, same)
      }
      same.add(dst.id)
    }
    values.set(dst.id, src)
  }
  const read = (operand: Operand): Operand =>
    operand.kind === 'register' ? (values.get(operand.id) ?? operand) : operand

  const inBlock = (block: Block): Block =>
    block.map((node) => {
      switch (node.kind) {
        case 'instruction': {
          const args = node.args.some((arg) => arg.kind === 'register' && values.has(arg.id))
            ? node.args.map(read)
            : node.args
          for (const { id } of node.results) forget(id)
          if (node.op === 'move') learn(node.results[0]!, args[0]!)
          return args === node.args ? node : { ...node, args }
        }
        case 'if': {
          const condition = read(node.condition)
          const written = assigned(node.body, node.otherwise)
          const body = inBranch(node.body)
          const otherwise = inBranch(node.otherwise)
          for (const id of written) forget(id)
          return { ...node, condition, body, otherwise }
        }
        case 'loop': {
          const written = assigned(node.body, node.step)
          for (const id of written) forget(id)
          const body = inBlock(node.body)
          if (hasContinue(node.body)) for (const id of assigned(node.body)) forget(id)
          const step = inBlock(node.step)
          for (const id of written) forget(id)
          return { ...node, body, step }
        }
        default:
          return node
      }
    })
  /** One branch of an `if`: what is known before it holds again for the other. */
  const inBranch = (block: Block): Block => {
    const before = new Map(values)
    const result = inBlock(block)
    values.clear()
    equals.clear()
    for (const [id, value] of before) learn({ kind: 'register', id, type: value.type }, value)
    return result
  }
  return { ...ir, body: inBlock(ir.body) }
}
