import { Definitions, isRenaming } from '../definitions.ts'
import type { Block, Instruction, KernelIr, Location, Loop, Node, Operand, Register } from '../op.ts'
import { Refusal } from '../refusal.ts'
import { uses, walk } from '../rewrite.ts'
import { wgmmaParts } from '../spec-warpgroups.ts'

/**
 * Refuses a kernel that touches registers of a `wgmma` while it runs: on a GPU it would compute nonsense now and then.
 *
 * - Neither accumulators nor A's registers are read or written, except by further `wgmma`s in the same way, until a wait
 *   covers the group that the `wgmma` was committed to. `wgmmaWait(n)` covers all groups but the latest n.
 * - A fence stands between ordinary accesses to these registers and the `wgmma`, and before the first one.
 * - What was started is committed before the threads wait for everything, and waited for before the kernel ends.
 *
 * A walk over the structure knows for each register how many groups have been committed since a `wgmma` used it, and
 * whether it was accessed since a fence. Where paths meet, the later group and the missing fence count; loops repeat
 * until nothing changes. So two buffers of A, used in turns with `wgmmaWait(1)` after each group, pass:
 *
 *     loop { a0 = …; fence; wgmma(a0); commit; wait(1); a1 = …; fence; wgmma(a1); commit; wait(1) }
 */
export function checkWgmma(ir: KernelIr): void {
  if (!uses(ir.body, 'wgmma')) return
  const renamed = withoutRenaming(ir)
  new Checker(usedRegisters(renamed)).kernel(renamed)
}

/** The kernel with one number for the registers that PTX has one for: a change of type alone is another name. */
function withoutRenaming(ir: KernelIr): KernelIr {
  const definitions = new Definitions(ir)
  const names = new Map<number, number>()
  const nameOf = (id: number): number => names.get(id) ?? id
  walk(ir.body, (node) => {
    if (node.kind === 'instruction' && isRenaming(node, definitions))
      names.set(node.results[0]!.id, nameOf((node.args[0] as Register).id))
  })
  const rename = <T extends Operand>(operand: T): T =>
    operand.kind === 'register' && names.has(operand.id) ? { ...operand, id: nameOf(operand.id) } : operand
  const inBlock = (block: Block): Block =>
    block.flatMap((node): Block => {
      switch (node.kind) {
        case 'instruction':
          if (isRenaming(node, definitions)) return []
          return [{ ...node, args: node.args.map(rename), results: node.results.map(rename) }]
        case 'if':
          return [{ ...node, body: inBlock(node.body), otherwise: inBlock(node.otherwise) }]
        case 'loop':
          return [{ ...node, body: inBlock(node.body), step: inBlock(node.step) }]
        default:
          return [node]
      }
    })
  return { ...ir, body: inBlock(ir.body) }
}

interface Used {
  readonly accumulators: ReadonlySet<number>
  readonly fragments: ReadonlySet<number>
}

function usedRegisters(ir: KernelIr): Used {
  const accumulators = new Set<number>()
  const fragments = new Set<number>()
  walk(ir.body, (node) => {
    if (node.kind !== 'instruction' || node.op !== 'wgmma') return
    for (const { id } of node.results) accumulators.add(id)
    for (const id of fragmentsOf(node)) fragments.add(id)
  })
  return { accumulators, fragments }
}

const idsOf = (operands: readonly Operand[]): number[] =>
  operands.flatMap((operand) => (operand.kind === 'register' ? [operand.id] : []))

/** A's registers. */
const fragmentsOf = (node: Instruction): number[] =>
  node.attributes.a === 'registers' ? idsOf(wgmmaParts(node).a) : []

/** What runs on a register. */
interface Use {
  readonly as: 'accumulator' | 'fragment'
  /** Groups committed since, the one that it is in included; 0 while it is in none. */
  readonly commits: number
  readonly by: Instruction
}

/** An access since the last fence; undefined where there has been no fence at all. */
type Access = Instruction | undefined

/** More groups than a wait can leave. */
const manyCommits = 9

class State {
  readonly running: Map<number, Use>
  readonly accessed: Map<number, Access>

  constructor(running: ReadonlyMap<number, Use>, accessed: ReadonlyMap<number, Access>) {
    this.running = new Map(running)
    this.accessed = new Map(accessed)
  }

  copy(): State {
    return new State(this.running, this.accessed)
  }

  /** Adds what another path brings; whether that is more. */
  join(other: State): boolean {
    let more = false
    for (const [id, use] of other.running) {
      const known = this.running.get(id)
      if (known && known.commits <= use.commits) continue
      this.running.set(id, use)
      more = true
    }
    for (const [id, access] of other.accessed) {
      if (this.accessed.has(id)) continue
      this.accessed.set(id, access)
      more = true
    }
    return more
  }

  commit(): void {
    for (const [id, use] of this.running)
      this.running.set(id, { ...use, commits: Math.min(use.commits + 1, manyCommits) })
  }

  wait(pending: number): void {
    for (const [id, { commits }] of this.running) if (commits > pending) this.running.delete(id)
  }
}

/** Where the jumps of a loop go: undefined until one does. */
interface Exits {
  atBreak: State | undefined
  atContinue: State | undefined
}

const joined = (a: State | undefined, b: State | undefined): State | undefined => {
  if (!a || !b) return a ?? b
  const both = a.copy()
  both.join(b)
  return both
}

class Checker {
  readonly #registers: Used
  /** Whether faults are reported: not while a loop's first states are guesses. */
  #settled = true

  constructor(registers: Used) {
    this.#registers = registers
  }

  kernel(ir: KernelIr): void {
    const { accumulators, fragments } = this.#registers
    const unfenced = [...accumulators, ...fragments].map((id): [number, Access] => [id, undefined])
    this.#end(this.#block(ir.body, new State(new Map(), new Map(unfenced)), undefined))
  }

  /** The state behind a block, undefined if no path leads there. */
  #block(block: Block, before: State | undefined, exits: Exits | undefined): State | undefined {
    let state = before
    for (const node of block) {
      if (!state) return undefined
      state = this.#node(node, state, exits)
    }
    return state
  }

  #node(node: Node, state: State, exits: Exits | undefined): State | undefined {
    switch (node.kind) {
      case 'instruction':
        this.#instruction(node, state)
        return state
      case 'if': {
        const body = this.#block(node.body, state.copy(), exits)
        return joined(body, this.#block(node.otherwise, state, exits))
      }
      case 'loop':
        return this.#loop(node, state)
      case 'return':
        this.#end(state)
        return undefined
      default:
        if (node.kind === 'break') exits!.atBreak = joined(exits!.atBreak, state)
        else exits!.atContinue = joined(exits!.atContinue, state)
        return undefined
    }
  }

  #loop(node: Loop, entry: State): State | undefined {
    const top = entry.copy()
    const settled = this.#settled
    this.#settled = false
    const iteration = () => {
      const exits: Exits = { atBreak: undefined, atContinue: undefined }
      const end = this.#block(node.body, top.copy(), exits)
      const next = this.#block(node.step, joined(end, exits.atContinue), undefined)
      return { next, exit: exits.atBreak }
    }
    for (;;) {
      const { next } = iteration()
      if (!next || !top.join(next)) break
    }
    this.#settled = settled
    return iteration().exit
  }

  #instruction(node: Instruction, state: State): void {
    switch (node.op) {
      case 'wgmma':
        this.#wgmma(node, state)
        break
      case 'wgmmaFence':
        state.accessed.clear()
        break
      case 'wgmmaCommit':
        state.commit()
        break
      case 'wgmmaWait':
        if (node.attributes.pending === 0) this.#checkCommitted(node, state)
        state.wait(node.attributes.pending as number)
        break
      default:
        this.#ordinary(node, state)
    }
  }

  #ordinary(node: Instruction, state: State): void {
    const { accumulators, fragments } = this.#registers
    for (const arg of node.args) {
      if (arg.kind !== 'register') continue
      this.#checkIdle(node, state, arg.id, 'reads')
      if (accumulators.has(arg.id)) state.accessed.set(arg.id, node)
    }
    for (const { id } of node.results) {
      this.#checkIdle(node, state, id, 'writes')
      if (accumulators.has(id) || fragments.has(id)) state.accessed.set(id, node)
    }
  }

  #wgmma(node: Instruction, state: State): void {
    const use = (id: number, as: Use['as']) => {
      if (state.running.has(id) && state.running.get(id)!.as !== as) this.#checkIdle(node, state, id, 'uses')
      if (state.accessed.has(id)) this.#unfenced(node, as, state.accessed.get(id))
      state.running.set(id, { as, commits: 0, by: node })
    }
    for (const id of fragmentsOf(node)) use(id, 'fragment')
    for (const { id } of node.results) use(id, 'accumulator')
  }

  #fail(refusal: () => Refusal): void {
    if (this.#settled) throw refusal()
  }

  #checkIdle({ location }: Instruction, state: State, id: number, does: string): void {
    const use = state.running.get(id)
    if (!use) return
    this.#fail(() => {
      const what = use.as === 'accumulator' ? 'an accumulator' : 'a register of A'
      const wait = Math.max(0, use.commits - 1)
      return new Refusal('E0606', `this ${does} ${what} of a wgmma that may still run`, {
        location,
        notes: [{ message: 'the wgmma', location: use.by.location }],
        help:
          use.commits === 0
            ? 'wgmmaCommit(), and wgmmaWait(0), before it'
            : `wgmmaWait(${wait}) before it, or other registers in turns`,
      })
    })
  }

  #unfenced({ location }: Instruction, as: Use['as'], access: Access): void {
    this.#fail(() => {
      const what = as === 'accumulator' ? 'accumulators' : "A's registers"
      const notes: { message: string; location: Location }[] = access
        ? [{ message: `an access to ${what}`, location: access.location }]
        : []
      return new Refusal(
        'E0607',
        access
          ? `no wgmmaFence stands between an access to ${what} and this wgmma`
          : 'no wgmmaFence stands before this wgmma',
        { location, notes, help: 'wgmmaFence() before the first wgmma of a group' },
      )
    })
  }

  #checkCommitted({ location }: Instruction, { running }: State): void {
    for (const { commits, by } of running.values())
      if (commits === 0)
        this.#fail(
          () =>
            new Refusal(
              'E0608',
              'this waits for groups of wgmmas, and one has not been committed to a group',
              {
                location,
                notes: [{ message: 'the wgmma', location: by.location }],
                help: 'wgmmaCommit() before the wait',
              },
            ),
        )
  }

  #end(state: State | undefined): void {
    const [use] = state?.running.values() ?? []
    if (!use) return
    this.#fail(
      () =>
        new Refusal('E0608', 'the kernel may end before this wgmma does', {
          location: use.by.location,
          help:
            use.commits === 0 ? 'wgmmaCommit(), then wgmmaWait(0)' : 'wgmmaWait(0) behind the last of them',
        }),
    )
  }
}
