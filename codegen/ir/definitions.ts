import type { Block, Instruction, KernelIr, Operand } from './op.ts'
import { walk } from './rewrite.ts'
import { isInteger, sameClass } from './value.ts'

/**
 * Which registers are temporaries, written by one instruction of the text, and which are variables.
 *
 * A temporary is written before every read of it and never changes between two of them that the same write reaches.
 * So facts about it hold wherever it can be read, as in SSA form.
 */
export class Definitions {
  readonly #writers: Instruction[][] = []

  constructor(ir: KernelIr) {
    walk(ir.body, (node) => {
      if (node.kind !== 'instruction') return
      for (const { id } of node.results) {
        const writers = this.#writers[id]
        if (writers) writers.push(node)
        else this.#writers[id] = [node]
      }
    })
  }

  isTemporary(id: number): boolean {
    return this.#writers[id]?.length === 1
  }

  /** The instructions that write a register, in order of the text. */
  writers(id: number): readonly Instruction[] {
    return this.#writers[id] ?? []
  }

  /** The instruction that writes a temporary. */
  of(operand: Operand): Instruction | undefined {
    if (operand.kind !== 'register') return undefined
    const writers = this.#writers[operand.id]
    return writers?.length === 1 ? writers[0] : undefined
  }

  /** Puts another instruction in the place of the one that writes a temporary. */
  replace(id: number, instruction: Instruction): void {
    this.#writers[id] = [instruction]
  }

  /** Whether the operand means the same wherever it can be read: an immediate or a temporary. */
  isStable(operand: Operand): boolean {
    return operand.kind === 'immediate' || this.isTemporary(operand.id)
  }
}

/** Registers that some instruction of the blocks writes. */
export function assigned(...blocks: readonly Block[]): Set<number> {
  const ids = new Set<number>()
  for (const block of blocks)
    walk(block, (node) => {
      if (node.kind === 'instruction') for (const { id } of node.results) ids.add(id)
    })
  return ids
}

/** Whether a block has a `continue` of the loop that it is the body of. */
export function hasContinue(block: Block): boolean {
  return block.some(
    (node) =>
      node.kind === 'continue' ||
      (node.kind === 'if' && (hasContinue(node.body) || hasContinue(node.otherwise))),
  )
}

/** Whether an instruction gives one temporary another type and nothing else: both are one register of PTX. */
export function isRenaming(
  { op, results, args, attributes }: Instruction,
  definitions: Definitions,
): boolean {
  const [result, arg] = [results[0], args[0]]
  if (!result || arg?.kind !== 'register') return false
  const [to, from] = [result.type, arg.type]
  const keepsBits =
    op === 'bitcast'
      ? sameClass(to, from)
      : op === 'convert' && isInteger(to) && isInteger(from) && !attributes.saturate
  return keepsBits && definitions.isTemporary(result.id) && definitions.isTemporary(arg.id)
}
