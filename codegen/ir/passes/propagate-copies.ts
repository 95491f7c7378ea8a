import { assigned, hasContinue } from '../definitions.ts'
import type { Block, KernelIr, Operand, Register } from '../op.ts'
import { isUpdated } from '../spec.ts'

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
  const values = new Values()
  const inBlock = (block: Block): Block =>
    block.map((node) => {
      switch (node.kind) {
        case 'instruction': {
          const read = (arg: Operand) => (isUpdated(node, arg) ? arg : values.read(arg))
          const changed = node.args.some((arg) => read(arg) !== arg)
          const args = changed ? node.args.map(read) : node.args
          for (const { id } of node.results) values.forget(id)
          if (node.op === 'move') values.learn(node.results[0]!, args[0]!)
          return changed ? { ...node, args } : node
        }
        case 'if': {
          const condition = values.read(node.condition)
          const body = values.branch(() => inBlock(node.body))
          const otherwise = values.branch(() => inBlock(node.otherwise))
          values.forgetAll(assigned(node.body, node.otherwise))
          return { ...node, condition, body, otherwise }
        }
        case 'loop': {
          const written = assigned(node.body, node.step)
          values.forgetAll(written)
          const body = inBlock(node.body)
          if (hasContinue(node.body)) values.forgetAll(assigned(node.body))
          const step = inBlock(node.step)
          values.forgetAll(written)
          return { ...node, body, step }
        }
        default:
          return node
      }
    })
  return { ...ir, body: inBlock(ir.body) }
}

/** What registers are known to equal. */
class Values {
  readonly #values = new Map<number, Operand>()
  /** Registers whose value is this one. */
  readonly #equals = new Map<number, Set<number>>()
  /** What was known of registers before it changed, since the outermost branch was entered. */
  readonly #before: [id: number, value: Operand | undefined][] = []
  #branches = 0

  read(operand: Operand): Operand {
    return operand.kind === 'register' ? (this.#values.get(operand.id) ?? operand) : operand
  }

  learn(dst: Register, src: Operand): void {
    if (src.kind === 'immediate' || src.id !== dst.id) this.#set(dst.id, src)
  }

  forget(id: number): void {
    this.#set(id, undefined)
    for (const other of this.#equals.get(id) ?? []) this.#set(other, undefined)
  }

  forgetAll(ids: ReadonlySet<number>): void {
    for (const id of ids) this.forget(id)
  }

  /** Runs `visit`, and knows afterwards what was known before. */
  branch<T>(visit: () => T): T {
    const start = this.#before.length
    this.#branches++
    const result = visit()
    this.#branches--
    while (this.#before.length > start) {
      const [id, value] = this.#before.pop()!
      this.#change(id, value)
    }
    return result
  }

  #set(id: number, value: Operand | undefined): void {
    const before = this.#values.get(id)
    if (before === value) return
    if (this.#branches > 0) this.#before.push([id, before])
    this.#change(id, value)
  }

  #change(id: number, value: Operand | undefined): void {
    const before = this.#values.get(id)
    if (before?.kind === 'register') this.#equals.get(before.id)?.delete(id)
    if (!value) {
      this.#values.delete(id)
      return
    }
    this.#values.set(id, value)
    if (value.kind === 'immediate') return
    const equals = this.#equals.get(value.id)
    if (equals) equals.add(id)
    else this.#equals.set(value.id, new Set([id]))
  }
}
