import { Bug } from '../diagnostics.ts'
import { brokenRule } from './grammar.ts'
import type { Block, Instruction, KernelIr, Node, Operand, ValueType } from './op.ts'
import { printNode } from './print.ts'

/**
 * Checks a kernel against the grammar in `spec.ts`, and that every register is written before it is read on every
 * path, and that jumps are inside what they leave. Throws `Bug` with the node printed.
 * `after` names the pass that has just run. Instructions do not change, and most survive a pass: those in `sound` are
 * not matched with the grammar again, and those that are join it.
 */
export function verify(ir: KernelIr, after = 'frontend', sound = new Set<Instruction>()): void {
  new Verifier(ir, after, sound).kernel()
}

/**
 * Registers written on the way to a point, as a chain of what each enclosing region added. `dead` means that the
 * point is not reached, so that every register counts as written.
 */
class Written {
  dead = false
  readonly #outer: Written | undefined
  readonly #here = new Set<number>()

  constructor(outer?: Written) {
    this.#outer = outer
  }

  has(id: number): boolean {
    return this.dead || this.#here.has(id) || (this.#outer?.has(id) ?? false)
  }
  add(id: number): void {
    this.#here.add(id)
  }
  /** What was added since `outer`, which is an enclosing point. */
  since(outer: Written): Set<number> {
    if (this === outer) return new Set()
    const rest = this.#outer?.since(outer) ?? new Set<number>()
    for (const id of this.#here) rest.add(id)
    return rest
  }
  /** Joins paths that meet here: what all of them wrote. No path at all leaves the point unreached. */
  join(paths: readonly (Set<number> | undefined)[]): void {
    const alive = paths.filter((path) => path !== undefined)
    const [first, ...others] = alive
    if (!first) {
      this.dead = true
      return
    }
    for (const id of first) if (others.every((path) => path.has(id))) this.#here.add(id)
  }
}

interface Loop {
  readonly entry: Written
  readonly breaks: Set<number>[]
  readonly continues: Set<number>[]
}

class Verifier {
  readonly #ir: KernelIr
  readonly #after: string
  readonly #sound: Set<Instruction>
  readonly #types: ValueType[] = []
  readonly #variables: ReadonlySet<number>

  constructor(ir: KernelIr, after: string, sound: Set<Instruction>) {
    this.#ir = ir
    this.#after = after
    this.#sound = sound
    this.#variables = new Set(ir.shared.map(({ id }) => id))
  }

  kernel(): void {
    const { block } = this.#ir
    if (!block.every((n) => Number.isInteger(n) && n > 0)) this.#fail(`the block is ${block.join('x')}`)
    this.#block(this.#ir.body, new Written(), undefined)
  }

  #fail(why: string, node?: Node): never {
    const at = node ? `: ${printNode(node)} (${node.location.file}:${node.location.line})` : ''
    throw new Bug(`after ${this.#after}, kernel ${this.#ir.name}: ${why}${at}`)
  }

  #block(block: Block, written: Written, loop: Loop | undefined): void {
    for (const node of block) {
      switch (node.kind) {
        case 'instruction':
          this.#instruction(node, written)
          break
        case 'if': {
          if (node.condition.type !== 'bool') this.#fail('a condition is of type bool', node)
          this.#read(node.condition, written, node)
          const paths = [node.body, node.otherwise].map((branch) => {
            const state = new Written(written)
            this.#block(branch, state, loop)
            return state.dead ? undefined : state.since(written)
          })
          written.join(paths)
          break
        }
        case 'loop':
          this.#loop(node, written)
          break
        case 'return':
          written.dead = true
          break
        case 'break':
        case 'continue':
          if (!loop) this.#fail(`${node.kind} outside a loop`, node)
          else (node.kind === 'break' ? loop.breaks : loop.continues).push(written.since(loop.entry))
          written.dead = true
      }
    }
  }

  #loop(node: Node & { kind: 'loop' }, written: Written): void {
    const inside: Loop = { entry: written, breaks: [], continues: [] }
    const body = new Written(written)
    this.#block(node.body, body, inside)
    const step = new Written(written)
    step.join([...inside.continues, body.dead ? undefined : body.since(written)])
    if (!step.dead) {
      const breaks = inside.breaks.length + inside.continues.length
      this.#block(node.step, step, inside)
      if (step.dead || inside.breaks.length + inside.continues.length !== breaks)
        this.#fail('the step of a loop has no jump', node)
    }
    written.join(inside.breaks)
  }

  #read(operand: Operand, written: Written, node: Node): void {
    if (operand.kind === 'immediate') return
    if (!written.has(operand.id)) this.#fail(`%${operand.id} may be read before it is written`, node)
    if (this.#types[operand.id] !== operand.type)
      this.#fail(`%${operand.id} was written as ${this.#types[operand.id]}, not ${operand.type}`, node)
  }

  #instruction(node: Instruction, written: Written): void {
    if (!this.#sound.has(node)) {
      const why = brokenRule(node) ?? this.#missing(node)
      if (why) this.#fail(why, node)
      this.#sound.add(node)
    }
    for (const arg of node.args) this.#read(arg, written, node)
    for (const { id, type } of node.results) {
      const known = this.#types[id]
      if (known !== undefined && known !== type) this.#fail(`%${id} is of type ${known}, not ${type}`, node)
      this.#types[id] = type
      written.add(id)
    }
  }

  /** What an instruction names and the kernel has not. */
  #missing({ op, results, attributes }: Instruction): string | undefined {
    const { index, variable } = attributes
    if (op === 'param' && this.#ir.params[index as number]?.type !== results[0]!.type)
      return `there is no parameter ${index} of type ${results[0]!.type}`
    if (op === 'tensorMap' && this.#ir.params[index as number]?.type !== 'tensorMap')
      return `parameter ${index} is no tensor map`
    return op === 'sharedAddress' && !this.#variables.has(variable as number)
      ? `there is no shared variable ${variable}`
      : undefined
  }
}
