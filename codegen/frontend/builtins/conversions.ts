import { bitsOf, valueBits, valueOfBits } from '../../ir/value.ts'
import { bitcast, coerce, convert } from '../evaluate/convert.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import { operate } from '../evaluate/operators.ts'
import type { CallSite, ScalarType, Value } from '../evaluate/values.ts'
import {
  Builtin,
  constantValue,
  DeviceValue,
  describe,
  isByte,
  isScalarType,
  registerType,
} from '../evaluate/values.ts'

/** `f32(v)`, `u32.bits(v)`, `i32.round(v)`, `i8.sat(v)`, `f32.lowest`, `to('f16', v)`. */

const lowest: Partial<Record<ScalarType, number>> = {
  f32: -3.4028234663852886e38,
  f16: -65504,
  bf16: -3.3895313892515355e38,
}

function bits(ev: Evaluator, value: Value, type: ScalarType, site: CallSite): DeviceValue {
  const target = registerType(type)
  if (typeof value === 'number') {
    const wide = valueBits[target] === 16 ? value & 0xffff : value >>> 0
    return constantValue(type, valueOfBits(target, wide))
  }
  if (!(value instanceof DeviceValue))
    throw ev.error('E0502', `${type}.bits takes a number, not ${describe(value)}`, site, {})
  const source = registerType(value.type)
  if (valueBits[source] !== valueBits[target] || value.type === 'bool' || isByte(value.type)) {
    throw ev.error(
      'E0103',
      `${type}.bits takes ${valueBits[target]} bits, and ${describe(value)} has ${valueBits[source]}`,
      site,
      {
        help: 'convert by value first, or pack2 two halves into one register',
      },
    )
  }
  if (value.operand.kind === 'immediate')
    return constantValue(type, valueOfBits(target, bitsOf(source, value.operand.value)))
  return bitcast(ev, value, type)
}

/** To the nearest even integer; floats beyond the range saturate, NaN gives 0 (PTX `cvt`). */
function round(ev: Evaluator, value: Value, type: 'i32' | 'u32', site: CallSite): Value {
  if (typeof value === 'number') return convert(ev, roundToEven(value), type, site)
  const float =
    value instanceof DeviceValue && value.type === 'f16'
      ? convert(ev, value, 'f32', site)
      : coerce(ev, value, 'f32', site)
  return new DeviceValue(
    type,
    ev.emitter.value('convert', type, [float.operand], { rounding: 'rni', saturate: false }),
  )
}

function roundToEven(x: number): number {
  const floor = Math.floor(x)
  const rest = x - floor
  if (rest !== 0.5) return Math.round(x)
  return floor % 2 === 0 ? floor : floor + 1
}

/** Saturates at the bounds of a byte: through `i32`, where two instructions clamp. */
function saturate(ev: Evaluator, value: Value, type: 'i8' | 'u8', site: CallSite): DeviceValue {
  const [low, high] = type === 'i8' ? [-128, 127] : [0, 255]
  if (typeof value === 'number') return constantValue(type, Math.min(high, Math.max(low, roundToEven(value))))
  if (!(value instanceof DeviceValue) || (value.type !== 'f32' && value.type !== 'i32')) {
    throw ev.error('E0103', `${type}.sat takes an f32 or an i32, not ${describe(value)}`, site, {
      help: 'convert first: f32(x)',
    })
  }
  const whole = value.type === 'f32' ? (round(ev, value, 'i32', site) as DeviceValue) : value
  const below = operate(ev, 'min', whole, constantValue('i32', high))
  const clamped = operate(ev, 'max', below, constantValue('i32', low))
  return new DeviceValue(type, clamped.operand, clamped.bounds)
}

function conversion(type: ScalarType): Builtin {
  const members: Record<string, Value> = {
    bits: new Builtin(`${type}.bits`, [1, 1], (ev, [v], site) => bits(ev, v, type, site)),
  }
  if (type === 'i32' || type === 'u32') {
    members.round = new Builtin(`${type}.round`, [1, 1], (ev, [v], site) => round(ev, v, type, site))
  }
  if (type === 'i8' || type === 'u8') {
    members.sat = new Builtin(`${type}.sat`, [1, 1], (ev, [v], site) => saturate(ev, v, type, site))
  }
  const least = lowest[type]
  if (least !== undefined) members.lowest = constantValue(type, least)
  return new Builtin(type, [1, 1], (ev, [v], site) => convert(ev, v, type, site), members)
}

export const conversions: readonly (readonly [string, Value])[] = [
  ...(['f32', 'f16', 'bf16', 'i32', 'u32', 'i8', 'u8', 'f16x2', 'bf16x2'] as const).map(
    (type) => [type, conversion(type)] as const,
  ),
  [
    'to',
    new Builtin('to', [2, 2], (ev, [type, value], site) => {
      if (typeof type !== 'string' || !isScalarType(type) || type === 'bool') {
        throw ev.error('E0502', `to takes the name of an element type first, not ${describe(type)}`, site, {
          help: "to('f16', x)",
        })
      }
      return convert(ev, value, type, site)
    }),
  ],
]
