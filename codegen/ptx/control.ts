import type { Block, If, Instruction, Jump, Loop, Node } from '../ir/op.ts'
import { isPure, ops } from '../ir/spec.ts'
import { writeInstruction } from './instructions.ts'
import type { Writer } from './writer.ts'

/** Where `break` and `continue` of the loop around go. */
interface Targets {
  readonly exit: string
  readonly next: string
  /** Labels that something jumps to; the others are not written. */
  readonly used: Set<string>
}

/**
 * Writes structured control as labels and branches. Three shapes keep the text, and what ptxas and the emulator see of
 * it, simple:
 *
 * - `if (p) break`, and the other jumps alone: one guarded branch;
 * - an `if` of a few simple instructions: each guarded, without a branch;
 * - a loop that begins with its test, `loop { t = …; if (t) break; … }`: the test once before the loop and once at
 *   its bottom, so that an iteration has one branch.
 */
export function writeBlock(w: Writer, block: Block): void {
  writeNodes(w, block, undefined)
  w.line('ret')
}

function writeNodes(w: Writer, block: readonly Node[], targets: Targets | undefined): void {
  for (const node of block) {
    w.at(node.location)
    switch (node.kind) {
      case 'instruction':
        writeInstruction(w, node)
        break
      case 'if':
        writeIf(w, node, targets)
        break
      case 'loop':
        writeLoop(w, node)
        break
      default:
        writeJump(w, node, targets)
    }
  }
}

function writeJump(w: Writer, { kind }: Jump, targets: Targets | undefined): void {
  if (kind === 'return') w.line('ret')
  else jumpTo(w, kind === 'break' ? targets!.exit : targets!.next, targets)
}

function jumpTo(w: Writer, label: string, targets: Targets | undefined): void {
  targets?.used.add(label)
  w.line(w.guard ? 'bra' : 'bra.uni', label)
}

/** Runs `write` with its instructions guarded by a predicate, or by its negation. */
function guarded(w: Writer, predicate: string, negated: boolean, write: () => void): void {
  w.guard = `@${negated ? '!' : ''}${predicate} `
  write()
  w.guard = ''
}

function writeIf(w: Writer, node: If, targets: Targets | undefined): void {
  const { condition, body, otherwise } = node
  if (body.length === 0 && otherwise.length === 0) return
  const p = w.inRegister(condition)
  // What runs when the condition holds, or when it does not if that is all there is.
  const negated = body.length === 0
  const first = negated ? otherwise : body
  const second = negated ? [] : otherwise
  if (second.length === 0 && isGuardable(first, node)) {
    guarded(w, p, negated, () => writeNodes(w, first, targets))
    return
  }
  const alone = first[0]!
  if (first.length === 1 && isJump(alone)) {
    w.at(alone.location)
    guarded(w, p, negated, () => writeJump(w, alone, targets))
    writeNodes(w, second, targets)
    return
  }
  const n = w.nextLabel()
  const [other, end] = [`$else${n}`, `$end${n}`]
  guarded(w, p, !negated, () => w.line('bra', second.length > 0 ? other : end))
  writeNodes(w, first, targets)
  if (second.length > 0) {
    if (!isJump(first.at(-1)!)) w.line('bra.uni', end)
    w.label(other)
    writeNodes(w, second, targets)
  }
  w.label(end)
}

const isJump = (node: Node): node is Jump =>
  node.kind === 'break' || node.kind === 'continue' || node.kind === 'return'

/** Longest `if` that is guarded instruction by instruction. */
const longestGuarded = 4

/** Operations that take several instructions, or must not stand under a guard. */
const unguarded = new Set(['select', 'convert'])

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
  readonly rest: readonly Node[]
}

/** A loop whose body begins with a few instructions that only compute, and an exit on what they give. */
function testedLoop({ body }: Loop): TestedLoop | undefined {
  const at = body.findIndex((node) => node.kind !== 'instruction' || !isPure(node))
  const exit = body[at]
  if (at < 0 || at > longestTest || exit?.kind !== 'if') return undefined
  if (exit.body.length !== 1 || exit.body[0]!.kind !== 'break' || exit.otherwise.length > 0) return undefined
  return { test: body.slice(0, at) as Instruction[], exit, rest: body.slice(at + 1) }
}

function writeLoop(w: Writer, node: Loop): void {
  const n = w.nextLabel()
  const top = `$loop${n}`
  const tested = testedLoop(node)
  const next = node.step.length > 0 || tested ? `$next${n}` : top
  const targets: Targets = { exit: `$exit${n}`, next, used: new Set() }
  if (tested)
    writeTest(w, tested, () =>
      guarded(w, w.inRegister(tested.exit.condition), false, () => jumpTo(w, targets.exit, targets)),
    )
  w.label(top)
  writeNodes(w, tested?.rest ?? node.body, targets)
  if (next !== top && targets.used.has(next)) w.label(next)
  writeNodes(w, node.step, undefined)
  if (tested)
    writeTest(w, tested, () =>
      guarded(w, w.inRegister(tested.exit.condition), true, () => w.line('bra', top)),
    )
  else w.line('bra.uni', top)
  if (targets.used.has(targets.exit)) w.label(targets.exit)
}

function writeTest(w: Writer, { test, exit }: TestedLoop, branch: () => void): void {
  writeNodes(w, test, undefined)
  w.at(exit.location)
  branch()
}
