import type { ValueType } from '../../ir/op.ts'
import { immediate } from '../../ir/value.ts'
import type { Expression } from '../syntax.ts'
import { boundsOfBinary, boundsOfShift } from './bounds.ts'
import { coerce, conversionHelp, literal } from './convert.ts'
import type { Evaluator } from './evaluator.ts'
import type { Bounds, ScalarType, Value } from './values.ts'
import { constantValue, DeviceValue, describe, isByte, registerType } from './values.ts'

/** What an operator becomes, by the type of its operands. `docs/language.md` prints this table. */
export interface OperatorRule {
  /** Operation of the IR. */
  readonly op: string
  readonly types: readonly ScalarType[]
  readonly relation?: string
  readonly ptx: string
}

const arithmetic: readonly ScalarType[] = ['f32', 'f16', 'i32', 'u32', 'f16x2', 'bf16x2']
const integers: readonly ScalarType[] = ['i32', 'u32']
const ordered: readonly ScalarType[] = ['f32', 'f16', 'i32', 'u32']

export const operatorRules: Readonly<Record<string, OperatorRule>> = {
  '+': { op: 'add', types: arithmetic, ptx: 'add (floats: .rn)' },
  '-': { op: 'sub', types: arithmetic, ptx: 'sub (floats: .rn)' },
  '*': { op: 'mul', types: arithmetic, ptx: 'mul.lo (floats: mul.rn)' },
  '/': { op: 'div', types: ['f32'], ptx: 'div.rn.f32' },
  '%': { op: 'rem', types: integers, ptx: 'rem' },
  '&': { op: 'and', types: integers, ptx: 'and.b32' },
  '|': { op: 'or', types: integers, ptx: 'or.b32' },
  '^': { op: 'xor', types: integers, ptx: 'xor.b32' },
  '<<': { op: 'shl', types: integers, ptx: 'shl.b32' },
  '>>': { op: 'shr', types: integers, ptx: 'shr.s32 (arithmetic, of u32 too)' },
  '>>>': { op: 'shr', types: integers, ptx: 'shr.u32 (logical, of i32 too)' },
  '<': { op: 'compare', relation: 'lt', types: ordered, ptx: 'setp.lt' },
  '<=': { op: 'compare', relation: 'le', types: ordered, ptx: 'setp.le' },
  '>': { op: 'compare', relation: 'gt', types: ordered, ptx: 'setp.gt' },
  '>=': { op: 'compare', relation: 'ge', types: ordered, ptx: 'setp.ge' },
  '===': { op: 'compare', relation: 'eq', types: [...ordered, 'bool'], ptx: 'setp.eq' },
  '!==': { op: 'compare', relation: 'ne', types: [...ordered, 'bool'], ptx: 'setp.ne (floats: .neu)' },
}

/** `left operator right` with at least one device value. */
export function binary(ev: Evaluator, operator: string, left: Value, right: Value, node: Expression): Value {
  if (!(left instanceof DeviceValue) && !(right instanceof DeviceValue)) {
    return staticBinary(ev, operator, left, right, node)
  }
  const rule = operatorRules[operator]
  if (!rule) {
    throw ev.error('E0102', `${operator} works on static numbers only`, node, {
      help: operator === '**' ? 'multiply, or use exp2(x * log2(y))' : undefined,
    })
  }
  const identity = comparesIdentity(operator, left, right)
  if (identity !== undefined) return identity
  if (rule.op === 'shl' || rule.op === 'shr') return shift(ev, operator, left, right, node)
  const [a, b] = unify(ev, operator, left, right, node)
  checkType(ev, operator, rule, a.type, node)
  if (rule.op === 'compare') return compare(ev, rule.relation!, a, b)
  if (rule.op === 'rem') return remainder(ev, a, b)
  if (a.type === 'bf16x2') return pairOfBf16(ev, rule.op, a, b)
  return operate(ev, rule.op, a, b)
}

/** Device values are never `null` or `undefined`, so comparing with those is static. */
function comparesIdentity(operator: string, left: Value, right: Value): boolean | undefined {
  if (operator !== '===' && operator !== '!==') return undefined
  const other = left instanceof DeviceValue ? right : left
  if (other !== undefined && other !== null) return undefined
  return operator === '!=='
}

function checkType(
  ev: Evaluator,
  operator: string,
  rule: OperatorRule,
  type: ScalarType,
  node: Expression,
): void {
  if (rule.types.includes(type)) return
  if (operator === '/' && (type === 'i32' || type === 'u32')) {
    const [a, b] = node.kind === 'binary' ? [ev.text(node.left), ev.text(node.right)] : ['a', 'b']
    throw ev.error('E0105', 'integer division truncates; say which you mean', node, {
      help: `idiv(${a}, ${b})   or   f32(${a}) / f32(${b})`,
    })
  }
  if (isByte(type)) {
    throw ev.error('E0102', `${type} is a storage type: ${operator} does not work on it`, node, {
      help:
        type === 'i8' || type === 'u8'
          ? `convert first: i32(x) ${operator} …`
          : `unpackFp8('${type}', word) gives two f16 of two bytes`,
    })
  }
  const help =
    type === 'bool'
      ? operator === '&' || operator === '|'
        ? `write ${operator}${operator} between conditions`
        : 'i32(condition) gives 1 or 0'
      : type === 'bf16' || type === 'f16'
        ? `convert first: f32(x) ${operator} …`
        : `${operator} works on ${rule.types.join(', ')}`
  throw ev.error('E0102', `${operator} does not work on ${type}`, node, { help })
}

/** Two operands of one type: static numbers take the other's. */
function unify(
  ev: Evaluator,
  operator: string,
  left: Value,
  right: Value,
  node: Expression,
): [DeviceValue, DeviceValue] {
  if (left instanceof DeviceValue && right instanceof DeviceValue) {
    if (left.type === right.type) return [left, right]
    const [a, b] = node.kind === 'binary' ? [ev.text(node.left), ev.text(node.right)] : ['left', 'right']
    const help =
      left.type === 'f32'
        ? `${a} ${operator} f32(${b})`
        : right.type === 'f32'
          ? `f32(${a}) ${operator} ${b}`
          : conversionHelp(right.type, left.type)
    throw ev.error('E0101', `${operator} mixes ${left.type} and ${right.type}`, node, { help })
  }
  if (left instanceof DeviceValue) return [left, operand(ev, right, left.type, operator, node)]
  const device = right as DeviceValue
  return [operand(ev, left, device.type, operator, node), device]
}

function operand(
  ev: Evaluator,
  value: Value,
  type: ScalarType,
  operator: string,
  node: Expression,
): DeviceValue {
  if (typeof value === 'number') {
    if (type === 'bool') return coerce(ev, value, type, node)
    return literal(ev, value, type, node)
  }
  if (typeof value === 'boolean' && type === 'bool') return literal(ev, value, type, node)
  throw ev.error('E0103', `${operator} takes ${type} here, not ${describe(value)}`, node, {})
}

const resultType = (type: ScalarType): ValueType => registerType(type)

/** An operation of two values of one type, with what is known of its bounds. */
export function operate(ev: Evaluator, op: string, a: DeviceValue, b: DeviceValue): DeviceValue {
  const { type } = a
  const integer = type === 'i32' || type === 'u32'
  if (integer) {
    const known = identityOf(op, a, b)
    if (known) return known
  }
  const register = ev.emitter.value(op, resultType(type), [a.operand, b.operand])
  if (!integer) return new DeviceValue(type, register)
  const bounds = boundsOfBinary(op, a.bounds, b.bounds, type === 'u32')
  if (op === 'add' && b.operand.kind === 'immediate') {
    return new DeviceValue(type, register, bounds, a.base ?? a, a.plus + b.operand.value)
  }
  if (op === 'add' && a.operand.kind === 'immediate') {
    return new DeviceValue(type, register, bounds, b.base ?? b, b.plus + a.operand.value)
  }
  if (op === 'sub' && type === 'i32' && b.operand.kind === 'immediate') {
    return new DeviceValue(type, register, bounds, a.base ?? a, a.plus - b.operand.value)
  }
  return new DeviceValue(type, register, bounds)
}

/** x + 0, x · 1, x · 0 and the like need no instruction. */
function identityOf(op: string, a: DeviceValue, b: DeviceValue): DeviceValue | undefined {
  const isConstant = (x: DeviceValue, value: number) =>
    x.operand.kind === 'immediate' && x.operand.value === value
  switch (op) {
    case 'add':
    case 'or':
    case 'xor':
      if (isConstant(b, 0)) return a
      return isConstant(a, 0) ? b : undefined
    case 'sub':
      return isConstant(b, 0) ? a : undefined
    case 'mul':
      if (isConstant(b, 1) || isConstant(a, 0)) return a
      return isConstant(a, 1) || isConstant(b, 0) ? b : undefined
    default:
      return undefined
  }
}

function pairOfBf16(ev: Evaluator, op: string, a: DeviceValue, b: DeviceValue): DeviceValue {
  // Only fma exists for bf16 pairs on every target; with a factor of ±1, or −0 added, it rounds as the operation does.
  const pair = (bits: number) => immediate('bf16x2', bits)
  const args =
    op === 'mul'
      ? [a.operand, b.operand, pair(0x80008000)]
      : op === 'add'
        ? [a.operand, pair(0x3f803f80), b.operand]
        : [b.operand, pair(0xbf80bf80), a.operand]
  return new DeviceValue('bf16x2', ev.emitter.value('fma', 'bf16x2', args))
}

export function compare(ev: Evaluator, relation: string, a: DeviceValue, b: DeviceValue): DeviceValue {
  if (a.type === 'bool') {
    const differ = ev.emitter.value('xor', 'bool', [a.operand, b.operand])
    return new DeviceValue('bool', relation === 'ne' ? differ : ev.emitter.value('not', 'bool', [differ]))
  }
  return new DeviceValue('bool', ev.emitter.value('compare', 'bool', [a.operand, b.operand], { relation }))
}

const isPowerOfTwo = (n: number): boolean => n >= 1 && n <= 2 ** 31 && Number.isInteger(Math.log2(n))

/** `a % b` with the sign of a; a mask where a is never negative and b a static power of two. */
export function remainder(ev: Evaluator, a: DeviceValue, b: DeviceValue): DeviceValue {
  if (b.operand.kind === 'immediate' && a.bounds.min >= 0 && isPowerOfTwo(b.operand.value)) {
    const divisor = b.operand.value
    if (a.bounds.max < divisor) return a
    return operate(ev, 'and', a, constantValue(a.type, divisor - 1))
  }
  return operate(ev, 'rem', a, b)
}

/** Division towards zero; a shift where a is never negative and b a static power of two. */
export function integerDivision(ev: Evaluator, a: DeviceValue, b: DeviceValue): DeviceValue {
  if (b.operand.kind === 'immediate' && a.bounds.min >= 0 && isPowerOfTwo(b.operand.value)) {
    const count = Math.log2(b.operand.value)
    return count === 0 ? a : shiftBy(ev, a, 'right', count, true)
  }
  return operate(ev, 'div', a, b)
}

/** A shift by a static count. */
export function shiftBy(
  ev: Evaluator,
  a: DeviceValue,
  direction: 'left' | 'right',
  count: number,
  logical: boolean,
): DeviceValue {
  if (count === 0) return a
  const type = a.type as 'i32' | 'u32'
  const by = immediate('u32', count)
  const bounds = boundsOfShift(direction, a.bounds, count, logical, type === 'u32')
  if (direction === 'left')
    return new DeviceValue(type, ev.emitter.value('shl', type, [a.operand, by]), bounds)
  const arithmetic = !logical
  return new DeviceValue(type, ev.emitter.value('shr', type, [a.operand, by], { arithmetic }), bounds)
}

function shift(ev: Evaluator, operator: string, left: Value, right: Value, node: Expression): DeviceValue {
  const value =
    left instanceof DeviceValue
      ? left
      : coerce(ev, left, (right as DeviceValue).type === 'u32' ? 'u32' : 'i32', node)
  checkType(ev, operator, operatorRules[operator]!, value.type, node)
  const direction = operator === '<<' ? 'left' : 'right'
  if (typeof right === 'number') {
    if (!Number.isInteger(right) || right < 0 || right > 31) {
      throw ev.error('E0104', `a shift count of ${right} is outside 0 to 31`, node, {})
    }
    return shiftBy(ev, value, direction, right, operator === '>>>')
  }
  if (!(right instanceof DeviceValue) || (right.type !== 'i32' && right.type !== 'u32')) {
    throw ev.error('E0103', `a shift count is an i32 or u32, not ${describe(right)}`, node, {})
  }
  const attributes: Record<string, boolean> = direction === 'right' ? { arithmetic: operator === '>>' } : {}
  const op = direction === 'left' ? 'shl' : 'shr'
  const bounds: Bounds | undefined =
    direction === 'right' && value.bounds.min >= 0 ? { min: 0, max: value.bounds.max } : undefined
  const register = ev.emitter.value(op, resultType(value.type), [value.operand, right.operand], attributes)
  return new DeviceValue(value.type, register, bounds)
}

/** `-x`, `~x`, `!x`, `+x`. */
export function unary(ev: Evaluator, operator: string, value: Value, node: Expression): Value {
  if (!(value instanceof DeviceValue)) {
    switch (operator) {
      case '-':
        return -(value as number)
      case '+':
        return +(value as number)
      case '~':
        return ~(value as number)
      default:
        return !value
    }
  }
  const { type } = value
  if (operator === '+') return value
  if (operator === '!') {
    if (type !== 'bool') {
      throw ev.error('E0107', `! takes a condition, not ${describe(value)}`, node, {
        help: 'compare it: x === 0',
      })
    }
    return not(ev, value)
  }
  if (operator === '~') {
    if (type !== 'i32' && type !== 'u32') {
      throw ev.error('E0102', `~ does not work on ${type}`, node, { help: '~ works on i32, u32' })
    }
    return new DeviceValue(type, ev.emitter.value('not', type, [value.operand]))
  }
  if (!['f32', 'f16', 'i32', 'f16x2'].includes(type)) {
    throw ev.error('E0102', `- does not work on ${type}`, node, {
      help: type === 'u32' ? 'write 0 - x, or convert: i32(x)' : `convert first: -f32(x)`,
    })
  }
  if (value.operand.kind === 'immediate' && type !== 'f16x2') return constantValue(type, -value.operand.value)
  const { min, max } = value.bounds
  const bounds =
    type === 'i32' && Number.isFinite(max) && min > -(2 ** 31) ? { min: -max, max: -min } : undefined
  return new DeviceValue(type, ev.emitter.value('neg', resultType(type), [value.operand]), bounds)
}

export const not = (ev: Evaluator, value: DeviceValue): DeviceValue =>
  new DeviceValue('bool', ev.emitter.value('not', 'bool', [value.operand]))

function staticBinary(ev: Evaluator, operator: string, left: Value, right: Value, node: Expression): Value {
  const a = left as number
  const b = right as number
  switch (operator) {
    case '===':
      return left === right
    case '!==':
      return left !== right
  }
  for (const side of [left, right]) {
    const fits = typeof side === 'number' || typeof side === 'string' || typeof side === 'boolean'
    if (!fits) {
      throw ev.error('E0103', `${operator} takes numbers, not ${describe(side)}`, node, {
        help: side === undefined ? 'a missing field or constant is undefined' : undefined,
      })
    }
  }
  switch (operator) {
    case '+':
      return a + b
    case '-':
      return a - b
    case '*':
      return a * b
    case '/':
      return a / b
    case '%':
      return a % b
    case '**':
      return a ** b
    case '&':
      return a & b
    case '|':
      return a | b
    case '^':
      return a ^ b
    case '<<':
      return a << b
    case '>>':
      return a >> b
    case '>>>':
      return a >>> b
    case '<':
      return a < b
    case '<=':
      return a <= b
    case '>':
      return a > b
    case '>=':
      return a >= b
    default:
      throw ev.error('E0002', `${operator} is not part of the language`, node, {})
  }
}
