import { DeviceError } from '../../../device.ts'
import type { Instruction, Kernel, Operand, Register } from '../../ptx/module.ts'
import type { FunctionBuilder, FunctionRef, Local } from '../../wasm/function.ts'
import type { ModuleBuilder } from '../../wasm/module.ts'
import { type F32, type F64, type I32, type I64, onStack, type Value } from '../../wasm/operations.ts'
import { header, windowStride } from '../layout.ts'
import { type Plain, registerBits, registerValueType, scalarTypes } from '../types.ts'
import type { CheckCalls } from './checked.ts'
import type { CopyCalls } from './copies.ts'

/** What is the same for a whole kernel while it is translated. */
export interface KernelContext {
  readonly m: ModuleBuilder
  readonly kernel: Kernel
  readonly block: readonly [number, number, number]
  /** Locals of the warp function that hold for its whole run. */
  readonly state: Local<'i32'>
  readonly firstThread: Local<'i32'>
  readonly shared: Local<'i32'>
  readonly params: Local<'i32'>
  /** Extent of the CTA's shared window. */
  readonly sharedBytes: number
  /** Reports what a kernel must not do: kind (`faults.ts`) and number of the instruction. Does not come back. */
  readonly fault: FunctionRef<readonly ['i32', 'i32'], readonly []>
  /** The copy engine. */
  readonly copies: CopyCalls
  /** Present when memory accesses are checked. */
  readonly checks: CheckCalls | undefined
}

/**
 * Writes instructions for one thread: the current lane of a lane loop, or, where all operands are uniform, the warp.
 * Values are pushed with the type that the instruction wants and stored with the type that the register has.
 */
export class Emitter {
  readonly context: KernelContext
  readonly w: FunctionBuilder
  readonly m: ModuleBuilder
  /** Holds the lane's number; absent where one evaluation serves the whole warp. */
  readonly lane: Local<'i32'> | undefined
  private readonly localOf: (register: Register) => Local
  instruction!: Instruction

  constructor(
    context: KernelContext,
    w: FunctionBuilder,
    lane: Local<'i32'> | undefined,
    localOf: (register: Register) => Local,
  ) {
    this.context = context
    this.w = w
    this.m = context.m
    this.lane = lane
    this.localOf = localOf
  }

  fail(problem: string): never {
    const { line, text, location } = this.instruction
    const where = location ? `${location.file}:${location.line}` : undefined
    throw new DeviceError(
      'EMULATOR_INVALID_PTX',
      `PTX line ${line}${where ? ` (${where})` : ''}: '${text}': ${problem}.`,
      { kernel: this.context.kernel.name, location: where },
    )
  }

  /** The modifier of a required slot. */
  modifier(name: string): string {
    return this.instruction.modifiers[name] ?? this.fail(`the modifier .${name} is missing`)
  }

  operand(index: number): Operand {
    return this.instruction.operands[index] ?? this.fail(`operand ${index + 1} is missing`)
  }

  /** Pushes an operand as raw bits or as the number it is, in the WebAssembly type wanted. */
  get<T extends Plain>(operand: Operand, type: T): Value<T> {
    return this.push(operand, type) as Value<T>
  }
  i32(operand: Operand): I32 {
    return this.push(operand, 'i32') as I32
  }
  i64(operand: Operand): I64 {
    return this.push(operand, 'i64') as I64
  }
  f32(operand: Operand): F32 {
    return this.push(operand, 'f32') as F32
  }
  f64(operand: Operand): F64 {
    return this.push(operand, 'f64') as F64
  }

  private push(operand: Operand, type: Plain): Value<Plain> {
    const { w } = this
    switch (operand.kind) {
      case 'register': {
        const { register, negated } = operand
        const own = registerValueType[register.type]
        const value = w.get(this.localOf(register)) as Value<Plain>
        if (negated) return w.i32.eqz(value as I32)
        if (own === type) return value
        if (own === 'f32' && type === 'i32') return w.i32.reinterpret_f32(value as F32)
        if (own === 'i32' && type === 'f32' && registerBits[register.type] === 32)
          return w.f32.reinterpret_i32(value as I32)
        if (own === 'f64' && type === 'i64') return w.i64.reinterpret_f64(value as F64)
        if (own === 'i64' && type === 'f64') return w.f64.reinterpret_i64(value as I64)
        return this.fail(`the register ${register.name} has ${registerBits[register.type]} bits`)
      }
      case 'integer':
        if (type === 'i32') return w.i32.const(Number(BigInt.asIntN(32, operand.value)))
        if (type === 'i64') return w.i64.const(BigInt.asIntN(64, operand.value))
        if (type === 'f32') return w.f32.const_bits(Number(BigInt.asUintN(32, operand.value)))
        return this.fail('a floating-point literal is expected')
      case 'float':
        if (type === 'f32') return w.f32.const_bits(operand.bits)
        if (type === 'f64') return w.f64.const(operand.value)
        if (type === 'i32') return w.i32.const(operand.bits)
        return this.fail('an integer is expected')
      case 'special': {
        const value = this.special(operand.name)
        if (type === 'i32') return value
        if (type === 'i64') return w.i64.extend_i32_u(value)
        return this.fail(`${operand.name} is an integer`)
      }
      case 'symbol': {
        const value = this.symbolAddress(operand.name, operand.offset)
        if (type === 'i32') return value
        if (type === 'i64') return w.i64.extend_i32_u(value)
        return this.fail(`${operand.name} is an address`)
      }
      default:
        return this.fail('this kind of operand does not fit here')
    }
  }

  /** The address of a shared variable or a parameter. All addresses are those of linear memory: bases are part of them. */
  symbolAddress(name: string, offset: number): I32 {
    const { w, context } = this
    const variable = context.kernel.sharedVariables.find((v) => v.name === name)
    if (!variable) {
      const param = context.kernel.params.find((candidate) => candidate.name === name)
      if (!param) this.fail(`${name} is neither a shared variable nor a parameter`)
      return w.i32.add(w.get(context.params), w.i32.const(param.offset + offset))
    }
    return w.i32.add(w.get(context.shared), w.i32.const(variable.offset + offset))
  }

  private special(name: string): I32 {
    const { w, context, lane } = this
    const [x, y, z] = context.block
    const isLine = y === 1 && z === 1
    const field = (offset: number): I32 => w.i32.load(w.get(context.state), offset)
    const pushLane = (): I32 => (lane ? w.get(lane) : w.i32.const(0))
    const [base, axis] = name.split('.') as [string, string | undefined]
    const component = axis === undefined ? 0 : 'xyz'.indexOf(axis)
    switch (base) {
      case '%tid':
        if (isLine) return component === 0 ? this.thread() : w.i32.const(0)
        return w.i32.load(
          w.i32.add(w.get(context.state), w.i32.shl(pushLane(), w.i32.const(2))),
          header.tid + component * 128,
        )
      case '%ntid':
        return w.i32.const(context.block[component]!)
      case '%ctaid':
        return field(header.ctaid + 4 * component)
      case '%nctaid':
        return field(header.nctaid + 4 * component)
      case '%cluster_ctarank':
        return field(header.clusterRank)
      case '%cluster_ctaid':
        return component === 0 ? field(header.clusterRank) : w.i32.const(0)
      case '%cluster_nctarank':
        return w.i32.const(context.kernel.cluster[0])
      case '%cluster_nctaid':
        return w.i32.const(context.kernel.cluster[component]!)
      case '%clusterid':
      case '%nclusterid': {
        const own = field((base === '%clusterid' ? header.ctaid : header.nctaid) + 4 * component)
        return w.i32.div_u(own, w.i32.const(context.kernel.cluster[component]!))
      }
      case '%laneid':
        return pushLane()
      case '%warpid':
        return field(header.warp)
      case '%nwarpid':
        return w.i32.const(Math.ceil((x * y * z) / 32))
      case '%lanemask_eq':
        return w.i32.shl(w.i32.const(1), pushLane())
      case '%lanemask_lt':
        return w.i32.sub(w.i32.shl(w.i32.const(1), pushLane()), w.i32.const(1))
      case '%lanemask_le':
        return w.i32.sub(w.i32.shl(w.i32.const(2), pushLane()), w.i32.const(1))
      case '%lanemask_ge':
        return w.i32.sub(w.i32.const(0), w.i32.shl(w.i32.const(1), pushLane()))
      case '%lanemask_gt':
        return w.i32.sub(w.i32.const(0), w.i32.shl(w.i32.const(2), pushLane()))
      default:
        return this.fail(`the emulator has no ${name}`)
    }
  }

  /** The linear index of the thread in the CTA. */
  thread(): I32 {
    const { w, context, lane } = this
    return lane ? w.i32.add(w.get(context.firstThread), w.get(lane)) : w.get(context.firstThread)
  }

  /** The same place in the shared window of another CTA of the cluster. */
  peerAddress(address: Operand, rank: Operand): I32 {
    const { w, context } = this
    const own = w.i32.load(w.get(context.state), header.clusterRank)
    const local = w.let(own)
    const apart = w.i32.sub(this.i32(rank), w.get(local))
    const distance = w.let(w.i32.mul(apart, w.i32.const(windowStride(context.sharedBytes))))
    w.release(local)
    const result = w.i32.add(this.i32(address), w.get(distance))
    w.release(distance)
    return result
  }

  /** Stores into a result operand; converts between a register's raw bits and its own type. */
  set(operand: Operand, value: Value<Plain>): void {
    const { w } = this
    if (operand.kind === 'sink') {
      w.drop(value)
      return
    }
    if (operand.kind !== 'register') this.fail('a result must be a register')
    const { register } = operand
    const own = registerValueType[register.type]
    const local = this.localOf(register)
    if (value.type === own) {
      w.set(local, value)
      return
    }
    if (own === 'f32' && value.type === 'i32') {
      w.set(local as Local<'f32'>, w.f32.reinterpret_i32(onStack))
      return
    }
    if (own === 'i32' && value.type === 'f32' && registerBits[register.type] === 32) {
      w.set(local as Local<'i32'>, w.i32.reinterpret_f32(onStack))
      return
    }
    if (own === 'f64' && value.type === 'i64') {
      w.set(local as Local<'f64'>, w.f64.reinterpret_i64(onStack))
      return
    }
    if (own === 'i64' && value.type === 'f64') {
      w.set(local as Local<'i64'>, w.i64.reinterpret_f64(onStack))
      return
    }
    this.fail(`the register ${register.name} has ${registerBits[register.type]} bits`)
  }

  /** Stores an i32 as a 16-bit result: registers keep them zero-extended. */
  set16(operand: Operand, value: I32): void {
    this.set(operand, this.w.i32.and(value, this.w.i32.const(0xffff)))
  }

  /** Pushes an integer of the given instruction type, extended to i32 or i64 as its sign asks. */
  integer(operand: Operand, typeName: string): Value<'i32' | 'i64'> {
    const { w } = this
    const type = scalarTypes[typeName]!
    if (type.bits === 64) return this.i64(operand)
    const value = this.narrow(operand)
    if (type.bits === 32 || type.bits === 1) return value
    if (type.kind === 'signed') return type.bits === 8 ? w.i32.extend8_s(value) : w.i32.extend16_s(value)
    // A 16-bit register is zero-extended already; wider ones and literals may hold more.
    const isNarrow = operand.kind === 'register' && registerBits[operand.register.type] === 16
    if (type.bits === 16 && isNarrow) return value
    return w.i32.and(value, w.i32.const(type.bits === 8 ? 0xff : 0xffff))
  }

  /** The low 32 bits of a register of any width. */
  private narrow(operand: Operand): I32 {
    if (operand.kind === 'register' && operand.register.type === 'b64')
      return this.w.i32.wrap_i64(this.i64(operand))
    return this.i32(operand)
  }

  /** Stores an integer that is extended properly as the type's sign says, in a register at least as wide. */
  setInteger(operand: Operand, typeName: string, value: Value<'i32' | 'i64'>): void {
    const { w } = this
    if (operand.kind !== 'register') {
      this.set(operand, value)
      return
    }
    const type = scalarTypes[typeName]!
    const bits = registerBits[operand.register.type]
    if (bits < type.bits) this.fail(`the register ${operand.register.name} has ${bits} bits`)
    if (bits === 64 && value.type === 'i32') {
      this.set(operand, type.kind === 'signed' ? w.i64.extend_i32_s(onStack) : w.i64.extend_i32_u(onStack))
      return
    }
    if (bits === 16) {
      this.set16(operand, value as I32)
      return
    }
    this.set(operand, value)
  }
}
