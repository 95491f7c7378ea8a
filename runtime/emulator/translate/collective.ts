import { lanesAgree } from '../collectives/agree.ts'
import { ldmatrix, type MatrixCount } from '../collectives/ldmatrix.ts'
import { type MmaElement, mma, mmaScratchBytes } from '../collectives/mma.ts'
import { type ReduxOperation, redux } from '../collectives/redux.ts'
import { type ShuffleMode, shuffle, shuffleConstant } from '../collectives/shuffle.ts'
import { stmatrix } from '../collectives/stmatrix.ts'
import { broadcast, type VoteMode, vote } from '../collectives/vote.ts'
import { wgmmaScratchBytes } from '../collectives/wgmma.ts'
import type { Instruction, Operand, Register } from '../ptx/module.ts'
import type { FunctionRef, Local } from '../wasm/function.ts'
import type { I32, I64 } from '../wasm/operations.ts'
import { noteRegisters } from './emit/instruction.ts'
import { faults, header } from './layout.ts'
import type { WarpWriter } from './warp.ts'
import { writeWarpgroup } from './warpgroup.ts'

/** Registers in private memory for operands that have no array of lanes: literals, uniform registers, sinks. */
const temporaries = 16
const temporaryBytes = 128
/** What the routines of matrix products use of the private memory comes first. */
const routineBytes = Math.max(mmaScratchBytes, wgmmaScratchBytes)
/** Where accumulators of a wgmma go that do not lie side by side. */
export const gatheredAccumulators = routineBytes + temporaries * temporaryBytes

/** Bytes of private memory behind the global `scratch`. */
export const scratchBytes = gatheredAccumulators + 128 * 128

/** Writes an instruction that the lanes of a warp execute together, on their register arrays. */
export function writeCollective(warp: WarpWriter, instruction: Instruction): void {
  const writer = new CollectiveWriter(warp, instruction)
  if (instruction.op !== 'wgmma') noteRegisters(warp.uniformEmitter(), instruction)
  switch (instruction.op) {
    case 'shfl':
      writer.shuffle()
      return
    case 'vote':
      writer.vote()
      return
    case 'redux':
      writer.redux()
      return
    case 'activemask':
      writer.activeMask()
      return
    case 'ldmatrix':
      writer.loadMatrix()
      return
    case 'stmatrix':
      writer.storeMatrix()
      return
    case 'mma':
      writer.multiply()
      return
    case 'wgmma':
    case 'setmaxnreg':
      writeWarpgroup(writer)
      return
    default:
      writer.synchronize()
      return
  }
}

export class CollectiveWriter {
  readonly warp: WarpWriter
  readonly instruction: Instruction
  private used = 0

  constructor(warp: WarpWriter, instruction: Instruction) {
    this.warp = warp
    this.instruction = instruction
  }

  get operands(): readonly (Operand | undefined)[] {
    return this.instruction.operands
  }

  isUniform(operand: Operand): boolean {
    return operand.kind !== 'register' || this.warp.analysis.uniform.has(operand.register.id)
  }

  private pushTemporary(index: number): I32 {
    const { w, scratch } = this.warp
    return w.i32.add(w.getGlobal(scratch), w.i32.const(routineBytes + index * temporaryBytes))
  }

  /** Gives a way to push the address of an operand's array; fills a temporary where it has none. */
  source(operand: Operand): () => I32 {
    const { warp } = this
    const { w } = warp
    if (operand.kind === 'register' && !this.isUniform(operand)) {
      if (operand.negated) return this.fail('a negated predicate does not fit here')
      return () => warp.slot(operand.register)
    }
    const index = this.used++
    if (operand.kind === 'special') this.fillSpecial(index, operand.name)
    else w.call(broadcast(warp.m), this.pushTemporary(index), this.uniformValue(operand), w.i32.const(-1))
    return () => this.pushTemporary(index)
  }

  private fillSpecial(index: number, name: string): void {
    const { w } = this.warp
    if (name !== '%laneid' && name !== '%tid.x') this.fail(`${name} does not fit here`)
    const { block, firstThread } = this.warp.context
    if (name === '%tid.x' && (block[1] > 1 || block[2] > 1)) this.fail('%tid.x does not fit here')
    for (let lane = 0; lane < 32; lane++) {
      const value = name === '%laneid' ? w.i32.const(lane) : w.i32.add(w.get(firstThread), w.i32.const(lane))
      const local = w.let(value)
      w.i32.store(this.pushTemporary(index), w.get(local), lane * 4)
      w.release(local)
    }
  }

  uniformValue(operand: Operand): I32 {
    const e = this.warp.uniformEmitter()
    e.instruction = this.instruction
    return e.i32(operand)
  }

  /** Pushes what all lanes hold alike, as the first one has it; checks that they do where memory is checked. */
  firstLane(operand: Operand): I32 {
    const { w } = this.warp
    if (operand.kind !== 'register' || this.isUniform(operand)) return this.uniformValue(operand)
    this.requireAgreement(operand.register, 4)
    const value = w.i32.load(this.warp.slot(operand.register))
    return operand.negated ? w.i32.eqz(value) : value
  }

  firstLane64(operand: Operand): I64 {
    if (operand.kind === 'register' && !this.isUniform(operand)) {
      this.requireAgreement(operand.register, 8)
      return this.warp.w.i64.load(this.warp.slot(operand.register))
    }
    const e = this.warp.uniformEmitter()
    e.instruction = this.instruction
    return e.i64(operand)
  }

  private requireAgreement(register: Register, bytes: 4 | 8): void {
    const { warp } = this
    const { w } = warp
    if (!warp.analysis.checks) return
    w.if(w.i32.eqz(w.call(lanesAgree(warp.m, bytes), warp.slot(register))), () =>
      warp.writeFault(faults.differingLanes, this.instruction),
    )
  }

  private result(operand: Operand | undefined): () => I32 {
    if (operand?.kind === 'register') return () => this.warp.slot(operand.register)
    const index = this.used++
    return () => this.pushTemporary(index)
  }

  elements(index: number): readonly Operand[] {
    const operand = this.operands[index]!
    return operand.kind === 'vector' ? operand.elements : [operand]
  }

  fail(problem: string): never {
    const e = this.warp.uniformEmitter()
    e.instruction = this.instruction
    return e.fail(problem)
  }

  /** The lanes that execute must be those of the mask that have not ended. */
  private checkMask(mask: Operand): void {
    const { w, active, live } = this.warp
    const isFull = mask.kind === 'integer' && BigInt.asUintN(32, mask.value) === 0xffffffffn
    if (isFull && this.warp.vectorizes) return
    const expected = isFull ? w.get(live) : w.i32.and(this.maskValue(mask), w.get(live))
    w.if(w.i32.ne(expected, w.get(active)), () =>
      this.warp.writeFault(faults.divergentCollective, this.instruction),
    )
  }

  /** A mask in a register is that of the first lane that runs: all must name the same. */
  private maskValue(mask: Operand): I32 {
    const { w, warp } = { w: this.warp.w, warp: this.warp }
    if (this.isUniform(mask)) return this.uniformValue(mask)
    if (mask.kind !== 'register') return this.fail('a mask is expected')
    const lane = w.i32.shl(w.i32.ctz(w.get(warp.active)), w.i32.const(2))
    return w.i32.load(w.i32.add(lane, warp.slot(mask.register)))
  }

  /** `.aligned` instructions need all 32 lanes. */
  requireFullWarp(): void {
    const { w, active, vectorizes } = this.warp
    if (vectorizes) return
    w.if(w.i32.ne(w.get(active), w.i32.const(-1)), () =>
      this.warp.writeFault(faults.partialWarp, this.instruction),
    )
  }

  /** Runs one of two ways by whether all 32 lanes take part. */
  private whenFull(full: () => void, partial: () => void): void {
    const { w, active, vectorizes } = this.warp
    if (vectorizes) full()
    else w.if(w.i32.eq(w.get(active), w.i32.const(-1)), full, partial)
  }

  /** Stores the value on the stack for every active lane. */
  private spread(d: Operand, value: I32): void {
    const { warp } = this
    const { w } = warp
    if (d.kind === 'sink') {
      w.drop(value)
      return
    }
    if (d.kind !== 'register') {
      this.fail('a register is expected')
      return
    }
    if (this.isUniform(d)) {
      w.set(warp.uniformLocal(d.register) as Local<'i32'>, value)
      return
    }
    const local = w.let(value)
    w.call(broadcast(warp.m), warp.slot(d.register), w.get(local), w.get(warp.active))
    w.release(local)
  }

  shuffle(): void {
    const { warp } = this
    const { w, m } = warp
    const [d, p, a, b, c, mask] = this.operands
    const mode = this.instruction.modifiers.mode as ShuffleMode
    this.checkMask(mask!)
    const from = this.source(a!)
    const to = this.result(d!)
    const predicate = p ? this.result(p) : undefined
    const pushPredicate = (): I32[] => (predicate ? [predicate()] : [])
    if (c!.kind !== 'integer' && !this.isUniform(c!)) this.fail('the clamp must be the same for all lanes')
    const general = (): void => {
      const index = this.used
      const offsets = this.source(b!)
      w.call(
        shuffle(m, mode, predicate !== undefined),
        to(),
        from(),
        offsets(),
        this.uniformValue(c!),
        w.get(warp.active),
        ...pushPredicate(),
      )
      this.used = index
    }
    if (b!.kind !== 'integer' || c!.kind !== 'integer') {
      general()
      return
    }
    const constant = shuffleConstant(m, mode, Number(b!.value), Number(c!.value), predicate !== undefined)
    this.whenFull(() => w.call(constant, to(), from(), ...pushPredicate()), general)
  }

  vote(): void {
    const { warp } = this
    const { w } = warp
    const [d, a, mask] = this.operands as [Operand, Operand, Operand]
    this.checkMask(mask)
    const negate = a.kind === 'register' && a.negated
    const plain = a.kind === 'register' && negate && !this.isUniform(a) ? { ...a, negated: false } : a
    const routine = vote(warp.m, this.instruction.modifiers.mode as VoteMode, negate && plain !== a)
    const from = this.source(plain)
    this.spread(d, w.call(routine, from(), w.get(warp.active)))
  }

  redux(): void {
    const { warp } = this
    const { w } = warp
    const [d, a, mask] = this.operands as [Operand, Operand, Operand]
    this.checkMask(mask)
    const { action, type } = this.instruction.modifiers
    const operation = (action === 'min' || action === 'max' ? `${action}.${type}` : action) as ReduxOperation
    const from = this.source(a)
    this.spread(d, w.call(redux(warp.m, operation), from(), w.get(warp.active)))
  }

  activeMask(): void {
    const { w, active } = this.warp
    this.spread(this.operands[0]!, w.get(active))
  }

  loadMatrix(): void {
    const { warp } = this
    const { w } = warp
    const [, address] = this.operands
    if (address?.kind !== 'address') {
      this.fail('an address is expected')
      return
    }
    this.requireFullWarp()
    const count = Number(this.instruction.modifiers.num![1]) as MatrixCount
    const { base, offset } = address
    const addresses = this.addressesApartFrom(base as Operand, this.elements(0))
    this.checkRows(addresses, offset, count, 'matrixRow')
    const results = this.elements(0)
    if (results.length !== count) this.fail(`${count} registers are expected`)
    const to = results.map((element) => this.result(element))
    const routine = ldmatrix(warp.m, count, this.instruction.modifiers.trans !== undefined)
    // Shared addresses are linear-memory addresses already, so the base is only the operand's offset.
    w.call(routine, ...to.map((push) => push()), addresses(), w.i32.const(offset))
  }

  /** Tells the checker of the rows of matrices that lanes hold the addresses of. */
  private checkRows(
    addresses: () => I32,
    offset: number,
    count: MatrixCount,
    access: 'matrixRow' | 'storeShared',
  ): void {
    const { w, context, analysis } = this.warp
    const { checks } = analysis
    if (!checks) return
    for (let lane = 0; lane < 8 * count; lane++) {
      const linear = w.i32.add(w.i32.load(addresses(), lane * 4), w.i32.const(offset))
      const address = w.i32.sub(linear, w.get(context.shared))
      const bytes = access === 'storeShared' ? [w.i32.const(16)] : []
      const thread = w.i32.add(w.get(context.firstThread), w.i32.const(lane))
      const site = w.i32.const(checks.site(this.instruction))
      w.call(checks[access] as FunctionRef, address, ...bytes, thread, site)
    }
    w.call(checks.endRegion)
  }

  storeMatrix(): void {
    const { warp } = this
    const { w } = warp
    const [address] = this.operands
    if (address?.kind !== 'address') {
      this.fail('an address is expected')
      return
    }
    this.requireFullWarp()
    const count = Number(this.instruction.modifiers.num![1]) as MatrixCount
    const addresses = this.source(address.base as Operand)
    this.checkRows(addresses, address.offset, count, 'storeShared')
    const words = this.elements(1).map((element) => this.source(element))
    if (words.length !== count) this.fail(`${count} registers are expected`)
    const routine = stmatrix(warp.m, count, this.instruction.modifiers.trans !== undefined)
    w.call(routine, ...words.map((push) => push()), addresses(), w.i32.const(address.offset))
  }

  /** Results are stored one after the other, so addresses in the place of one of them are moved away first. */
  private addressesApartFrom(base: Operand, results: readonly Operand[]): () => I32 {
    const { warp } = this
    const { w } = warp
    const addresses = this.source(base)
    const { lanes } = warp.analysis.placement
    const slot = (operand: Operand): number | undefined =>
      operand.kind === 'register' ? lanes.get(operand.register.id) : undefined
    if (slot(base) === undefined || !results.some((result) => slot(result) === slot(base))) return addresses
    const index = this.used++
    w.memoryCopy(this.pushTemporary(index), addresses(), w.i32.const(temporaryBytes))
    return () => this.pushTemporary(index)
  }

  multiply(): void {
    const { warp } = this
    const { shape, atype, btype, dtype, satfinite } = this.instruction.modifiers
    if (satfinite) this.fail('the emulator has no .satfinite')
    if (dtype === 'f32' && atype !== btype) this.fail('both operands must have one type')
    this.requireFullWarp()
    const k = Number(/k(\d+)$/.exec(shape!)![1]) as 8 | 16 | 32
    const routine = mma(warp.m, warp.scratch, {
      k,
      a: atype as MmaElement,
      b: btype as MmaElement,
      accumulator: dtype as 's32' | 'f32',
    })
    const results = this.elements(0).map((element) => this.result(element))
    const sources = [1, 2, 3].flatMap((index) => this.elements(index).map((element) => this.source(element)))
    if (results.length + sources.length !== routine.params.length)
      this.fail(`${routine.params.length} registers are expected`)
    warp.w.call(routine, ...[...results, ...sources].map((push) => push()))
  }

  /** bar.warp.sync: the lanes of a warp run a region to its end one after the other, so only the mask matters. */
  synchronize(): void {
    const { warp } = this
    const { w } = warp
    this.checkMask(this.operands[0]!)
    const { checks } = warp.analysis
    if (checks) w.call(checks.warpSync, w.i32.load(w.get(warp.context.state), header.warp))
  }
}
