import { Definitions, isRenaming } from '../ir/definitions.ts'
import type { Block, If, Instruction, Jump, KernelIr, Loop, Node, Register } from '../ir/op.ts'
import { uses } from '../ir/rewrite.ts'
import { isPure, ops } from '../ir/spec.ts'
import { type Level, level, uniformity } from '../ir/uniformity.ts'
import { writeInstruction } from './instructions.ts'
import type { Writer } from './writer.ts'

/**
 * Writes structured control as labels and branches. Three shapes keep the text, and what ptxas and the emulator see of
 * it, simple:
 *
 * - `if (p) break`, and the other jumps alone: one guarded branch;
 * - an `if` of a few simple instructions: each guarded, without a branch;
 * - a loop that begins with its test, `loop { t = …; if (t) break; … }`: the test once before the loop and once at
 *   its bottom, so that an iteration has one branch.
 * A branch that all lanes take alike is `bra.uni`.
 */
export function writeBody(w: Writer, ir: KernelIr): void {
  const control = new ControlWriter(w, ir)
  control.nodes(ir.body, undefined)
  if (ir.body.at(-1)?.kind !== 'return') w.line('ret')
}

/** Where `break` and `continue` of the loop around go. */
interface Targets {
  readonly exit: string
  readonly next: string
  /** Labels that something jumps to; the others are not written. */
  readonly used: Set<string>
}

const isJump = (node: Node): node is Jump =>
  node.kind === 'break' || node.kind === 'continue' || node.kind === 'return'

/** Longest `if` that is guarded instruction by instruction. */
const longestGuarded = 4

/** Operations that may take several instructions, which a guard would all repeat, or branch. */
const unguarded = new Set(['select', 'convert', 'waitBarrier'])

function isGuardable(block: Block, { condition }: If): boolean {
  return (
    block.length <= longestGuarded &&
    block.every(
      (node) =>
        node.kind === 'instruction' &&
        !ops[node.op]!.scope &&
        !unguarded.has(node.op) &&
        node.results.every((r) => condition.kind !== 'register' || r.id !== condition.id),
    )
  )
}

/** Longest test that is repeated at the bottom of its loop. */
const longestTest = 4

interface TestedLoop {
  readonly test: readonly Instruction[]
  readonly exit: If
  /** Whether the loop is left when the condition does not hold. */
  readonly negated: boolean
  readonly rest: readonly Node[]
}

/** A loop whose body begins with a few instructions that only compute, and an exit on what they give. */
function testedLoop({ body }: Loop): TestedLoop | undefined {
  const at = body.findIndex((node) => node.kind !== 'instruction' || !isPure(node))
  const exit = body[at]
  if (at < 0 || at > longestTest || exit?.kind !== 'if') return undefined
  const both = [...exit.body, ...exit.otherwise]
  if (both.length !== 1 || both[0]!.kind !== 'break') return undefined
  const test = body.slice(0, at) as Instruction[]
  return { test, exit, negated: exit.body.length === 0, rest: body.slice(at + 1) }
}

class ControlWriter {
  readonly #w: Writer
  /** How uniform each condition is. */
  readonly #conditions: ReadonlyMap<If, Level>
  readonly #definitions: Definitions

  constructor(w: Writer, ir: KernelIr) {
    this.#w = w
    this.#conditions = uniformity(ir).conditions
    this.#definitions = new Definitions(ir)
  }

  nodes(block: readonly Node[], targets: Targets | undefined): void {
    for (const node of block) {
      this.#w.at(node.location)
      switch (node.kind) {
        case 'instruction':
          this.#instruction(node)
          break
        case 'if':
          this.#if(node, targets)
          break
        case 'loop':
          this.#loop(node)
          break
        default:
          this.#jump(node, targets)
      }
    }
  }

  /** A change of type alone is no instruction: the result is another name of the argument's register. */
  #instruction(node: Instruction): void {
    if (isRenaming(node, this.#definitions))
      this.#w.registers.alias(node.results[0]!, node.args[0] as Register)
    else writeInstruction(this.#w, node)
  }

  #jump({ kind }: Jump, targets: Targets | undefined, uniform = true): void {
    if (kind === 'return') {
      this.#w.line('ret')
      return
    }
    const label = kind === 'break' ? targets!.exit : targets!.next
    targets!.used.add(label)
    this.#branch(label, uniform)
  }

  #branch(label: string, uniform: boolean): void {
    this.#w.line(uniform ? 'bra.uni' : 'bra', label)
  }

  #isUniform(node: If): boolean {
    return this.#conditions.get(node)! < level.none
  }

  /** Runs `write` with its instructions guarded by the condition, or by its negation. */
  #guarded({ condition }: If, negated: boolean, write: () => void): void {
    const w = this.#w
    w.guard = `@${negated ? '!' : ''}${w.inRegister(condition)} `
    write()
    w.guard = ''
  }

  #if(node: If, targets: Targets | undefined): void {
    // What runs when the condition holds, or when it does not if that is all there is.
    const negated = node.body.length === 0
    const first = negated ? node.otherwise : node.body
    const second = negated ? [] : node.otherwise
    const [alone] = first
    if (!alone) return
    if (second.length === 0 && isGuardable(first, node)) {
      this.#guarded(node, negated, () => this.nodes(first, targets))
      return
    }
    if (first.length === 1 && isJump(alone)) {
      this.#w.at(alone.location)
      this.#guarded(node, negated, () => this.#jump(alone, targets, this.#isUniform(node)))
      this.nodes(second, targets)
      return
    }
    const n = this.#w.nextLabel()
    const [other, end] = [`$else${n}`, `$end${n}`]
    this.#guarded(node, !negated, () => this.#branch(second.length > 0 ? other : end, this.#isUniform(node)))
    this.nodes(first, targets)
    if (second.length > 0) {
      if (!isJump(first.at(-1)!)) this.#branch(end, true)
      this.#w.label(other)
      this.nodes(second, targets)
    }
    this.#w.label(end)
  }

  #loop(node: Loop): void {
    const n = this.#w.nextLabel()
    const top = `$loop${n}`
    const tested = testedLoop(node)
    const next = node.step.length > 0 || tested ? `$next${n}` : top
    const targets: Targets = { exit: `$exit${n}`, next, used: new Set() }
    if (tested) {
      targets.used.add(targets.exit)
      this.#test(tested, targets.exit, tested.negated)
    }
    this.#w.label(top)
    // Of an unrolled loop, ptxas does not see that products run on from one iteration to the next.
    if (uses([node], 'wgmma')) this.#w.pragma('nounroll')
    this.nodes(tested?.rest ?? node.body, targets)
    if (next !== top && targets.used.has(next)) this.#w.label(next)
    this.nodes(node.step, undefined)
    if (tested) this.#test(tested, top, !tested.negated)
    else this.#branch(top, true)
    if (targets.used.has(targets.exit)) this.#w.label(targets.exit)
  }

  #test({ test, exit }: TestedLoop, label: string, negated: boolean): void {
    this.nodes(test, undefined)
    this.#w.at(exit.location)
    this.#guarded(exit, negated, () => this.#branch(label, this.#isUniform(exit)))
  }
}
