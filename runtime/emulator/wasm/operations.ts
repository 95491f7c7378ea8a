import type { ByteWriter } from './bytes.ts'
import { type MemoryOpcode, type Opcode, opcodes } from './opcodes.ts'

/** WebAssembly's value types. */
export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128'

/**
 * Stands for the value that an instruction just left on the operand stack.
 *
 * JavaScript evaluates arguments from left to right before the call, so nested builder calls write their bytes in
 * stack order: `w.i32.add(w.get(x), w.i32.const(1))` is `local.get x; i32.const 1; i32.add`. The token itself carries
 * nothing but its type. For a value that is on the stack already, pass `onStack`.
 */
export interface Value<T extends ValueType> {
  readonly type: T
}
export type I32 = Value<'i32'>
export type I64 = Value<'i64'>
export type F32 = Value<'f32'>
export type F64 = Value<'f64'>
export type V128 = Value<'v128'>

export const values: { readonly [T in ValueType]: Value<T> } = {
  i32: { type: 'i32' },
  i64: { type: 'i64' },
  f32: { type: 'f32' },
  f64: { type: 'f64' },
  v128: { type: 'v128' },
}

// biome-ignore lint/suspicious/noExplicitAny: it stands for a value of whichever type the caller knows is there
export const onStack: any = undefined

/** What the groups of `opcodes.ts` take and leave, for a namespace whose values are `T`. */
interface Signatures<T extends ValueType> {
  unary: (a: Value<T>) => Value<T>
  test: (a: Value<T>) => I32
  binary: (a: Value<T>, b: Value<T>) => Value<T>
  ternary: (a: Value<T>, b: Value<T>, c: Value<T>) => Value<T>
  compare: (a: Value<T>, b: Value<T>) => I32
  /** A comparison of vectors: all ones where it holds. */
  compareMask: (a: Value<T>, b: Value<T>) => Value<T>
  shift: (a: Value<T>, count: I32) => Value<T>
  fromI32: (a: I32) => Value<T>
  fromI64: (a: I64) => Value<T>
  fromF32: (a: F32) => Value<T>
  fromF64: (a: F64) => Value<T>
  laneToI32: (a: V128, lane: number) => I32
  laneToI64: (a: V128, lane: number) => I64
  laneToF32: (a: V128, lane: number) => F32
  laneToF64: (a: V128, lane: number) => F64
  laneFromI32: (a: V128, value: I32, lane: number) => V128
  laneFromI64: (a: V128, value: I64, lane: number) => V128
  laneFromF32: (a: V128, value: F32, lane: number) => V128
  laneFromF64: (a: V128, value: F64, lane: number) => V128
  /** `offset` is added to the address without wrapping. `log2Align` is a hint, the natural alignment by default. */
  load: (address: I32, offset?: number, log2Align?: number) => Value<T>
  store: (address: I32, value: Value<T>, offset?: number, log2Align?: number) => void
  loadLane: (address: I32, into: V128, lane: number, offset?: number) => V128
  storeLane: (address: I32, from: V128, lane: number, offset?: number) => void
  /** Leaves the old value. Traps when the address is not naturally aligned. */
  rmw: (address: I32, operand: Value<T>, offset?: number) => Value<T>
  cmpxchg: (address: I32, expected: Value<T>, replacement: Value<T>, offset?: number) => Value<T>
}
type Group = keyof Signatures<'i32'>
type Flatten<T> = T extends object ? { readonly [K in keyof T]: T[K] } : never
type UnionToIntersection<U> = (U extends unknown ? (u: U) => void : never) extends (i: infer I) => void
  ? I
  : never
type Methods<T extends ValueType, N> = Flatten<
  UnionToIntersection<
    {
      [G in keyof N & Group]: { readonly [K in keyof N[G]]: Signatures<T>[G] }
    }[keyof N & Group]
  >
>

type Opcodes = typeof opcodes
type Scalar = Exclude<ValueType, 'v128'>
interface Constants {
  i32: { const(value: number): I32 }
  i64: { const(value: bigint | number): I64 }
  /** `const_bits` gives a NaN its payload, which a JavaScript number may lose. */
  f32: { const(value: number): F32; const_bits(bits: number): F32 }
  f64: { const(value: number): F64 }
  v128: { const(bytes: ArrayLike<number>): V128 }
  /** `lanes[i]` picks byte i of the result: 0 to 15 from `a`, 16 to 31 from `b`. */
  i8x16: { shuffle(a: V128, b: V128, lanes: ArrayLike<number>): V128 }
}
type TypeOf<N> = N extends Scalar ? N : 'v128'

/** One namespace per type or vector shape: `i32.add`, `f32x4.mul`, `v128.load` … */
export type Operations = {
  readonly [N in keyof Opcodes]: Methods<TypeOf<N>, Opcodes[N]> &
    (N extends keyof Constants ? Readonly<Constants[N]> : unknown)
}

interface Namespace {
  readonly out: ByteWriter
}
type Emit = (this: Namespace, ...operands: never[]) => unknown

function writeOpcode(out: ByteWriter, opcode: Opcode): void {
  if (opcode > 0xff) {
    out.byte(opcode >>> 8)
    out.u32(opcode & 0xff)
  } else out.byte(opcode)
}

function writeMemoryOpcode(
  out: ByteWriter,
  [opcode, natural]: MemoryOpcode,
  offset = 0,
  log2Align = natural,
): void {
  writeOpcode(out, opcode)
  out.u32(log2Align)
  out.u32(offset)
}

const memoryEmitters = (code: MemoryOpcode, own: Value<ValueType>): Partial<Record<Group, Emit>> => ({
  load(_address: I32, offset?: number, log2Align?: number) {
    writeMemoryOpcode(this.out, code, offset, log2Align)
    return own
  },
  store(_address: I32, _value: unknown, offset?: number, log2Align?: number) {
    writeMemoryOpcode(this.out, code, offset, log2Align)
  },
  loadLane(_address: I32, _into: V128, lane: number, offset?: number) {
    writeMemoryOpcode(this.out, code, offset)
    this.out.byte(lane)
    return own
  },
  storeLane(_address: I32, _from: V128, lane: number, offset?: number) {
    writeMemoryOpcode(this.out, code, offset)
    this.out.byte(lane)
  },
  rmw(_address: I32, _operand: unknown, offset?: number) {
    writeMemoryOpcode(this.out, code, offset)
    return own
  },
  cmpxchg(_address: I32, _expected: unknown, _replacement: unknown, offset?: number) {
    writeMemoryOpcode(this.out, code, offset)
    return own
  },
})

function emitter(group: Group, code: Opcode | MemoryOpcode, own: Value<ValueType>): Emit {
  if (typeof code !== 'number') return memoryEmitters(code, own)[group]!
  if (group.startsWith('laneTo')) {
    const result = values[group.slice(6).toLowerCase() as ValueType]
    return function (_vector: V128, lane: number) {
      writeOpcode(this.out, code)
      this.out.byte(lane)
      return result
    }
  }
  if (group.startsWith('laneFrom')) {
    return function (_vector: V128, _value: unknown, lane: number) {
      writeOpcode(this.out, code)
      this.out.byte(lane)
      return own
    }
  }
  const result = group === 'compare' || group === 'test' ? values.i32 : own
  return function () {
    writeOpcode(this.out, code)
    return result
  }
}

const constants: { readonly [N in keyof Constants]: Readonly<Record<string, Emit>> } = {
  i32: {
    const(value: number) {
      this.out.byte(0x41)
      this.out.i32(value)
      return values.i32
    },
  },
  i64: {
    const(value: bigint | number) {
      this.out.byte(0x42)
      this.out.i64(BigInt(value))
      return values.i64
    },
  },
  f32: {
    const(value: number) {
      this.out.byte(0x43)
      this.out.f32(value)
      return values.f32
    },
    const_bits(bits: number) {
      this.out.byte(0x43)
      for (let shift = 0; shift < 32; shift += 8) this.out.byte((bits >>> shift) & 0xff)
      return values.f32
    },
  },
  f64: {
    const(value: number) {
      this.out.byte(0x44)
      this.out.f64(value)
      return values.f64
    },
  },
  v128: {
    const(bytes: ArrayLike<number>) {
      writeOpcode(this.out, 0xfd0c)
      this.out.bytes(bytes)
      return values.v128
    },
  },
  i8x16: {
    shuffle(_a: V128, _b: V128, lanes: ArrayLike<number>) {
      writeOpcode(this.out, 0xfd0d)
      this.out.bytes(lanes)
      return values.v128
    },
  },
}

const names = Object.keys(opcodes) as (keyof Opcodes)[]
const prototypes = names.map((name) => {
  const prototype: Record<string, Emit> = {}
  const own = values[name in values ? (name as ValueType) : 'v128']
  for (const [group, members] of Object.entries(opcodes[name]) as [Group, Record<string, Opcode>][])
    for (const [method, code] of Object.entries(members)) prototype[method] = emitter(group, code, own)
  return Object.assign(prototype, (constants as Record<string, Record<string, Emit>>)[name])
})

/** The namespaces of instructions that write into `out`. */
export function operationsInto(out: ByteWriter): Operations {
  const operations: Record<string, unknown> = {}
  names.forEach((name, i) => {
    const namespace = Object.create(prototypes[i]!)
    namespace.out = out
    operations[name] = namespace
  })
  return operations as Operations
}
