import { Bug } from '../diagnostics.ts'
import type { Block, Instruction, KernelIr, Node, Operand, ValueType } from './op.ts'
import { printNode } from './print.ts'
import { type OpSpec, ops } from './spec.ts'
import { normalize } from './value.ts'

/**
 * Checks a kernel against the grammar in `spec.ts`, and that every register is written before it is read on every
 * path, and that jumps are inside what they leave. Throws `Bug` with the node printed.
 * `after` names the pass that has just run.
 */
export function verify(ir: KernelIr, after = 'frontend'): void {
  new Verifier(ir, after).kernel()
}

/** An item of a pattern: `T`, `i32`, `T+`, `T?`. */
interface Item {
  readonly name: string
  readonly repeat: '' | '+' | '?'
}

interface Grammar {
  readonly results: readonly Item[]
  readonly args: readonly Item[]
  readonly where: ReadonlyMap<string, ReadonlySet<string>>
  readonly required: readonly string[]
  readonly spec: OpSpec
}

const parse = (pattern: string): Item[] =>
  pattern
    .split(' ')
    .filter(Boolean)
    .map((item) => ({
      name: item.replace(/[+?]$/, ''),
      repeat: item.endsWith('+') ? '+' : item.endsWith('?') ? '?' : '',
    }))

const grammars = new Map<string, Grammar>(
  Object.entries(ops).map(([op, spec]) => [
    op,
    {
      results: parse(spec.results),
      args: parse(spec.args),
      where: new Map(
        Object.entries(spec.where ?? {}).map(([name, list]) => [name, new Set(list.split(' '))]),
      ),
      required: Object.keys(spec.attributes ?? {}).filter((name) => !name.endsWith('?')),
      spec,
    },
  ]),
)

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
  readonly #types = new Map<number, ValueType>()
  readonly #variables: ReadonlySet<number>

  constructor(ir: KernelIr, after: string) {
    this.#ir = ir
    this.#after = after
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
    if (operand.kind === 'immediate') {
      const { type, value } = operand
      const normal =
        type === 'address' ? Number.isSafeInteger(value) : Object.is(normalize(type, value), value)
      if (!normal) this.#fail(`${value} is no ${type}`, node)
      return
    }
    if (!written.has(operand.id)) this.#fail(`%${operand.id} may be read before it is written`, node)
    if (this.#types.get(operand.id) !== operand.type)
      this.#fail(`%${operand.id} was written as ${this.#types.get(operand.id)}, not ${operand.type}`, node)
  }

  #instruction(node: Instruction, written: Written): void {
    const grammar = grammars.get(node.op)
    if (!grammar) this.#fail(`there is no operation ${node.op}`, node)
    for (const arg of node.args) this.#read(arg, written, node)
    const bound = new Map<string, ValueType>()
    this.#match(node, 'result', grammar, node.results, bound)
    this.#match(node, 'argument', grammar, node.args, bound)
    this.#attributes(node, grammar)
    const why = grammar.spec.check?.(node)
    if (why) this.#fail(why, node)
    if (new Set(node.results.map(({ id }) => id)).size !== node.results.length)
      this.#fail('one register is written twice', node)
    for (const { id, type } of node.results) {
      const known = this.#types.get(id)
      if (known !== undefined && known !== type) this.#fail(`%${id} is of type ${known}, not ${type}`, node)
      this.#types.set(id, type)
      written.add(id)
    }
  }

  #match(
    node: Instruction,
    what: 'result' | 'argument',
    { results, args, where }: Grammar,
    operands: readonly { type: ValueType }[],
    bound: Map<string, ValueType>,
  ): void {
    const items = what === 'result' ? results : args
    let next = 0
    for (const { name, repeat } of items) {
      let taken = 0
      while (next < operands.length && (taken === 0 || repeat === '+')) {
        const { type } = operands[next]!
        const allowed = where.get(name)
        // Accumulators and fragments of `mma` differ in type; its own check knows which is which.
        const same = name !== 'X' && allowed ? (bound.get(name) ?? type) : type
        if (allowed ? !allowed.has(type) || same !== type : name !== type)
          this.#fail(
            `${what} ${next} is of type ${type}, not ${bound.get(name) ?? [...(allowed ?? [name])]}`,
            node,
          )
        bound.set(name, type)
        next++
        taken++
      }
      if (taken === 0 && repeat !== '?') this.#fail(`${what} ${next} is missing`, node)
    }
    if (next < operands.length) this.#fail(`${what} ${next} is one too many`, node)
  }

  #attributes(node: Instruction, { required, spec }: Grammar): void {
    for (const name of required)
      if (node.attributes[name] === undefined) this.#fail(`the attribute ${name} is missing`, node)
    for (const [name, value] of Object.entries(node.attributes)) {
      const allowed = spec.attributes?.[name] ?? spec.attributes?.[`${name}?`]
      if (!allowed) this.#fail(`there is no attribute ${name}`, node)
      const good =
        allowed === 'integer'
          ? Number.isSafeInteger(value)
          : allowed === 'boolean'
            ? typeof value === 'boolean'
            : allowed.includes(value as string)
      if (!good) this.#fail(`the attribute ${name} cannot be ${value}`, node)
    }
    const { index, variable } = node.attributes
    if (node.op === 'param' && this.#ir.params[index as number]?.type !== node.results[0]!.type)
      this.#fail(`there is no parameter ${index} of type ${node.results[0]!.type}`, node)
    if (node.op === 'sharedAddress' && !this.#variables.has(variable as number))
      this.#fail(`there is no shared variable ${variable}`, node)
  }
}
