import { assigned, Definitions } from '../definitions.ts'
import { evaluate } from '../evaluate.ts'
import { Facts } from '../facts.ts'
import { simplify } from '../identities.ts'
import type { Attributes, Block, If, Instruction, KernelIr, Loop, Node, Operand } from '../op.ts'
import { type Fresh, freshRegisters } from '../rewrite.ts'
import { isPure } from '../spec.ts'
import { immediate } from '../value.ts'

/**
 * Computes what is known while compiling, and replaces instructions by simpler ones of the same value.
 *
 *     %2 = mul %1, 8         %2 = mul %1, 8
 *     %3 = add %2, 5         %3 = add %2, 5
 *     %4 = rem %3, 8    →    %4 = move 5
 *
 * One walk in order of the text: arguments are read through what is known of temporaries, then the rules of
 * `evaluate.ts` and `identities.ts` are tried until none applies. Bounds come from `facts.ts`; those of a counting
 * loop's variable from its first value and its test. An `if` on a known condition becomes its branch, and a loop that
 * breaks in its first iteration what stands before the break.
 */
export function fold(ir: KernelIr): KernelIr {
  return { ...ir, body: new Folder(ir).block(ir.body) }
}

/** Rules tried on one instruction; each makes it simpler, so that this only guards against a pair that undo each other. */
const mostRules = 8

class Folder {
  readonly #definitions: Definitions
  readonly #facts: Facts
  readonly #values = new Map<number, Operand>()
  readonly #fresh: Fresh
  /** Instructions to be put before the current one. */
  readonly #emitted: Instruction[] = []

  constructor(ir: KernelIr) {
    this.#fresh = freshRegisters(ir)
    this.#definitions = new Definitions(ir)
    this.#facts = new Facts(ir.block)
  }

  block(block: Block): Block {
    return block.flatMap((node): Block => {
      switch (node.kind) {
        case 'instruction': {
          const simpler = this.#instruction(node)
          return [...this.#emitted.splice(0), simpler]
        }
        case 'if':
          return this.#if(node)
        case 'loop':
          return once(this.#loop(node))
        default:
          return [node]
      }
    })
  }

  #read(operand: Operand): Operand {
    return operand.kind === 'register' ? (this.#values.get(operand.id) ?? operand) : operand
  }

  #instruction(node: Instruction): Instruction {
    let result = node
    if (node.args.some((arg) => this.#read(arg) !== arg))
      result = { ...node, args: node.args.map((arg) => this.#read(arg)) }
    if (isPure(result) && result.results.length === 1) result = this.#simplest(result)
    for (const { id } of result.results) if (this.#definitions.isTemporary(id)) this.#learn(id, result)
    return result
  }

  /** Notes what writes a temporary. */
  #learn(id: number, node: Instruction): void {
    this.#definitions.replace(id, node)
    this.#facts.learn(node)
    if (node.op === 'move' && this.#definitions.isStable(node.args[0]!)) this.#values.set(id, node.args[0]!)
  }

  /** An instruction before `node`, with a result of the same type. */
  #emit(node: Instruction, op: string, args: readonly Operand[], attributes: Attributes): Operand {
    const result = this.#fresh(node.results[0]!.type)
    const simplest = this.#simplest({ ...node, op, results: [result], args, attributes })
    this.#emitted.push(simplest)
    this.#learn(result.id, simplest)
    return this.#read(result)
  }

  #simplest(node: Instruction): Instruction {
    let result = node
    for (let i = 0; i < mostRules && result.op !== 'move'; i++) {
      const next = this.#simpler(result)
      if (!next) return result
      result = next
    }
    return result
  }

  #simpler(node: Instruction): Instruction | undefined {
    const value = evaluate(node)
    const { type } = node.results[0]!
    const simpler =
      value === undefined
        ? simplify(node, {
            definitions: this.#definitions,
            facts: this.#facts,
            emit: (op, args, attributes) => this.#emit(node, op, args, attributes),
          })
        : immediate(type, value)
    if (!simpler) return undefined
    if (!('kind' in simpler)) return { ...node, ...simpler, attributes: simpler.attributes ?? {} }
    return { ...node, op: 'move', args: [simpler], attributes: {} }
  }

  #if(node: If): Block {
    const condition = this.#read(node.condition)
    if (condition.kind === 'immediate') return this.block(condition.value ? node.body : node.otherwise)
    const negated = this.#definitions.of(condition)
    const [body, otherwise] = [this.block(node.body), this.block(node.otherwise)]
    // `if (!p)` with both branches is `if (p)` with them exchanged.
    if (negated?.op === 'not' && this.#definitions.isStable(negated.args[0]!))
      return [{ ...node, condition: negated.args[0]!, body: otherwise, otherwise: body }]
    return [{ ...node, condition, body, otherwise }]
  }

  #loop(node: Loop): Loop {
    const counter = this.#counter(node)
    if (!counter) return { ...node, body: this.block(node.body), step: this.block(node.step) }
    const { id, test, inside, header } = counter
    this.#facts.assume(id, header)
    const start = this.block(node.body.slice(0, test))
    this.#facts.assume(id, inside)
    const rest = this.block(node.body.slice(test))
    const step = this.block(node.step)
    this.#facts.forget(id)
    return { ...node, body: [...start, ...rest], step }
  }

  /**
   * The variable that a loop counts: `i = a; loop { … if (i >= n) break; … } step { i = add i, c }` with a positive c
   * and no other write of i. It is assumed not to overflow, as the language says of `range`.
   */
  #counter(node: Loop) {
    const exit = node.body.findIndex((inner) => inner.kind !== 'instruction')
    const first = node.body[exit]
    if (first?.kind !== 'if' || !isBreak(first)) return undefined
    const compare = this.#writerIn(node.body.slice(0, exit), first.condition)
    const [variable, limit] = compare?.args ?? []
    if (compare?.attributes.relation !== 'ge' || variable?.kind !== 'register' || variable.type !== 'i32')
      return undefined
    const { id } = variable
    const increment = node.step.find(
      (inner): inner is Instruction => inner.kind === 'instruction' && inner.results.some((r) => r.id === id),
    )
    const writers = this.#definitions.writers(id)
    const initial = writers[0]
    if (writers.length !== 2 || !increment || writers[1] !== increment || assigned(node.body).has(id))
      return undefined
    const [again, by] = increment.args
    if (increment.op !== 'add' || again?.kind !== 'register' || again.id !== id) return undefined
    if (by?.kind !== 'immediate' || by.value <= 0 || initial?.op !== 'move') return undefined
    const start = this.#facts.of(this.#read(initial.args[0]!))
    const last = this.#facts.of(this.#read(limit!)).max - 1
    const unit = Math.min(start.unit, this.#facts.of(by).unit)
    const inside = { min: start.min, max: Math.max(last, start.min), unit }
    const header = { min: start.min, max: Math.min(Math.max(last + by.value, start.max), 2 ** 31 - 1), unit }
    return { id, test: exit + 1, inside, header }
  }

  /** The comparison that computes a condition, read through what is known already. */
  #writerIn(block: readonly Node[], condition: Operand): Instruction | undefined {
    if (condition.kind !== 'register') return undefined
    return block.find(
      (node): node is Instruction =>
        node.kind === 'instruction' && node.op === 'compare' && node.results[0]!.id === condition.id,
    )
  }
}

/** A loop that its first iteration ends is that iteration. */
function once(loop: Loop): Block {
  const end = loop.body.findIndex((node) => node.kind === 'break')
  const before = loop.body.slice(0, end)
  return end < 0 || leavesIteration(before) ? [loop] : before
}

/** Whether a block has a jump of the loop around it. */
const leavesIteration = (block: Block): boolean =>
  block.some(
    (node) =>
      node.kind === 'break' ||
      node.kind === 'continue' ||
      (node.kind === 'if' && (leavesIteration(node.body) || leavesIteration(node.otherwise))),
  )

const isBreak = ({ body, otherwise }: If): boolean =>
  body.length === 1 && body[0]!.kind === 'break' && otherwise.length === 0
