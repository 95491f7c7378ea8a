import type { DType } from '../../../dsl/dtype.ts'
import type { Operand, Register, ValueType } from '../../ir/op.ts'
import { immediate } from '../../ir/value.ts'
import type { Module } from '../names.ts'
import type { Call, Expression, FunctionNode, Spread } from '../syntax.ts'
import type { Evaluator } from './evaluator.ts'
import type { Scope } from './scope.ts'

/**
 * Values while compiling. A static value is the JavaScript value itself: a number, a string, an array, a layout. The
 * classes here are the rest.
 */
export type Value = unknown

/** Types of device values. 8-bit types are held extended to 32 bits; `bool` is a predicate. */
export type ScalarType = DType | 'f16x2' | 'bf16x2' | 'bool'
type ByteType = 'i8' | 'u8' | 'e4m3' | 'e5m2'

export const scalarTypes: readonly ScalarType[] = [
  'f32',
  'f16',
  'bf16',
  'i32',
  'u32',
  'i8',
  'u8',
  'e4m3',
  'e5m2',
  'f16x2',
  'bf16x2',
  'bool',
]
export const isScalarType = (name: string): name is ScalarType => (scalarTypes as string[]).includes(name)

export const isByte = (type: ScalarType): type is ByteType =>
  type === 'i8' || type === 'u8' || type === 'e4m3' || type === 'e5m2'

/** The type of the register that holds a value of a type. */
export const registerType = (type: ScalarType): ValueType => (isByte(type) ? 'i32' : type)

/** The type of an element between a load or store and its register: floats of 8 bits are just bytes. */
export const elementType = (type: DType): ValueType => (type === 'e4m3' || type === 'e5m2' ? 'u8' : type)

/** Bounds of an integer value; an infinite maximum is an extent that is trusted not to overflow. */
export interface Bounds {
  readonly min: number
  readonly max: number
}

const fullBounds: Partial<Record<ScalarType, Bounds>> = {
  i32: { min: -(2 ** 31), max: 2 ** 31 - 1 },
  u32: { min: 0, max: 2 ** 32 - 1 },
  i8: { min: -128, max: 127 },
  u8: { min: 0, max: 255 },
}
const noBounds: Bounds = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY }

const boundsOf = (type: ScalarType): Bounds => fullBounds[type] ?? noBounds

/** A value in a register, or a typed immediate. Immutable: it names a register that is written once. */
export class DeviceValue {
  readonly type: ScalarType
  readonly operand: Operand
  readonly bounds: Bounds
  /** The value is `base + plus`, where that is known: addresses fold `plus`. */
  readonly base: DeviceValue | undefined
  readonly plus: number

  constructor(type: ScalarType, operand: Operand, bounds?: Bounds, base?: DeviceValue, plus = 0) {
    this.type = type
    this.operand = operand
    this.bounds = bounds ?? boundsOf(type)
    this.base = base
    this.plus = plus
  }
}

/** A variable's own register: what it holds may change, so it is for immediate use only. */
export class DirectValue extends DeviceValue {}

/** A device value that is a constant of its type. */
export function constantValue(type: ScalarType, value: number): DeviceValue {
  const operand = immediate(registerType(type), value)
  const integer = type === 'i32' || type === 'u32' || type === 'i8' || type === 'u8'
  return new DeviceValue(type, operand, integer ? { min: operand.value, max: operand.value } : undefined)
}

/** A variable of the source that has a register of its own, because it is assigned under run-time control. */
export class Variable {
  readonly type: ScalarType
  readonly register: Register

  constructor(type: ScalarType, register: Register) {
    this.type = type
    this.register = register
  }
}

/** A function of the source, with the scope it closes over. */
export class Closure {
  readonly node: FunctionNode
  readonly scope: Scope
  readonly module: Module

  constructor(node: FunctionNode, scope: Scope, module: Module) {
    this.node = node
    this.scope = scope
    this.module = module
  }
}

/** The call that a builtin is evaluated for: its place in the source. */
export type CallSite = Call | Expression | Spread

/** A function of the language itself, or a method of one of its objects. */
export class Builtin {
  readonly name: string
  readonly call: (ev: Evaluator, args: readonly Value[], site: CallSite) => Value
  readonly members: Readonly<Record<string, Value>>
  /** Fewest and most arguments. */
  readonly arity: readonly [number, number]

  constructor(
    name: string,
    arity: readonly [number, number],
    call: (ev: Evaluator, args: readonly Value[], site: CallSite) => Value,
    members: Readonly<Record<string, Value>> = {},
  ) {
    this.name = name
    this.arity = arity
    this.call = call
    this.members = members
  }
}

/** An object of the language whose members are computed: `threadIdx`, `Math`, `target`. */
export class BuiltinObject {
  readonly name: string
  readonly member: (ev: Evaluator, name: string) => Value
  readonly names: readonly string[]

  constructor(name: string, names: readonly string[], member: (ev: Evaluator, name: string) => Value) {
    this.name = name
    this.names = names
    this.member = member
  }
}

/** A name whose value is computed where it is used: `laneIdx`. */
export class Computed {
  readonly value: (ev: Evaluator) => Value

  constructor(value: (ev: Evaluator) => Value) {
    this.value = value
  }
}

/** What `range(…)` gives: bounds of a run-time loop. */
export class RangeValue {
  readonly start: DeviceValue | number
  readonly end: DeviceValue | number
  readonly step: DeviceValue | number

  constructor(start: DeviceValue | number, end: DeviceValue | number, step: DeviceValue | number) {
    this.start = start
    this.end = end
    this.step = step
  }
}

/** What `unroll(…)` gives. */
export class UnrollValue {
  readonly start: number
  readonly end: number
  readonly step: number

  constructor(start: number, end: number, step: number) {
    this.start = start
    this.end = end
    this.step = step
  }
}

export const isPlainObject = (value: Value): value is Record<string, Value> =>
  typeof value === 'object' &&
  value !== null &&
  (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null)

/** Whether a value is, or holds, a device value. */
export function holdsDevice(value: Value, depth = 0): boolean {
  if (value instanceof DeviceValue || value instanceof Variable) return true
  if (depth > 6) return false
  if (Array.isArray(value)) return value.some((v) => holdsDevice(v, depth + 1))
  if (isPlainObject(value)) return Object.values(value).some((v) => holdsDevice(v, depth + 1))
  return false
}

/** A value in words, for messages. */
export function describe(value: Value): string {
  if (value instanceof DeviceValue || value instanceof Variable) return `${article(value.type)} ${value.type}`
  if (typeof value === 'number') return `the number ${value}`
  if (typeof value === 'string') return `the string '${value}'`
  if (typeof value === 'boolean' || value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (value instanceof Closure) return value.node.name ? `the function ${value.node.name}` : 'a function'
  if (value instanceof Builtin || value instanceof BuiltinObject) return value.name
  if (value instanceof RangeValue) return 'a range'
  if (value instanceof UnrollValue) return 'unroll(…)'
  if (typeof value === 'function') return 'id' in value ? `the layout ${String(value.id)}` : 'a function'
  const described = (value as { describe?: () => string }).describe?.()
  return described ?? 'an object'
}

const article = (type: string): string => (/^[fi]/.test(type) ? 'an' : 'a')
