import type { Findings } from './findings.ts'
import type { FindingKind, TrackedRegister, WgmmaProduct } from './interface.ts'
import { matrixChunks } from './matrix.ts'

/** What these checks ask of the checker, about threads and shared memory of the CTA that was entered last. */
export interface WgmmaHost {
  readonly findings: Findings
  product(site: number): WgmmaProduct
  /** A warp's product begins to read 16 bytes through the asynchronous proxy: bounds, initialisation, order, proxy. */
  beginRead(owner: number, address: number, thread: number, site: number): void
  /** It may have read them until now. */
  endRead(address: number, thread: number, site: number): void
  /** The owner reads nothing any more. */
  release(owner: number): void
}

/** Products that were committed together, or are still to be. */
interface Group {
  readonly owner: number
  /** Site of the first product; -1 while there is none. */
  first: number
  readonly registers: TrackedRegister[]
  /** Address and site of each chunk of 16 bytes that it reads, one after the other. */
  readonly reads: number[]
}

/** An instruction of a warpgroup and the matrices in shared memory that it reads. */
interface Step {
  readonly site: number
  readonly left: bigint
  readonly right: bigint
}

interface WarpState {
  open: Group
  readonly groups: Group[]
  /** By register: the group that uses it last, and the product's site. */
  readonly inFlight: Map<number, { readonly group: Group; readonly site: number; readonly isResult: boolean }>
  /** By register: what touched it since the last fence. */
  readonly touched: Map<number, number>
  hasFenced: boolean
  /** Warpgroup instructions executed. */
  steps: number
}

/** At most; warps are numbered apart by it. */
const warpsOfCta = 32

/** What a warp does with products must happen in this order: fence, products, commit, wait, then use of the registers. */
export class WgmmaChecks {
  private readonly host: WgmmaHost
  /** By rank of the CTA in its cluster and warp. */
  private readonly warps = new Map<number, WarpState>()
  private rank = 0
  /** By rank and warpgroup: the instructions that its warps execute together. */
  private readonly sequences = new Map<number, Step[]>()
  private owners = 0

  constructor(host: WgmmaHost) {
    this.host = host
  }

  beginCluster(): void {
    this.warps.clear()
    this.sequences.clear()
    this.rank = 0
  }

  /** The threads of a CTA go on. */
  enter(rank: number): void {
    this.rank = rank
  }

  private newGroup(): Group {
    // Below 2^20; by the time that numbers come again, the groups that had them are long done.
    this.owners = (this.owners + 1) & 0xfffff
    return { owner: this.owners, first: -1, registers: [], reads: [] }
  }

  private state(thread: number): WarpState {
    const warp = this.rank * warpsOfCta + (thread >> 5)
    let state = this.warps.get(warp)
    if (!state) {
      state = {
        open: this.newGroup(),
        groups: [],
        inFlight: new Map(),
        touched: new Map(),
        hasFenced: false,
        steps: 0,
      }
      this.warps.set(warp, state)
    }
    return state
  }

  /** An instruction that the four warps of a warpgroup must execute in the same order, with the same matrices. */
  step(thread: number, site: number, left = 0n, right = 0n): void {
    const state = this.state(thread)
    const warpgroup = (this.rank * warpsOfCta + (thread >> 5)) >> 2
    const sequence = this.sequences.get(warpgroup) ?? []
    this.sequences.set(warpgroup, sequence)
    const expected = sequence[state.steps++]
    if (expected === undefined) sequence.push({ site, left, right })
    else if (expected.site !== site)
      this.report(
        'divergent-warpgroup',
        site,
        expected.site,
        `Warp ${thread >> 5} executes ${this.name(site)} where another warp of its warpgroup executes ${this.name(expected.site)}: the four warps of a warpgroup must execute the same sequence.`,
      )
    else if (expected.left !== left || expected.right !== right)
      this.report(
        'divergent-warpgroup',
        site,
        undefined,
        `Warp ${thread >> 5} executes ${this.name(site)} with another matrix descriptor than another warp of its warpgroup: the four warps must give the same.`,
      )
  }

  /** An instruction other than a product uses a register that products use too. */
  registerAccess(thread: number, register: number, site: number): void {
    const state = this.state(thread)
    const user = state.inFlight.get(register)
    if (user)
      this.report(
        'wgmma-in-flight',
        site,
        user.site,
        `${this.name(site)} in thread ${thread} uses ${this.registerName(user.site, register)}, ${user.isResult ? 'an accumulator' : 'a part of A'} of ${this.name(user.site)}, before a wgmma.wait_group covers it: ${user.group === state.open ? 'commit its group and wait for it first' : 'wait for its group first'}.`,
      )
    state.touched.set(register, site)
  }

  fence(thread: number, site: number): void {
    this.step(thread, site)
    const state = this.state(thread)
    state.touched.clear()
    state.hasFenced = true
  }

  product(thread: number, left: bigint, right: bigint, window: number, site: number): void {
    this.step(thread, site, left, right)
    const state = this.state(thread)
    const { d, a, columns } = this.host.product(site)
    const { open } = state
    if (open.first < 0) open.first = site
    if (!state.hasFenced)
      this.report(
        'wgmma-fence',
        site,
        undefined,
        `${this.name(site)} in warp ${thread >> 5} comes before any wgmma.fence: the first product of a warpgroup needs one.`,
      )
    for (const register of [...d, ...a]) {
      const toucher = state.touched.get(register.id)
      if (toucher === undefined) continue
      this.report(
        'wgmma-fence',
        site,
        toucher,
        `${this.name(site)} in warp ${thread >> 5} uses ${register.name}, which ${this.name(toucher)} uses, with no wgmma.fence between them.`,
      )
      break
    }
    for (const register of a) this.use(state, register, site, false)
    for (const register of d) this.use(state, register, site, true)
    open.registers.push(...d, ...a)
    // Without registers of A its 16 rows of this warp are in shared memory.
    const rows = a.length > 0 ? [] : matrixChunks(left, window, ((thread >> 5) & 3) * 16, 16)
    for (const address of [...rows, ...matrixChunks(right, window, 0, columns)]) {
      this.host.beginRead(open.owner, address, thread, site)
      open.reads.push(address, site)
    }
  }

  private use(state: WarpState, register: TrackedRegister, site: number, isResult: boolean): void {
    const user = state.inFlight.get(register.id)
    // Products may add to one accumulator and share A one after the other.
    if (user && user.isResult !== isResult)
      this.report(
        'wgmma-in-flight',
        site,
        user.site,
        `${this.name(site)} uses ${register.name} as ${isResult ? 'an accumulator' : 'a part of A'}, which is ${isResult ? 'a part of A' : 'an accumulator'} of ${this.name(user.site)}, before a wgmma.wait_group covers that.`,
      )
    state.inFlight.set(register.id, { group: state.open, site, isResult })
  }

  commit(thread: number, site: number): void {
    this.step(thread, site)
    const state = this.state(thread)
    state.groups.push(state.open)
    state.open = this.newGroup()
  }

  wait(thread: number, pending: number, site: number): void {
    this.step(thread, site)
    const state = this.state(thread)
    while (state.groups.length > pending) {
      const group = state.groups.shift()!
      for (const { id } of group.registers)
        if (state.inFlight.get(id)?.group === group) state.inFlight.delete(id)
      // It may have read until now: what overwrites must come behind this wait.
      for (let i = 0; i < group.reads.length; i += 2)
        this.host.endRead(group.reads[i]!, thread, group.reads[i + 1]!)
      this.host.release(group.owner)
    }
  }

  /** All threads of the cluster have ended. */
  endCluster(): void {
    for (const [index, { open, groups, steps }] of this.warps) {
      const warp = `Warp ${index % warpsOfCta}`
      const waiting = groups.find(({ first }) => first >= 0)
      if (open.first >= 0)
        this.report(
          'wgmma-wait',
          open.first,
          undefined,
          `${warp} ends without a wgmma.commit_group and a wgmma.wait_group for ${this.name(open.first)}.`,
        )
      else if (waiting)
        this.report(
          'wgmma-wait',
          waiting.first,
          undefined,
          `${warp} ends without a wgmma.wait_group that covers ${this.name(waiting.first)}.`,
        )
      const missing = this.sequences.get(index >> 2)?.[steps]
      if (missing !== undefined) this.reportAbsence(index, missing.site)
    }
    for (const [warpgroup, [first]] of this.sequences)
      for (let index = 4 * warpgroup; index < 4 * warpgroup + 4; index++)
        if (!this.warps.has(index)) this.reportAbsence(index, first!.site)
  }

  private reportAbsence(index: number, site: number): void {
    this.report(
      'divergent-warpgroup',
      site,
      undefined,
      `Warp ${index % warpsOfCta} ends without ${this.name(site)}, which another warp of its warpgroup executes: all four must.`,
    )
  }

  private report(kind: FindingKind, site: number, otherSite: number | undefined, message: string): void {
    const { findings } = this.host
    const other = otherSite === undefined ? undefined : findings.site(otherSite)
    findings.add(kind, 'registers', site, other, () => message)
  }

  private registerName(site: number, register: number): string {
    const { d, a } = this.host.product(site)
    return [...d, ...a].find(({ id }) => id === register)?.name ?? 'a register'
  }

  private name(site: number): string {
    const { opcode, location, line } = this.host.findings.site(site)
    return `${opcode} (${location ?? `PTX line ${line}`})`
  }
}
