import { f16Bits } from '../../../dsl/half.ts'
import { bitsOf, valueOfBits } from '../../ir/value.ts'
import type { Expression, Spread } from '../syntax.ts'
import type { Evaluator } from './evaluator.ts'
import type { Bounds, ScalarType, Value } from './values.ts'
import { constantValue, DeviceValue, describe, registerType } from './values.ts'

/** Conversions of values to device types, implicit (`coerce`: literals only) and explicit (`convert`). */

const integerLimits: Partial<Record<ScalarType, readonly [number, number]>> = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
  i8: [-128, 127],
  u8: [0, 255],
}

const isIntegerType = (type: ScalarType): boolean => type in integerLimits

/** A static number or boolean as a constant of a device type. Integers must fit exactly; floats round. */
export function literal(
  ev: Evaluator,
  value: number | boolean,
  type: ScalarType,
  node: Expression | Spread,
): DeviceValue {
  if (type === 'bool') {
    if (typeof value === 'boolean') return constantValue('bool', value ? 1 : 0)
    throw ev.error('E0107', `expected a condition, and ${value} is a number`, node, {
      help: `compare it: x !== 0`,
    })
  }
  if (typeof value === 'boolean') {
    throw ev.error('E0103', `expected ${type}, and ${value} is a boolean`, node, {
      help: `${type}(condition) gives 1 or 0`,
    })
  }
  if (type === 'e4m3' || type === 'e5m2') {
    throw ev.error('E0103', `expected ${type}, and ${value} is a number`, node, {
      help: `packFp8('${type}', low, high) converts two f32 to two bytes; storeWords stores them`,
    })
  }
  const limits = integerLimits[type]
  if (limits) {
    if (!Number.isInteger(value)) {
      throw ev.error('E0104', `${value} is not an integer, and the type here is ${type}`, node, {
        help: `round it, or convert the other side with f32(…)`,
      })
    }
    const [low, high] = limits
    if (value < low || value > high) {
      const help =
        type === 'i32' && value <= 2 ** 32 - 1 && value > 0
          ? 'use u32 values: u32(…)'
          : type === 'u32' && value >= -(2 ** 31)
            ? `write its unsigned form ${value >>> 0}, or ${value} >>> 0`
            : `${type} holds ${low} to ${high}`
      throw ev.error('E0104', `${value} does not fit ${type}`, node, { help })
    }
    return constantValue(type, value)
  }
  if (type === 'f16' && Number.isFinite(value) && (f16Bits(value) & 0x7fff) === 0x7c00) {
    throw ev.error('E0104', `${value} does not fit f16`, node, { help: 'f16 reaches 65504; compute in f32' })
  }
  if (type === 'f32' && Number.isFinite(value) && !Number.isFinite(Math.fround(value))) {
    throw ev.error('E0104', `${value} does not fit f32`, node, {})
  }
  if (type === 'f16x2' || type === 'bf16x2') {
    const half = constantValue(type === 'f16x2' ? 'f16' : 'bf16', value)
    const register = ev.emitter.value('pack2', type, [half.operand, half.operand])
    return new DeviceValue(type, register)
  }
  return constantValue(type, value)
}

/** The value as the device type that its place wants; only static numbers change. */
export function coerce(
  ev: Evaluator,
  value: Value,
  type: ScalarType,
  node: Expression | Spread,
): DeviceValue {
  if (value instanceof DeviceValue) {
    if (value.type === type) return value
    throw ev.error('E0103', `expected ${type}, got ${value.type}`, node, {
      help: conversionHelp(value.type, type),
    })
  }
  if (typeof value === 'number' || typeof value === 'boolean') return literal(ev, value, type, node)
  throw ev.error('E0103', `expected ${type}, got ${describe(value)}`, node, {})
}

export function conversionHelp(from: ScalarType, to: ScalarType): string {
  if (to === 'bool') return 'compare it: x !== 0'
  if (to === 'e4m3' || to === 'e5m2') return `packFp8('${to}', low, high) converts two f32 to two bytes`
  if (from === 'e4m3' || from === 'e5m2') return `unpackFp8('${from}', word) gives two f16 of two bytes`
  if ((to === 'i8' || to === 'u8') && (from === 'f32' || from === 'i32')) {
    return `${to}.sat(x) saturates, ${to}(x) wraps`
  }
  return `convert it: ${to}(…)`
}

/** An i32 for an index, count or shift: i32 and u32 values, and integers. */
export function indexValue(
  ev: Evaluator,
  value: Value,
  node: Expression | Spread,
  what = 'an index',
): DeviceValue | number {
  if (typeof value === 'number') {
    if (Number.isInteger(value) && Math.abs(value) < 2 ** 31) return value
    throw ev.error('E0104', `${value} is not ${what}: it must be an integer`, node, {})
  }
  if (value instanceof DeviceValue) {
    if (value.type === 'i32') return value
    if (value.type === 'u32') return bitcast(ev, value, 'i32')
    throw ev.error('E0103', `${what} is an i32, not ${describe(value)}`, node, { help: 'convert it: i32(…)' })
  }
  throw ev.error('E0103', `${what} is an i32, not ${describe(value)}`, node, {})
}

/** The same bits as another type of the same width. */
export function bitcast(ev: Evaluator, value: DeviceValue, type: ScalarType): DeviceValue {
  const [from, to] = [registerType(value.type), registerType(type)]
  if (from === to) return new DeviceValue(type, value.operand, boundsAs(value.bounds, type))
  if (value.operand.kind === 'immediate')
    return constantValue(type, valueOfBits(to, bitsOf(from, value.operand.value)))
  return new DeviceValue(type, ev.emitter.value('bitcast', to, [value.operand]), boundsAs(value.bounds, type))
}

/** Bounds of the same bits as another integer type; none if the sign bit may be set. */
function boundsAs(bounds: Bounds, type: ScalarType): Bounds | undefined {
  if (!isIntegerType(type) || bounds.min < 0) return undefined
  return bounds.max < 2 ** 31 || bounds.max === Number.POSITIVE_INFINITY ? bounds : undefined
}

const isFloat = (type: ScalarType) => type === 'f32' || type === 'f16' || type === 'bf16'

/** `f32(v)`, `i32(v)` and the rest: conversion by value. */
export function convert(
  ev: Evaluator,
  value: Value,
  type: ScalarType,
  node: Expression | Spread,
): DeviceValue {
  if (typeof value === 'boolean') return convert(ev, value ? 1 : 0, type, node)
  if (typeof value === 'number') {
    const integer = isIntegerType(type) ? Math.trunc(value) : value
    return literal(ev, integer, type, node)
  }
  if (!(value instanceof DeviceValue)) {
    throw ev.error('E0502', `${type}(…) converts a number, not ${describe(value)}`, node, {})
  }
  const from = value.type
  if (from === type) return value
  if (from === 'e4m3' || from === 'e5m2' || type === 'e4m3' || type === 'e5m2')
    throw ev.error('E0103', `${from} does not convert to ${type}`, node, { help: conversionHelp(from, type) })
  if (type === 'f16x2' || type === 'bf16x2') {
    const half = convert(ev, value, type === 'f16x2' ? 'f16' : 'bf16', node)
    return new DeviceValue(type, ev.emitter.value('pack2', type, [half.operand, half.operand]))
  }
  if (from === 'f16x2' || from === 'bf16x2') {
    throw ev.error('E0103', `${from} holds two numbers`, node, {
      help: 'const [low, high] = unpack2(pair), or u32.bits(pair) for its bits',
    })
  }
  if (type === 'i8' || type === 'u8') return toByte(ev, value, type, node)
  if (isIntegerType(type)) {
    if (isIntegerType(from)) {
      if (registerType(from) !== registerType(type)) return bitcast(ev, value, type)
      return new DeviceValue(type, value.operand, value.bounds)
    }
    if (from === 'bool') {
      return new DeviceValue(type, ev.emitter.value('convert', type as 'i32', [value.operand], plain), {
        min: 0,
        max: 1,
      })
    }
    return new DeviceValue(type, ev.emitter.value('convert', type as 'i32', [value.operand], rounded('rzi')))
  }
  if (isFloat(type)) {
    const widens = isFloat(from) && type === 'f32'
    if (isFloat(from) && from !== 'f32' && type !== 'f32')
      return convert(ev, convert(ev, value, 'f32', node), type, node)
    const attributes = widens || from === 'bool' ? plain : rounded('rn')
    return new DeviceValue(type, ev.emitter.value('convert', type as 'f32', [value.operand], attributes))
  }
  throw ev.error('E0103', `${from} does not convert to ${type}`, node, { help: conversionHelp(from, type) })
}

const plain = { rounding: '', saturate: false } as const
const rounded = (rounding: string) => ({ rounding, saturate: false })

/** Wraps to 8 bits: the low byte, extended. */
function toByte(
  ev: Evaluator,
  value: DeviceValue,
  type: 'i8' | 'u8',
  node: Expression | Spread,
): DeviceValue {
  const whole = convert(ev, value, 'i32', node)
  const { min, max } = whole.bounds
  const [low, high] = integerLimits[type]!
  if (min >= low && max <= high) return new DeviceValue(type, whole.operand, whole.bounds)
  if (type === 'u8') {
    return new DeviceValue(
      'u8',
      ev.emitter.value('and', 'i32', [whole.operand, constantValue('i32', 255).operand]),
    )
  }
  const by = constantValue('i32', 24).operand
  const up = ev.emitter.value('shl', 'i32', [whole.operand, by])
  return new DeviceValue('i8', ev.emitter.value('shr', 'i32', [up, by], { arithmetic: true }))
}
