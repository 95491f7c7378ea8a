import type { Instruction, Operand, Register } from '../ptx/module.ts'

/** Adds the registers of an operand, the base of an address included. */
export function collectRegisters(operand: Operand | undefined, found: Register[]): void {
  if (!operand) return
  if (operand.kind === 'register') found.push(operand.register)
  else if (operand.kind === 'vector') for (const element of operand.elements) collectRegisters(element, found)
  else if (operand.kind === 'address') {
    if (operand.base.kind === 'register') found.push(operand.base.register)
    for (const coordinate of operand.coordinates ?? []) collectRegisters(coordinate, found)
  }
}

/** Registers that the instruction reads, its guard included. */
export function reads(instruction: Instruction): Register[] {
  const found: Register[] = []
  instruction.form.operands.forEach((spec, index) => {
    if (!spec.isResult || spec.isRead) collectRegisters(instruction.operands[index], found)
  })
  if (instruction.guard) found.push(instruction.guard.register)
  return found
}

/** Registers that the instruction writes; under a guard it may leave them as they are. */
export function writes(instruction: Instruction): Register[] {
  const found: Register[] = []
  instruction.form.operands.forEach((spec, index) => {
    if (spec.isResult) collectRegisters(instruction.operands[index], found)
  })
  return found
}

/** The instruction with every operand that it only reads replaced by what `replace` gives for a plain register. */
export function mapReads(
  instruction: Instruction,
  replace: (register: Register) => Operand | undefined,
): Instruction {
  const map = (operand: Operand | undefined): Operand | undefined => {
    if (operand?.kind === 'register' && !operand.negated) return replace(operand.register) ?? operand
    if (operand?.kind === 'vector') return { kind: 'vector', elements: operand.elements.map((e) => map(e)!) }
    return operand
  }
  const operands = instruction.operands.map((operand, index) =>
    instruction.form.operands[index]!.isResult ? operand : map(operand),
  )
  return { ...instruction, operands }
}
