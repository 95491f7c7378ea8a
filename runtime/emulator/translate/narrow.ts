import type { Instruction, Kernel, Operand, Register } from '../ptx/module.ts'
import type { Graph } from './graph.ts'
import { collectRegisters } from './operands.ts'

/**
 * Gives 32 bits to those 64-bit registers of which nothing ever needs the upper half: addresses, mostly. Linear memory
 * ends at 4 GiB, and the low half of a sum, product or left shift depends on the low halves of its operands alone.
 *
 * `mad.wide.s32 %rd2, %r1, 4, %rd1; ld.global.f32 %f1, [%rd2]` becomes `mad.lo.s32` and a load from a 32-bit address.
 * Checked translations keep the full addresses, so that a wild one is seen.
 */
export function narrowAddresses(kernel: Kernel, graph: Graph): Kernel {
  const all = graph.nodes.flatMap((node) => (node.collective ? [node.collective] : node.instructions))
  const wide = new Set<number>()
  // One operand that needs all bits makes the others of its instruction wide, whatever they are used for besides.
  for (let changed = true; changed; ) {
    changed = false
    for (const instruction of all) {
      const registers = wideOperands(instruction)
      if (registers.length === 0) continue
      if (isLowBitsOnly(instruction) && !registers.some((register) => wide.has(register.id))) continue
      for (const { id } of registers) {
        changed ||= !wide.has(id)
        wide.add(id)
      }
    }
  }
  const registers = kernel.registers.map(
    (register): Register =>
      register.type === 'b64' && !wide.has(register.id) ? { ...register, type: 'b32' } : register,
  )
  const narrow = (instruction: Instruction): Instruction => {
    const isNarrow = wideOperands(instruction).some((register) => !wide.has(register.id))
    const renamed = {
      ...instruction,
      operands: instruction.operands.map((operand) => operand && withRegisters(operand, registers)),
    }
    return isNarrow ? inLowBits(renamed) : renamed
  }
  for (const node of graph.nodes) {
    node.instructions = node.instructions.map(narrow)
    if (node.collective) node.collective = narrow(node.collective)
  }
  return { ...kernel, registers }
}

/** The 64-bit registers that the instruction computes with; bases of addresses are no concern of it. */
function wideOperands({ operands }: Instruction): Register[] {
  const found: Register[] = []
  for (const operand of operands) if (operand?.kind !== 'address') collectRegisters(operand, found)
  return found.filter((register) => register.type === 'b64')
}

/** Operations whose result's low 32 bits depend on the operands' low 32 bits. */
const modular = new Set(['add', 'sub', 'and', 'or', 'xor', 'not', 'neg', 'shl', 'selp', 'mov', 'cvta'])

function isLowBitsOnly({ op, modifiers, operands }: Instruction): boolean {
  if (operands.some((operand) => operand?.kind === 'vector')) return false
  if (op === 'ld') return modifiers.space === 'param'
  if (op === 'mul' || op === 'mad')
    return modifiers.half === 'lo' || (modifiers.half === 'wide' && /32$/.test(modifiers.type!))
  if (op === 'cvt') return /^[us]/.test(modifiers.to!) && /^[us]/.test(modifiers.from!) && !modifiers.sat
  return modular.has(op)
}

const toLow = (type: string | undefined): string | undefined => type?.replace('64', '32')

function inLowBits(instruction: Instruction): Instruction {
  const { op, modifiers } = instruction
  const type = toLow(modifiers.type)
  if (op === 'mul' || op === 'mad') return { ...instruction, modifiers: { ...modifiers, half: 'lo', type } }
  if (op === 'cvt')
    return {
      ...instruction,
      modifiers: { ...modifiers, to: toLow(modifiers.to), from: toLow(modifiers.from) },
    }
  return { ...instruction, modifiers: { ...modifiers, type } }
}

function withRegisters(operand: Operand, registers: readonly Register[]): Operand {
  switch (operand.kind) {
    case 'register':
      return { ...operand, register: registers[operand.register.id]! }
    case 'address':
      return {
        ...operand,
        ...(operand.base.kind === 'register' && {
          base: { ...operand.base, register: registers[operand.base.register.id]! },
        }),
        ...(operand.coordinates && {
          coordinates: operand.coordinates.map((coordinate) => withRegisters(coordinate, registers)),
        }),
      }
    case 'vector':
      return { ...operand, elements: operand.elements.map((element) => withRegisters(element, registers)) }
    default:
      return operand
  }
}
