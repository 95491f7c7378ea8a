import type { Instruction, Operand, Register, RegisterOperand } from '../../ptx/module.ts'
import type { FunctionBuilder, Local } from '../../wasm/function.ts'
import type { V128 } from '../../wasm/operations.ts'
import { Emitter, type KernelContext } from '../emit/emitter.ts'
import { writeInstruction } from '../emit/instruction.ts'
import { reads, writes } from '../operands.ts'
import { type Plain, registerValueType } from '../types.ts'

/** Lanes that a vector holds. */
export const groupLanes = 4

/** What the registers of the lanes are in vector code, and where. */
export interface VectorRegisters {
  isUniform(register: Register): boolean
  uniformLocal(register: Register): Local
  /** 32 bits for each lane; a predicate is all ones or zero. */
  vectorLocal(register: Register): Local<'v128'>
  /** Whether no other node sees the register, so that lanes which do not run may be overwritten. */
  isTemporary(register: Register): boolean
}

/**
 * Writes instructions for four lanes at once. All registers of lanes have 32 bits here, or less; the value of a register
 * is one vector. Where only some of the four lanes run, results are merged under a mask.
 */
export class VectorEmitter {
  readonly context: KernelContext
  readonly w: FunctionBuilder
  readonly registers: VectorRegisters
  /** The number of the first of the four lanes. */
  readonly group: Local<'i32'>
  /** The lanes that run here; `undefined` when they all do. */
  mask: Local<'v128'> | undefined
  instruction!: Instruction
  private guarded = false
  private readonly uniform: Emitter

  constructor(context: KernelContext, w: FunctionBuilder, registers: VectorRegisters, group: Local<'i32'>) {
    this.context = context
    this.w = w
    this.registers = registers
    this.group = group
    this.uniform = new Emitter(context, w, undefined, (register) => registers.uniformLocal(register))
  }

  isUniform(operand: Operand): boolean {
    if (operand.kind === 'register') return this.registers.isUniform(operand.register)
    if (operand.kind === 'special') return !/^%(tid|lane)/.test(operand.name)
    return true
  }

  /** An emitter for operands that are the same for all lanes. */
  scalar(): Emitter {
    this.uniform.instruction = this.instruction
    return this.uniform
  }

  splat(value: number): V128 {
    return this.w.v128.const(new Uint8Array(Int32Array.of(value, value, value, value).buffer))
  }

  /** Pushes an operand's 32 bits for each lane; 16-bit ones are zero-extended. */
  bits(operand: Operand): V128 {
    const { w } = this
    if (operand.kind === 'register' && !this.isUniform(operand))
      return w.get(this.registers.vectorLocal(operand.register))
    if (operand.kind === 'integer') return this.splat(Number(BigInt.asIntN(32, operand.value)))
    if (operand.kind === 'float') return this.splat(operand.bits)
    if (operand.kind === 'special' && !this.isUniform(operand)) return this.special(operand)
    return w.i32x4.splat(this.scalar().i32(operand))
  }

  private special(operand: Operand & { kind: 'special' }): V128 {
    const { w, context, group } = this
    const counting = w.v128.const.bind(w.v128, new Uint8Array(Int32Array.of(0, 1, 2, 3).buffer))
    const [, y, z] = context.block
    if (operand.name === '%laneid') return w.i32x4.add(w.i32x4.splat(w.get(group)), counting())
    if (operand.name === '%tid.x' && y === 1 && z === 1) {
      const first = w.i32.add(w.get(context.firstThread), w.get(group))
      return w.i32x4.add(w.i32x4.splat(first), counting())
    }
    const lane = w.local('i32')
    const e = new Emitter(context, w, lane, () => this.scalar().fail('a special register is expected'))
    let vector = this.splat(0)
    for (let index = 0; index < groupLanes; index++) {
      w.set(lane, w.i32.add(w.get(group), w.i32.const(index)))
      vector = w.i32x4.replace_lane(vector, e.i32(operand), index)
    }
    w.release(lane)
    return vector
  }

  /** Pushes a predicate: all ones or zero for each lane. */
  truth(operand: Operand): V128 {
    const { w } = this
    if (operand.kind === 'integer') return this.splat(operand.value === 0n ? 0 : -1)
    if (operand.kind !== 'register') return this.scalar().fail('a predicate is expected')
    if (this.isUniform(operand)) return w.i32x4.splat(w.i32.sub(w.i32.const(0), this.scalar().i32(operand)))
    const value = w.get(this.registers.vectorLocal(operand.register))
    return operand.negated ? w.v128.not(value) : value
  }

  /** Stores a vector into a result, for the lanes that run. */
  set(operand: Operand, value: V128): void {
    const { w } = this
    if (operand.kind === 'sink') {
      w.drop(value)
      return
    }
    const e: Emitter = this.scalar()
    if (operand.kind !== 'register') e.fail('a result must be a register')
    const local = this.registers.vectorLocal(operand.register)
    const merges = this.mask && (this.guarded || !this.registers.isTemporary(operand.register))
    w.set(local, merges ? w.v128.bitselect(value, w.get(local), w.get(this.mask!)) : value)
  }

  /** Runs `body` with the lanes narrowed to those whose guard holds. */
  underGuard(guard: RegisterOperand, body: () => void): void {
    const { w } = this
    const outer = this.mask
    const own = w.let(outer ? w.v128.and(this.truth(guard), w.get(outer)) : this.truth(guard))
    this.mask = own
    this.guarded = true
    body()
    this.guarded = false
    this.mask = outer
    w.release(own)
  }

  /** For each of the four lanes that runs: its index in the vector. */
  forEachLane(body: (index: number) => void): void {
    const { w, mask } = this
    if (!mask) {
      for (let index = 0; index < groupLanes; index++) body(index)
      return
    }
    const bits = w.let(w.i32x4.bitmask(w.get(mask)))
    for (let index = 0; index < groupLanes; index++)
      w.if(w.i32.and(w.get(bits), w.i32.const(1 << index)), () => body(index))
    w.release(bits)
  }

  /** Executes an instruction that has no vector form, lane by lane. */
  writeLaneByLane(instruction: Instruction): void {
    const { w } = this
    const plain = { ...instruction, guard: undefined }
    const temporaries = new Map<number, Local<Plain>>()
    const lane = w.local('i32')
    const localOf = (register: Register): Local => {
      if (this.registers.isUniform(register)) return this.registers.uniformLocal(register)
      let local = temporaries.get(register.id)
      if (!local) {
        local = w.local(registerValueType[register.type])
        temporaries.set(register.id, local)
      }
      return local
    }
    const e = new Emitter(this.context, w, lane, localOf)
    const read = unique(reads(plain).filter((register) => !this.registers.isUniform(register)))
    const written = unique(writes(plain))
    this.forEachLane((index) => {
      w.set(lane, w.i32.add(w.get(this.group), w.i32.const(index)))
      for (const register of read) this.extract(register, index, localOf(register))
      writeInstruction(e, plain)
      for (const register of written) this.insert(register, index, localOf(register))
    })
    w.release(lane, ...temporaries.values())
  }

  private extract(register: Register, index: number, local: Local): void {
    const { w } = this
    const vector = w.get(this.registers.vectorLocal(register))
    if (register.type === 'f32') w.set(local as Local<'f32'>, w.f32x4.extract_lane(vector, index))
    else {
      const bits = w.i32x4.extract_lane(vector, index)
      w.set(local as Local<'i32'>, register.type === 'pred' ? w.i32.and(bits, w.i32.const(1)) : bits)
    }
  }

  private insert(register: Register, index: number, local: Local): void {
    const { w } = this
    const vector = this.registers.vectorLocal(register)
    if (register.type === 'f32')
      w.set(vector, w.f32x4.replace_lane(w.get(vector), w.get(local as Local<'f32'>), index))
    else if (register.type === 'pred') {
      const before = w.get(vector)
      const bits = w.i32.sub(w.i32.const(0), w.get(local as Local<'i32'>))
      w.set(vector, w.i32x4.replace_lane(before, bits, index))
    } else w.set(vector, w.i32x4.replace_lane(w.get(vector), w.get(local as Local<'i32'>), index))
  }
}

function unique(registers: readonly Register[]): Register[] {
  return [...new Map(registers.map((register) => [register.id, register])).values()]
}
