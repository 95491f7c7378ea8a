import { assigned, Definitions } from '../definitions.ts'
import type { Block, Instruction, KernelIr, Loop, Operand, Register, ValueType } from '../op.ts'
import { type Fresh, freshRegisters } from '../rewrite.ts'
import { integerOf } from '../spec.ts'
import { type Sum, Sums, type Term } from '../sums.ts'
import { immediate } from '../value.ts'
import { addressesOf, furthestOffset } from './fold-addresses.ts'

/**
 * Regroups the sums that are addresses in a loop, so that what the loop does not change is added first and can leave
 * it. With %2 the loop's variable, and the others from outside:
 *
 *     %4 = shl %2, 11                 %7 = mul %3, 4
 *     %5 = add %4, %3                 %8 = add %7, %0       these two leave the loop
 *     %6 = mad %5, 4, %0       →      %9 = mul %2, 8192
 *     load %6                         %10 = add %8, %9
 *                                     load %10
 *
 * An address is regrouped when that leaves fewer instructions in the innermost loop. Its terms are in order of the
 * loops that change them, outermost first, so that each loop adds its own to what comes from outside.
 */
export function regroupSums(ir: KernelIr): KernelIr {
  return { ...ir, body: new Regrouper(ir).block(ir.body) }
}

class Regrouper {
  readonly #definitions: Definitions
  readonly #sums: Sums
  readonly #fresh: Fresh
  /** What each of the loops around writes, outermost first. */
  readonly #loops: ReadonlySet<number>[] = []

  constructor(ir: KernelIr) {
    this.#definitions = new Definitions(ir)
    this.#sums = new Sums(this.#definitions)
    this.#fresh = freshRegisters(ir)
  }

  block(block: Block): Block {
    return block.flatMap((node): Block => {
      switch (node.kind) {
        case 'instruction': {
          const regrouped = this.#loops.length > 0 ? this.#instruction(node) : [node]
          this.#sums.note(node, this.#loops.length)
          for (const { id } of node.results) this.#sums.write(id)
          return regrouped
        }
        case 'if': {
          const written = assigned(node.body, node.otherwise)
          const body = this.block(node.body)
          this.#writeAll(written)
          const otherwise = this.block(node.otherwise)
          this.#writeAll(written)
          return [{ ...node, body, otherwise }]
        }
        case 'loop':
          return [this.#loop(node)]
        default:
          return [node]
      }
    })
  }

  #loop(node: Loop): Loop {
    const written = assigned(node.body, node.step)
    this.#writeAll(written)
    this.#loops.push(written)
    const body = this.block(node.body)
    this.#writeAll(assigned(node.body))
    const step = this.block(node.step)
    this.#loops.pop()
    this.#writeAll(written)
    return { ...node, body, step }
  }

  #writeAll(ids: ReadonlySet<number>): void {
    for (const id of ids) this.#sums.write(id)
  }

  #instruction(node: Instruction): Block {
    const names = addressesOf(node)
    const before: Instruction[] = []
    const args = [...node.args]
    const attributes = { ...node.attributes }
    for (const [i, name] of names.entries()) {
      const address = args[i]!
      const sum = this.#sums.of(address)
      const offset = integerOf(attributes, name) + sum.constant
      if (!this.#isWorthwhile(sum, address.type) || Math.abs(offset) >= furthestOffset) continue
      args[i] = this.#build(before, node, sum.terms, address.type)
      if (sum.constant !== 0) attributes[name] = offset
    }
    return before.length > 0 ? [...before, { ...node, args, attributes }] : [node]
  }

  /** The innermost of the loops around that changes a register; 0 when none does. */
  #rank({ register }: Term): number {
    return this.#loops.findLastIndex((written) => written.has(register.id)) + 1
  }

  #isWorthwhile({ terms, cost }: Sum, type: ValueType): boolean {
    const inner = terms.filter((term) => this.#rank(term) === this.#loops.length)
    const fits = terms.every(({ factor }) => Math.abs(factor) < 2 ** 31)
    const isProduct = ({ register, factor }: Term) =>
      factor !== 1 || (type === 'address' && register.type !== type)
    const products = inner.filter(isProduct).length
    return fits && inner.length < terms.length && inner.length + products < cost
  }

  /** Instructions that add up the terms; each makes a product of a factor other than 1. */
  #build(before: Instruction[], node: Instruction, terms: readonly Term[], type: ValueType): Register {
    const emit = (op: string, args: readonly Operand[]): Register => {
      const result = this.#fresh(type)
      before.push({
        kind: 'instruction',
        op,
        results: [result],
        args,
        attributes: {},
        location: node.location,
      })
      return result
    }
    const product = ({ register, factor }: Term): Register => {
      if (type === 'address')
        return register.type === 'address' ? register : emit('mulWide', [register, immediate('i32', factor)])
      const same = register.type === type ? register : emit('convert', [register])
      return factor === 1 ? same : emit('mul', [same, immediate(type, factor)])
    }
    const order = [...terms].sort((a, b) => this.#rank(a) - this.#rank(b) || a.register.id - b.register.id)
    return order.map(product).reduce((sum, term) => emit('add', [sum, term]))
  }
}
