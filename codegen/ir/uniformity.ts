import { Definitions } from './definitions.ts'
import type { Block, If, Instruction, KernelIr, Location, Loop, Node, Operand } from './op.ts'
import { ops } from './spec.ts'

/** Over which threads a value, or a decision, is the same: 0 all of the CTA, 1 those of a warp, 2 none. */
export type Level = 0 | 1 | 2

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
 * One pattern is seen through: `tid.x` plus a multiple of m, compared with a multiple of m. All lanes of a warp agree
 * when 32 divides m and all threads when the block does, so `tid.x < 64` parts warps, not lanes, and
 * `for (i = tid.x; i < 4 * blockDim.x; i += blockDim.x)` does not part threads at all.
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
 * That a register is `tid.x` plus a multiple of `multiple`, where 0 stands for nothing added. What is added is the
 * same for the threads that `level` says.
 */
interface ThreadForm {
  readonly multiple: number
  readonly level: Level
}

const max = (a: Level, b: Level): Level => (a > b ? a : b)

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
  readonly #warpsAreRows: boolean
  readonly #oneWarp: boolean

  constructor(ir: KernelIr) {
    this.#ir = ir
    this.#definitions = new Definitions(ir)
    const [x, y, z] = ir.block
    this.#warpsAreRows = x % 32 === 0 || y * z === 1
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
          const level = this.#levelOf(node.condition)
          if (this.conditions.get(node) !== level) this.changed = true
          this.conditions.set(node, level)
          const inside = worse(here, { level, location: node.location })
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
    const allowed = scope === 'cta' && !this.#oneWarp ? 0 : 1
    if (scope && here.level > allowed)
      this.#found.push({
        node,
        level: here.level,
        cause: here.location,
        ...(here.jump ? { jump: here.jump } : {}),
      })
    const level = this.#resultLevel(node)
    for (const { id } of node.results) {
      const isTemporary = this.#definitions.isTemporary(id)
      if (isTemporary && this.#loops.length > 0) this.#owners[id] = this.#loops.at(-1)
      this.#raise(id, isTemporary ? level : max(level, here.level))
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
    const ofArgs = args.reduce<Level>((level, arg) => max(level, this.#levelOf(arg)), 0)
    switch (op) {
      case 'special':
        return this.#specialLevel(attributes.name as string)
      case 'ldmatrix':
      case 'mma':
      case 'atomic':
        return 2
      case 'vote':
      case 'ballot':
      case 'redux':
        return ofArgs === 2 ? 1 : ofArgs
      case 'shuffle': {
        const value = this.#levelOf(args[0]!)
        return value < 2 ? value : attributes.mode === 'index' && this.#levelOf(args[1]!) < 2 ? 1 : 2
      }
      default:
        return ofArgs === 2 ? this.#throughForm(node) : ofArgs
    }
  }

  #specialLevel(name: string): Level {
    const [x, y, z] = this.#ir.block
    switch (name) {
      case 'tid.x':
        return x === 1 ? 0 : 2
      case 'tid.y':
        return y === 1 ? 0 : x % 32 === 0 ? 1 : 2
      case 'tid.z':
        return z === 1 ? 0 : (x * y) % 32 === 0 ? 1 : 2
      case 'laneid':
        return 2
      default:
        return 0
    }
  }

  /** What divides or compares `tid.x` plus a multiple so that its lanes agree. */
  #throughForm({ op, args, attributes }: Instruction): Level {
    const form = args[0] && this.#form(args[0])
    const other = args[1]
    if (!form || !other || this.#levelOf(other) === 2) return 2
    const agree = (size: number): Level => {
      const whole = (n: number): boolean => form.multiple % n === 0 && size % n === 0
      const [x, y, z] = this.#ir.block
      if (whole(x) && y * z === 1) return max(form.level, this.#levelOf(other))
      return whole(32) && this.#warpsAreRows ? max(1, max(form.level, this.#levelOf(other))) : 2
    }
    if (op === 'compare') {
      const { relation } = attributes
      if (relation === 'lt' || relation === 'ge') return agree(this.#multipleOf(other))
      // i <= 31 is i < 32.
      if ((relation === 'le' || relation === 'gt') && other.kind === 'immediate')
        return agree(other.value + 1)
      return 2
    }
    if (other.kind !== 'immediate') return 2
    if (op === 'shr' && other.value >= 0 && other.value < 31) return agree(2 ** other.value)
    // Towards zero, quotients of a negative sum would part lanes.
    if (op === 'div' && other.value > 0 && form.multiple === 0) return agree(other.value)
    return op === 'and' && (other.value & 31) === 0 ? agree(32) : 2
  }

  #form(operand: Operand): ThreadForm | undefined {
    const form = operand.kind === 'register' ? this.#forms[operand.id] : undefined
    return form === 'none' ? undefined : form
  }

  #formOf({ op, args, attributes }: Instruction): ThreadForm | undefined {
    if (op === 'special') return attributes.name === 'tid.x' ? { multiple: 0, level: 0 } : undefined
    if (op === 'move' || op === 'bitcast' || (op === 'convert' && !attributes.saturate))
      return this.#form(args[0]!)
    if (op !== 'add') return undefined
    for (const [i, arg] of args.entries()) {
      const form = this.#form(arg)
      const other = args[1 - i]!
      const level = this.#levelOf(other)
      if (form && level < 2)
        return { multiple: divisor(form.multiple, this.#multipleOf(other)), level: max(form.level, level) }
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
      after = { multiple: divisor(before.multiple, after.multiple), level: max(before.level, after.level) }
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

function divisor(a: number, b: number): number {
  return b === 0 ? a : divisor(b, a % b)
}
