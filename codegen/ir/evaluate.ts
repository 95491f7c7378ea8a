import type { Attributes, Instruction, ValueType } from './op.ts'
import { bitsOf, isInteger, normalize, valueOfBits } from './value.ts'

/**
 * The value of an instruction whose arguments are known, exactly as the target computes it; undefined for what this
 * does not do: approximations, half precision, anything that gives NaN, and whatever reads memory or other lanes.
 */
export function evaluate({ op, results, args, attributes }: Instruction): number | undefined {
  const values: number[] = []
  for (const arg of args) {
    if (arg.kind !== 'immediate') return undefined
    values.push(arg.value)
  }
  const to = results[0]!.type
  const from = args[0]?.type ?? to
  const value = compute(op, to, from, values, attributes)
  if (value === undefined || Number.isNaN(value)) return undefined
  return to === 'address' ? value : normalize(to, value)
}

function compute(
  op: string,
  to: ValueType,
  from: ValueType,
  values: readonly number[],
  attributes: Attributes,
): number | undefined {
  if (op === 'select') return values[0] ? values[1] : values[2]
  if (op === 'compare') return relate(attributes.relation as string, values[0]!, values[1]!)
  if (op === 'bitcast') return valueOfBits(to, bitsOf(from, values[0]!))
  if (op === 'convert') return convert(to, from, values[0]!, attributes)
  if (to === 'address') return ofAddress(op, values)
  if (isInteger(from) && isInteger(to)) return ofIntegers(op, values, attributes)
  if (from === 'bool') return ofBools(op, values)
  return from === 'f32' && to === 'f32' ? ofFloats(op, values) : undefined
}

export function relate(relation: string, a: number, b: number): number | undefined {
  if (Number.isNaN(a) || Number.isNaN(b)) return relation === 'ne' ? 1 : 0
  switch (relation) {
    case 'eq':
      return a === b ? 1 : 0
    case 'ne':
      return a !== b ? 1 : 0
    case 'lt':
      return a < b ? 1 : 0
    case 'le':
      return a <= b ? 1 : 0
    case 'gt':
      return a > b ? 1 : 0
    default:
      return a >= b ? 1 : 0
  }
}

function ofAddress(op: string, [a, b, c]: readonly number[]): number | undefined {
  const value =
    op === 'add' ? a! + b! : op === 'mulWide' ? a! * b! : op === 'madWide' ? a! * b! + c! : undefined
  return value !== undefined && Number.isSafeInteger(value) ? value : undefined
}

function ofBools(op: string, [a, b]: readonly number[]): number | undefined {
  switch (op) {
    case 'and':
      return a! & b!
    case 'or':
      return a! | b!
    case 'xor':
      return a! ^ b!
    case 'not':
      return 1 - a!
    default:
      return undefined
  }
}

/** Sums, products, quotients and roots of f32 that are rounded twice, to f64 and to f32, are rounded right. */
function ofFloats(op: string, [a, b]: readonly number[]): number | undefined {
  switch (op) {
    case 'add':
      return a! + b!
    case 'sub':
      return a! - b!
    case 'mul':
      return a! * b!
    case 'div':
      return a! / b!
    case 'neg':
      return -a!
    case 'abs':
      return Math.abs(a!)
    case 'min':
      return Number.isNaN(a!) ? b : Number.isNaN(b!) ? a : Math.min(a!, b!)
    case 'max':
      return Number.isNaN(a!) ? b : Number.isNaN(b!) ? a : Math.max(a!, b!)
    case 'sqrt':
      return Math.sqrt(a!)
    case 'round':
      return roundEven(a!)
    case 'floor':
      return Math.floor(a!)
    case 'ceil':
      return Math.ceil(a!)
    default:
      return undefined
  }
}

function ofIntegers(op: string, [a, b, c]: readonly number[], attributes: Attributes): number | undefined {
  switch (op) {
    case 'add':
      return a! + b!
    case 'sub':
      return a! - b!
    case 'mul':
      return Math.imul(a!, b!)
    case 'mad':
      return Math.imul(a!, b!) + c!
    case 'mulHi':
      return Number(BigInt.asUintN(32, (BigInt(a!) * BigInt(b!)) >> 32n))
    case 'min':
      return Math.min(a!, b!)
    case 'max':
      return Math.max(a!, b!)
    case 'div':
      return b === 0 ? undefined : Math.trunc(a! / b!)
    case 'rem':
      return b === 0 ? undefined : a! % b! || 0
    case 'neg':
      return -a!
    case 'abs':
      return Math.abs(a!)
    case 'and':
      return a! & b!
    case 'or':
      return a! | b!
    case 'xor':
      return a! ^ b!
    case 'not':
      return ~a!
    case 'shl':
      return b! >>> 0 > 31 ? 0 : a! << b!
    case 'shr':
      return shiftRight(a!, b! >>> 0, attributes.arithmetic === true)
    case 'popCount':
      return popCount(a!)
    case 'leadingZeros':
      return Math.clz32(a!)
    case 'funnelShift':
      return funnelShift(a!, b!, c! & 31, attributes.direction === 'left')
    case 'permuteBytes':
      return permuteBytes(a!, b!, c!)
    case 'lop3':
      return lop3(a!, b!, c!, attributes.table as number)
    default:
      return undefined
  }
}

function shiftRight(a: number, count: number, arithmetic: boolean): number {
  if (arithmetic) return a >> Math.min(count, 31)
  return count > 31 ? 0 : a >>> count
}

function popCount(a: number): number {
  let count = 0
  for (let rest = a >>> 0; rest !== 0; rest &= rest - 1) count++
  return count
}

function funnelShift(low: number, high: number, count: number, left: boolean): number {
  if (count === 0) return left ? high : low
  return left ? (high << count) | (low >>> (32 - count)) : (low >>> count) | (high << (32 - count))
}

function permuteBytes(a: number, b: number, selector: number): number {
  let result = 0
  for (let i = 0; i < 4; i++) {
    const nibble = (selector >>> (4 * i)) & 15
    const word = nibble & 4 ? b : a
    const byte = (word >>> (8 * (nibble & 3))) & 0xff
    result |= (nibble & 8 ? (byte & 0x80 ? 0xff : 0) : byte) << (8 * i)
  }
  return result
}

function lop3(a: number, b: number, c: number, table: number): number {
  let result = 0
  for (let i = 0; i < 8; i++) {
    if (!((table >>> i) & 1)) continue
    result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c)
  }
  return result
}

const bounds: Readonly<Partial<Record<ValueType, readonly [number, number]>>> = {
  i8: [-128, 127],
  u8: [0, 255],
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
}

function convert(to: ValueType, from: ValueType, value: number, attributes: Attributes): number | undefined {
  if (to === 'bool') return value === 0 ? 0 : 1
  const range = bounds[to]
  if (!range) return value
  const fromFloat = !bounds[from] && from !== 'bool'
  if (!fromFloat && !attributes.saturate) return value
  if (Number.isNaN(value)) return undefined
  const rounded = fromFloat ? roundTo(value, (attributes.rounding || 'rzi') as string) : value
  return Math.min(Math.max(rounded, range[0]), range[1])
}

function roundTo(value: number, rounding: string): number {
  if (rounding === 'rni') return roundEven(value)
  if (rounding === 'rmi') return Math.floor(value)
  return rounding === 'rpi' ? Math.ceil(value) : Math.trunc(value)
}

function roundEven(value: number): number {
  if (Math.abs(value) >= 2 ** 52) return value
  const floor = Math.floor(value)
  const rest = value - floor
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0)
  const result = floor + (up ? 1 : 0)
  return result === 0 && (value < 0 || Object.is(value, -0)) ? -0 : result
}
