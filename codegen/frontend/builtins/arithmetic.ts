import { argumentNode } from '../evaluate/calls.ts'
import { track } from '../evaluate/cells.ts'
import { coerce } from '../evaluate/convert.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import { integerDivision, operate } from '../evaluate/operators.ts'
import type { CallSite, ScalarType, Value } from '../evaluate/values.ts'
import { Builtin, constantValue, DeviceValue, describe, registerType } from '../evaluate/values.ts'
import { staticNumber } from './control.ts'

/** Arithmetic that operators do not spell. Each function is one instruction, named in `dsl/intrinsics.ts`. */

/** Arguments of one type, which the first device value gives; static numbers take it. */
function common(
  ev: Evaluator,
  name: string,
  args: readonly Value[],
  types: readonly ScalarType[],
  site: CallSite,
): DeviceValue[] {
  const first = args.find((a) => a instanceof DeviceValue) as DeviceValue | undefined
  if (!first)
    throw ev.error('E0502', `${name} works on run-time values`, site, {
      help: 'compute it with JavaScript operators',
    })
  if (!types.includes(first.type)) {
    throw ev.error('E0102', `${name} does not work on ${first.type}`, site, {
      help: `it takes ${types.join(', ')}`,
    })
  }
  return args.map((arg, i) => {
    if (arg instanceof DeviceValue && arg.type !== first.type) {
      throw ev.error('E0101', `${name} mixes ${first.type} and ${arg.type}`, argumentNode(site, i), {
        help: `convert it: ${first.type}(…)`,
      })
    }
    return coerce(ev, arg, first.type, argumentNode(site, i))
  })
}

const float = (op: string, name = op): readonly [string, Builtin] => [
  name,
  new Builtin(name, [1, 1], (ev, [x], site) => {
    const value = coerce(ev, x, 'f32', argumentNode(site, 0))
    return new DeviceValue('f32', ev.emitter.value(op, 'f32', [value.operand]))
  }),
]

/** A function of `u32` words that gives a word. */
const words = (
  name: string,
  n: number,
  op: string,
  attributes: Record<string, string> = {},
): readonly [string, Builtin] => [
  name,
  new Builtin(name, [n, n], (ev, args, site) => {
    const operands = args.map((arg, i) => coerce(ev, arg, 'u32', argumentNode(site, i)).operand)
    return new DeviceValue('u32', ev.emitter.value(op, 'u32', operands, attributes))
  }),
]

const count = (name: string, op: string): readonly [string, Builtin] => [
  name,
  new Builtin(name, [1, 1], (ev, [x], site) => {
    const word = coerce(ev, x, 'u32', argumentNode(site, 0))
    return new DeviceValue('i32', ev.emitter.value(op, 'i32', [word.operand]), { min: 0, max: 32 })
  }),
]

const idiv = new Builtin('idiv', [2, 2], (ev, [a, b], site) => {
  if (typeof a === 'number' && typeof b === 'number') {
    if (b === 0) throw ev.error('E0502', 'division by zero', argumentNode(site, 1), {})
    return Math.trunc(a / b)
  }
  if (b === 0) throw ev.error('E0502', 'division by zero', argumentNode(site, 1), {})
  const [x, y] = common(ev, 'idiv', [a, b], ['i32', 'u32'], site)
  return integerDivision(ev, x!, y!)
})

/** `ceilDiv` of `dsl/math.ts` on device values: of non-negative integers, as there. */
const ceilDiv = new Builtin('ceilDiv', [2, 2], (ev, [a, b], site) => {
  if (typeof a === 'number' && typeof b === 'number') return Math.floor((a + b - 1) / b)
  const [x, y] = common(ev, 'ceilDiv', [a, b], ['i32', 'u32'], site)
  const type = x!.type
  const sum = operate(ev, 'add', x!, operate(ev, 'sub', y!, constantValue(type, 1)))
  const natural = new DeviceValue(type, sum.operand, { min: 0, max: Math.max(0, sum.bounds.max) })
  return integerDivision(ev, natural, y!)
})

const fma = new Builtin('fma', [3, 3], (ev, args, site) => {
  const [a, b, c] = common(ev, 'fma', args, ['f32', 'f16', 'bf16', 'f16x2', 'bf16x2'], site)
  const { type } = a!
  return new DeviceValue(
    type,
    ev.emitter.value('fma', registerType(type), [a!.operand, b!.operand, c!.operand]),
  )
})

const mulHi = new Builtin('mulHi', [2, 2], (ev, args, site) => {
  const [a, b] = common(ev, 'mulHi', args, ['i32', 'u32'], site)
  const type = a!.type as 'i32'
  return new DeviceValue(type, ev.emitter.value('mulHi', type, [a!.operand, b!.operand]))
})

const dp4a = new Builtin('dp4a', [5, 5], (ev, [a, b, c, aType, bType], site) => {
  for (const [i, type] of [aType, bType].entries()) {
    if (type !== 'i8' && type !== 'u8') {
      throw ev.error('E0502', `dp4a takes 'i8' or 'u8', not ${describe(type)}`, argumentNode(site, 3 + i), {})
    }
  }
  const args = [
    coerce(ev, a, 'u32', argumentNode(site, 0)).operand,
    coerce(ev, b, 'u32', argumentNode(site, 1)).operand,
    coerce(ev, c, 'i32', argumentNode(site, 2)).operand,
  ]
  return new DeviceValue(
    'i32',
    ev.emitter.value('dp4a', 'i32', args, { a: aType as string, b: bType as string }),
  )
})

const lop3 = new Builtin('lop3', [4, 4], (ev, [a, b, c, table], site) => {
  const bits = staticNumber(ev, table, 'the truth table', site, 3)
  if (!Number.isInteger(bits) || bits < 0 || bits > 255) {
    throw ev.error('E0104', `a truth table has 8 bits, and ${bits} does not fit`, argumentNode(site, 3), {})
  }
  const args = [a, b, c].map((arg, i) => coerce(ev, arg, 'u32', argumentNode(site, i)).operand)
  return new DeviceValue('u32', ev.emitter.value('lop3', 'u32', args, { table: bits }))
})

const pack2 = new Builtin('pack2', [2, 2], (ev, args, site) => {
  const [low, high] = common(ev, 'pack2', args, ['f16', 'bf16'], site)
  const type = low!.type === 'f16' ? 'f16x2' : 'bf16x2'
  return new DeviceValue(type, ev.emitter.value('pack2', type, [low!.operand, high!.operand]))
})

const unpack2 = new Builtin('unpack2', [1, 1], (ev, [pair], site) => {
  if (!(pair instanceof DeviceValue) || (pair.type !== 'f16x2' && pair.type !== 'bf16x2')) {
    throw ev.error('E0103', `unpack2 takes f16x2 or bf16x2, not ${describe(pair)}`, argumentNode(site, 0), {
      help: 'f16x2.bits(word) sees a u32 as a pair',
    })
  }
  const type = pair.type === 'f16x2' ? 'f16' : 'bf16'
  const halves = [ev.emitter.register(type), ev.emitter.register(type)]
  ev.emitter.emit('unpack2', halves, [pair.operand])
  return track(
    ev,
    halves.map((half) => new DeviceValue(type, half)),
  )
})

const packFloats = (name: string, type: 'f16x2' | 'bf16x2'): readonly [string, Builtin] => [
  name,
  new Builtin(name, [2, 2], (ev, args, site) => {
    const operands = args.map((arg, i) => coerce(ev, arg, 'f32', argumentNode(site, i)).operand)
    return new DeviceValue(type, ev.emitter.value('packFloats', type, operands))
  }),
]

export const arithmetic: readonly (readonly [string, Value])[] = [
  ['idiv', idiv],
  ['native:ceilDiv', ceilDiv],
  ['fma', fma],
  float('rsqrt'),
  float('rcp'),
  float('sqrt'),
  float('exp2'),
  float('exp2Flushing'),
  float('log2'),
  float('sin'),
  float('cos'),
  float('tanh'),
  float('round'),
  float('floor'),
  float('ceil'),
  ['mulHi', mulHi],
  ['dp4a', dp4a],
  ['lop3', lop3],
  words('permuteBytes', 3, 'permuteBytes'),
  words('funnelShiftLeft', 3, 'funnelShift', { direction: 'left' }),
  words('funnelShiftRight', 3, 'funnelShift', { direction: 'right' }),
  count('popCount', 'popCount'),
  count('leadingZeros', 'leadingZeros'),
  ['pack2', pack2],
  ['unpack2', unpack2],
  packFloats('packF16', 'f16x2'),
  packFloats('packBf16', 'bf16x2'),
]
