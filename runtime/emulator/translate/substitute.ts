import type { Instruction, Operand } from '../ptx/module.ts'
import { type Graph, isCollective } from './graph.ts'
import { mapReads, writes } from './operands.ts'

/**
 * Replaces reads of a register that is only ever a copy of a special register or a constant by the thing itself, and
 * drops the copy: `mov.u32 %r1, %tid.x` needs no register, and `%r1 >> 5` then shows that it is the warp's index.
 */
export function substituteCopies(graph: Graph): void {
  const copies = new Map<number, Operand>()
  const written = new Map<number, number>()
  const all = graph.nodes.flatMap((node) => (node.collective ? [node.collective] : node.instructions))
  for (const instruction of all)
    for (const { id } of writes(instruction)) written.set(id, (written.get(id) ?? 0) + 1)
  const isCopy = (instruction: Instruction): boolean => {
    const [result, source] = instruction.operands
    if (instruction.op !== 'mov' || instruction.guard || result?.kind !== 'register') return false
    if (written.get(result.register.id) !== 1) return false
    if (source?.kind === 'special') return !source.name.startsWith('%clock') && result.register.type === 'b32'
    const { type } = result.register
    if (source?.kind === 'integer') return type === 'b32' || type === 'b64'
    return source?.kind === 'float' && type === 'f32'
  }
  for (const instruction of all) {
    const [result, source] = instruction.operands
    if (isCopy(instruction) && result?.kind === 'register') copies.set(result.register.id, source!)
  }
  // Matrix operands and addresses of collectives come from register files, so they stay registers.
  for (const instruction of all) {
    if (!isCollective(instruction)) continue
    for (const operand of instruction.operands)
      if (operand?.kind === 'vector' || operand?.kind === 'address') keepRegisters(operand, copies)
  }
  for (const node of graph.nodes) {
    // An address needs a register as its base.
    for (const instruction of node.instructions)
      for (const operand of instruction.operands)
        if (operand?.kind === 'address') keepRegisters(operand, copies)
  }
  const replace = (instruction: Instruction): Instruction =>
    mapReads(instruction, (register) => copies.get(register.id))
  for (const node of graph.nodes) {
    if (node.collective) node.collective = replace(node.collective)
    node.instructions = node.instructions
      .filter((i) => {
        const [result] = i.operands
        return !(isCopy(i) && result?.kind === 'register' && copies.has(result.register.id))
      })
      .map(replace)
  }
}

function keepRegisters(operand: Operand, copies: Map<number, Operand>): void {
  if (operand.kind === 'register') copies.delete(operand.register.id)
  else if (operand.kind === 'vector') for (const element of operand.elements) keepRegisters(element, copies)
  else if (operand.kind === 'address') {
    keepRegisters(operand.base, copies)
    for (const coordinate of operand.coordinates ?? []) keepRegisters(coordinate, copies)
  }
}
