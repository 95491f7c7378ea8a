import { Definitions } from './definitions.ts'
import type { Block, If, Instruction, KernelIr, Location, Loop, Node, Operand } from './op.ts'
import { ops, type Scope } from './spec.ts'

/** Over which threads a value, or a decision, is the same: all of the CTA, those of a warpgroup, of a warp, or none. */
export type Level = 0 | 1 | 2 | 3
export const level = { cta: 0, warpgroup: 1, warp: 2, none: 3 } as const satisfies Record<string, Level>

/** The least that threads must have in common to come to operations of a scope together. */
const wanted: Readonly<Record<Scope, Level>> = {
  warp: level.warp,
  warpgroup: level.warpgroup,
  cta: level.cta,
  cluster: level.cta,
}

/** An operation that threads must come to together, and the condition that parts them. */
export interface Divergence {
  readonly node: Instruction
  readonly level: Level
  /** The condition, or the jump under it that some threads take. */
  readonly cause: Location
  readonly jump?: 'break' | 'continue' | 'return'
}

export interface Uniformity {
  /** How uniform each condition is. */
  readonly conditions: ReadonlyMap<If, Level>
  /** Operations that threads reach apart, in order of the text. */
  readonly divergences: readonly Divergence[]
}

/**
 * Finds what is the same for all threads, and which operations not all threads reach together.
 *
 * A value is as uniform as its arguments. Threads part at `tid`, `laneid`, atomics, `mma` and shuffles; a vote or a
 * reduction makes them one again within a warp. A load from one address gives one value. Control parts at an `if`
 * on a condition that differs: inside it; behind it too as far as a jump in it reaches, the rest of the iteration for
 * `continue`, the whole loop for `break`, all that follows for `return`. A variable is no more uniform than the
 * control under which it is written.
 *
 * One pattern is seen through: `tid.x` over a power of two or another constant, plus a multiple of m, compared with a
 * multiple of m. All lanes of a warp agree when 32 threads divide what m stands for, the warps of a warpgroup when 128
 * do, and all threads when the block does. So `tid.x < 64` parts warps, not lanes; `tid.x >> 5 >= 8` parts warpgroups;
 * and `for (i = tid.x; i < 4 * blockDim.x; i += blockDim.x)` does not part threads at all.
 *
 * Everything starts uniform and loses it until nothing changes.
 */
export function uniformity(ir: KernelIr): Uniformity {
  const analysis = new Analysis(ir)
  do analysis.sweep()
  while (analysis.changed)
  return { conditions: analysis.conditions, divergences: analysis.divergences() }
}

/** Something that parts threads, and how far. */
interface Cause {
  readonly level: Level
  readonly location: Location
  readonly jump?: 'break' | 'continue' | 'return'
}

const together: Cause = { level: 0, location: { file: '', line: 1, column: 1 } }

const worse = (a: Cause, b: Cause): Cause => (b.level > a.level ? b : a)

/**
 * That a register is `floor(tid.x / threads)` plus a multiple of `multiple`, where 0 stands for nothing added. What is
 * added is the same for the threads that `level` says.
 */
interface ThreadForm {
  readonly threads: number
  readonly multiple: number
  readonly level: Level
}

const max = (a: Level, b: Level): Level => (a > b ? a : b)
const min = (a: Level, b: Level): Level => (a < b ? a : b)

/** The threads that certainly share what changes every `threads` threads. */
const sharedBy = (threads: number): Level =>
  threads % 128 === 0 ? level.warpgroup : threads % 32 === 0 ? level.warp : level.none

const reversed: Readonly<Record<string, string>> = { lt: 'gt', le: 'ge', gt: 'lt', ge: 'le' }

class Analysis {
  changed = false
  readonly conditions = new Map<If, Level>()
  readonly #ir: KernelIr
  readonly #definitions: Definitions
  readonly #levels: (Level | undefined)[] = []
  readonly #forms: (ThreadForm | 'none' | undefined)[] = []
  /** The innermost loop that writes a temporary. */
  readonly #owners: (Loop | undefined)[] = []
  readonly #parents = new Map<Loop, Loop | undefined>()
  /** What parts threads by leaving a loop early. */
  readonly #exits = new Map<Loop, Cause>()
  #loops: readonly Loop[] = []
  #returned = together
  #found: Divergence[] = []
  /** Whether so many threads with neighbouring numbers have neighbouring `tid.x`, all else being equal. */
  readonly #areRows: (threads: number) => boolean
  readonly #oneWarp: boolean

  constructor(ir: KernelIr) {
    this.#ir = ir
    this.#definitions = new Definitions(ir)
    const [x, y, z] = ir.block
    this.#areRows = (threads) => x % threads === 0 || y * z === 1
    this.#oneWarp = x * y * z <= 32
  }

  divergences(): Divergence[] {
    return this.#found
  }

  /** One walk over the text. */
  sweep(): void {
    this.changed = false
    this.#found = []
    this.#returned = together
    this.#block(this.#ir.body, together, { continued: together })
  }

  /** `rest` is what `continue` parts until the iteration ends. */
  #block(block: Block, control: Cause, rest: { continued: Cause }): void {
    for (const node of block) {
      const here = worse(worse(control, rest.continued), this.#returned)
      switch (node.kind) {
        case 'instruction':
          this.#instruction(node, here)
          break
        case 'if': {
          const condition = this.#levelOf(node.condition)
          if (this.conditions.get(node) !== condition) this.changed = true
          this.conditions.set(node, condition)
          const inside = worse(here, { level: condition, location: node.location })
          this.#block(node.body, inside, rest)
          this.#block(node.otherwise, inside, rest)
          break
        }
        case 'loop':
          this.#loop(node, here)
          break
        default:
          this.#jump(node, here, rest)
      }
    }
  }

  #loop(node: Loop, control: Cause): void {
    this.#parents.set(node, this.#loops.at(-1))
    const outer = this.#loops
    this.#loops = [...outer, node]
    const inside = worse(control, this.#exits.get(node) ?? together)
    this.#block(node.body, inside, { continued: together })
    this.#block(node.step, inside, { continued: together })
    this.#loops = outer
  }

  #jump({ kind }: Node, here: Cause, rest: { continued: Cause }): void {
    if (here.level === 0) return
    const cause = { ...here, jump: kind as 'break' | 'continue' | 'return' }
    if (kind === 'continue') rest.continued = worse(rest.continued, cause)
    else if (kind === 'return') this.#returned = worse(this.#returned, cause)
    if (kind === 'break') rest.continued = worse(rest.continued, cause)
    for (const loop of kind === 'return' ? this.#loops : kind === 'break' ? this.#loops.slice(-1) : []) {
      const before = this.#exits.get(loop) ?? together
      if (before.level >= cause.level) continue
      this.#exits.set(loop, cause)
      this.changed = true
    }
  }

  #instruction(node: Instruction, here: Cause): void {
    const { scope } = ops[node.op]!
    const allowed = scope === undefined ? level.none : this.#oneWarp ? level.warp : wanted[scope]
    if (here.level > allowed)
      this.#found.push({
        node,
        level: here.level,
        cause: here.location,
        ...(here.jump ? { jump: here.jump } : {}),
      })
    const result = this.#resultLevel(node)
    for (const { id } of node.results) {
      const isTemporary = this.#definitions.isTemporary(id)
      if (isTemporary && this.#loops.length > 0) this.#owners[id] = this.#loops.at(-1)
      this.#raise(id, isTemporary ? result : max(result, here.level))
      this.#setForm(id, this.#formOf(node), here.level)
    }
  }

  #raise(id: number, level: Level): void {
    const before = this.#levels[id]
    if (before !== undefined && before >= level) return
    this.#levels[id] = level
    if (before !== undefined || level > 0) this.changed = true
  }

  #levelOf(operand: Operand): Level {
    if (operand.kind === 'immediate') return 0
    let level = this.#levels[operand.id] ?? 0
    // Threads that left a loop at different times hold what it computed at different times.
    for (
      let loop = this.#owners[operand.id];
      loop && !this.#loops.includes(loop);
      loop = this.#parents.get(loop)
    )
      level = max(level, this.#exits.get(loop)?.level ?? 0)
    return level
  }

  #resultLevel(node: Instruction): Level {
    const { op, args, attributes } = node
    const ofArgs = args.reduce<Level>((most, arg) => max(most, this.#levelOf(arg)), level.cta)
    switch (op) {
      case 'special':
        return this.#specialLevel(attributes.name as string)
      case 'ldmatrix':
      case 'mma':
      case 'wgmma':
      case 'atomic':
        return level.none
      case 'vote':
      case 'ballot':
      case 'redux':
        return ofArgs === level.none ? level.warp : ofArgs
      case 'shuffle': {
        const value = this.#levelOf(args[0]!)
        if (value < level.none) return value
        return attributes.mode === 'index' && this.#levelOf(args[1]!) < level.none ? level.warp : level.none
      }
      default:
        return ofArgs === level.cta ? ofArgs : min(ofArgs, this.#throughForm(node))
    }
  }

  #specialLevel(name: string): Level {
    const [x, y, z] = this.#ir.block
    switch (name) {
      case 'tid.x':
        return x === 1 ? level.cta : level.none
      case 'tid.y':
        return y === 1 ? level.cta : sharedBy(x)
      case 'tid.z':
        return z === 1 ? level.cta : sharedBy(x * y)
      case 'laneid':
        return level.none
      default:
        return level.cta
    }
  }

  /** What divides or compares a part of `tid.x` plus a multiple so that threads agree. */
  #throughForm({ op, args, attributes }: Instruction): Level {
    const swapped = op === 'compare' && args[1] && !this.#form(args[0]!)
    const [value, other] = swapped ? [args[1], args[0]] : args
    const form = value && this.#form(value)
    if (!form || !other || this.#levelOf(other) === level.none) return level.none
    /** Whether threads agree that part at multiples of `size`. */
    const agree = (size: number): Level => {
      const threads = form.threads * divisor(form.multiple, size)
      const [x, y, z] = this.#ir.block
      const together = threads % x === 0 && y * z === 1 ? level.cta : sharedBy(threads)
      if (together !== level.cta && !this.#areRows(together === level.warpgroup ? 128 : 32)) return level.none
      return max(together, max(form.level, this.#levelOf(other)))
    }
    if (op === 'compare') {
      const given = attributes.relation as string
      const relation = swapped ? reversed[given] : given
      if (relation === 'lt' || relation === 'ge') return agree(this.#multipleOf(other))
      // i <= 31 is i < 32.
      if ((relation === 'le' || relation === 'gt') && other.kind === 'immediate')
        return agree(Math.abs(other.value + 1))
      return level.none
    }
    if (other.kind !== 'immediate') return level.none
    if (op === 'shr' && other.value >= 0 && other.value < 31) return agree(2 ** other.value)
    // Towards zero, quotients of a negative sum would part lanes.
    if (op === 'div' && other.value > 0 && form.multiple === 0) return agree(other.value)
    return op === 'and' ? agree(unitOf(other.value)) : level.none
  }

  #form(operand: Operand): ThreadForm | undefined {
    const form = operand.kind === 'register' ? this.#forms[operand.id] : undefined
    return form === 'none' ? undefined : form
  }

  #formOf({ op, args, attributes }: Instruction): ThreadForm | undefined {
    if (op === 'special')
      return attributes.name === 'tid.x' ? { threads: 1, multiple: 0, level: level.cta } : undefined
    const [value, by] = args
    if (op === 'move' || op === 'bitcast' || (op === 'convert' && !attributes.saturate))
      return this.#form(value!)
    if ((op === 'shr' || op === 'div') && by?.kind === 'immediate') {
      const form = this.#form(value!)
      const size = op === 'shr' ? 2 ** by.value : by.value
      return form && size > 0 && size < 2 ** 31 && form.multiple === 0
        ? { ...form, threads: form.threads * size }
        : undefined
    }
    if (op !== 'add') return undefined
    for (const [i, arg] of args.entries()) {
      const form = this.#form(arg)
      const other = args[1 - i]!
      const added = this.#levelOf(other)
      if (form && added < level.none)
        return {
          threads: form.threads,
          multiple: divisor(form.multiple, this.#multipleOf(other)),
          level: max(form.level, added),
        }
    }
    return undefined
  }

  /** Joins what the writes of a variable give. */
  #setForm(id: number, form: ThreadForm | undefined, control: Level): void {
    const before = this.#forms[id]
    let after: ThreadForm | 'none' = form ?? 'none'
    if (form && !this.#definitions.isTemporary(id)) after = { ...form, level: max(form.level, control) }
    if (before === 'none') return
    if (before && after !== 'none')
      after =
        before.threads === after.threads
          ? {
              threads: before.threads,
              multiple: divisor(before.multiple, after.multiple),
              level: max(before.level, after.level),
            }
          : 'none'
    if (before && after !== 'none' && before.multiple === after.multiple && before.level === after.level)
      return
    this.#forms[id] = after
    if (before || after !== 'none') this.changed = true
  }

  /** A number that divides the operand, 0 when it is 0. */
  #multipleOf(operand: Operand): number {
    if (operand.kind === 'immediate') return Math.abs(operand.value)
    const node = this.#definitions.of(operand)
    const [a, b] = node?.args ?? []
    if (!a || b?.kind !== 'immediate') return 1
    if (node?.op === 'mul') return this.#multipleOf(a) * Math.abs(b.value)
    return node?.op === 'shl' && b.value >= 0 && b.value < 31 ? this.#multipleOf(a) * 2 ** b.value : 1
  }
}

/** The greatest common divisor; 0 stands for every number's multiple. */
function divisor(a: number, b: number): number {
  return b === 0 ? a : divisor(b, a % b)
}

/** The largest power of two that divides a 32-bit number. */
const unitOf = (value: number): number => (value === 0 ? 2 ** 31 : (value & -value) >>> 0)
