import type { Block, Instruction, KernelIr, Node, Register, ValueType } from './op.ts'

/** A register that nothing has used yet. */
export type Fresh = (type: ValueType) => Register

/** Calls `visit` for every node, in order of the text; an `if` and a `loop` before what is in them. */
export function walk(block: readonly Node[], visit: (node: Node) => void): void {
  for (const node of block) {
    visit(node)
    if (node.kind === 'if') {
      walk(node.body, visit)
      walk(node.otherwise, visit)
    } else if (node.kind === 'loop') {
      walk(node.body, visit)
      walk(node.step, visit)
    }
  }
}

/** Whether a kernel, or a part of one, has an instruction of an operation. */
export function uses(block: readonly Node[], op: string): boolean {
  let found = false
  walk(block, (node) => {
    if (node.kind === 'instruction' && node.op === op) found = true
  })
  return found
}

/** Gives registers with numbers above all that the kernel uses. */
export function freshRegisters(ir: KernelIr): Fresh {
  let next = 0
  walk(ir.body, (node) => {
    if (node.kind !== 'instruction') return
    for (const { id } of node.results) if (id >= next) next = id + 1
  })
  return (type) => ({ kind: 'register', id: next++, type })
}

/** Replaces the instructions of one operation by what `replace` makes of them. */
export function rewrite(
  ir: KernelIr,
  op: string,
  replace: (node: Instruction, fresh: Fresh) => Block,
): KernelIr {
  const fresh = freshRegisters(ir)
  const inBlock = (block: Block): Block =>
    block.flatMap((node): Block => {
      if (node.kind === 'instruction') return node.op === op ? replace(node, fresh) : [node]
      if (node.kind === 'if')
        return [{ ...node, body: inBlock(node.body), otherwise: inBlock(node.otherwise) }]
      if (node.kind === 'loop') return [{ ...node, body: inBlock(node.body), step: inBlock(node.step) }]
      return [node]
    })
  return { ...ir, body: inBlock(ir.body) }
}
