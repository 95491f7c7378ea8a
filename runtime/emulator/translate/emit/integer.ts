import type { Operand } from '../../ptx/module.ts'
import { type I32, type I64, onStack, type Value } from '../../wasm/operations.ts'
import { scalarTypes } from '../types.ts'
import type { Emitter } from './emitter.ts'

type Integer = Value<'i32' | 'i64'>
type Space = {
  readonly [name: string]: (...operands: Value<'i32' | 'i64'>[]) => Value<'i32'>
} & { const(value: number | bigint): Integer }

/** `w.i32` or `w.i64`, for code that is the same in both widths. */
function space(e: Emitter, bits: number): Space {
  return (bits === 64 ? e.w.i64 : e.w.i32) as unknown as Space
}

const wasmName: Readonly<Record<string, string>> = {
  add: 'add',
  sub: 'sub',
  and: 'and',
  or: 'or',
  xor: 'xor',
}

function binary(e: Emitter, [d, a, b]: readonly Operand[]): void {
  const type = e.modifier('type')
  const { bits } = scalarTypes[type]!
  const op = wasmName[e.instruction.op]!
  e.setInteger(d!, type, space(e, bits)[op]!(e.integer(a!, type), e.integer(b!, type)))
}

/** add, sub on integers, `.sat` included. */
export function addOrSubtract(e: Emitter, operands: readonly Operand[]): void {
  const { w } = e
  const type = e.modifier('type')
  const [d, a, b] = operands as [Operand, Operand, Operand]
  if (type === 'u16x2' || type === 's16x2') {
    perHalf(e, operands)
    return
  }
  if (!e.instruction.modifiers.sat) {
    binary(e, operands)
    return
  }
  const wide = e.instruction.op === 'add' ? w.i64.add : w.i64.sub
  const sum = w.let(wide.call(w.i64, w.i64.extend_i32_s(e.i32(a)), w.i64.extend_i32_s(e.i32(b))) as I64)
  w.set(sum, w.select(w.i64.const(0x7fffffffn), w.get(sum), w.i64.gt_s(w.get(sum), w.i64.const(0x7fffffffn))))
  w.set(
    sum,
    w.select(w.i64.const(-0x80000000n), w.get(sum), w.i64.lt_s(w.get(sum), w.i64.const(-0x80000000n))),
  )
  e.set(d, w.i32.wrap_i64(w.get(sum)))
  w.release(sum)
}

/** add, sub, min, max on two 16-bit integers in a word. */
function perHalf(e: Emitter, [d, a, b]: readonly Operand[]): void {
  const { w } = e
  const signed = e.modifier('type') === 's16x2'
  const { op } = e.instruction
  const half = (operand: Operand, high: boolean): I32 => {
    if (high)
      return signed
        ? w.i32.shr_s(e.i32(operand), w.i32.const(16))
        : w.i32.shr_u(e.i32(operand), w.i32.const(16))
    return signed ? w.i32.extend16_s(e.i32(operand)) : w.i32.and(e.i32(operand), w.i32.const(0xffff))
  }
  const result = (high: boolean): I32 => {
    if (op === 'add') return w.i32.add(half(a!, high), half(b!, high))
    if (op === 'sub') return w.i32.sub(half(a!, high), half(b!, high))
    return choose(e, op === 'min', signed, half(a!, high), half(b!, high))
  }
  const low = w.let(w.i32.and(result(false), w.i32.const(0xffff)))
  e.set(d!, w.i32.or(w.i32.shl(result(true), w.i32.const(16)), w.get(low)))
  w.release(low)
}

/** The smaller or larger of the two values on the stack. */
function choose<T extends 'i32' | 'i64'>(
  e: Emitter,
  smaller: boolean,
  signed: boolean,
  first: Value<T>,
  _second: Value<T>,
): Value<T> {
  const { w } = e
  const b = w.let(first)
  const a = w.local(first.type)
  w.set(a, onStack)
  // The second operand lies on top: the locals are swapped, which the comparison does not mind.
  const ns = space(e, first.type === 'i64' ? 64 : 32)
  const name = `${smaller ? 'lt' : 'gt'}_${signed ? 's' : 'u'}`
  const value = w.select(w.get(a), w.get(b), ns[name]!(w.get(a) as Integer, w.get(b) as Integer))
  w.release(a, b)
  return value
}

export function minOrMax(e: Emitter, operands: readonly Operand[]): void {
  const type = e.modifier('type')
  if (type === 'u16x2' || type === 's16x2') {
    perHalf(e, operands)
    return
  }
  const [d, a, b] = operands as [Operand, Operand, Operand]
  const { kind } = scalarTypes[type]!
  e.setInteger(
    d,
    type,
    choose(e, e.instruction.op === 'min', kind === 'signed', e.integer(a, type), e.integer(b, type)),
  )
}

export function bitwise(e: Emitter, operands: readonly Operand[]): void {
  binary(e, operands)
}

export function not(e: Emitter, [d, a]: readonly Operand[]): void {
  const { w } = e
  const type = e.modifier('type')
  const { bits } = scalarTypes[type]!
  if (bits === 1) {
    e.set(d!, w.i32.eqz(e.i32(a!)))
    return
  }
  if (bits === 64) {
    e.set(d!, w.i64.xor(e.i64(a!), w.i64.const(-1n)))
    return
  }
  e.setInteger(d!, type, w.i32.xor(e.i32(a!), w.i32.const(-1)))
}

export function negate(e: Emitter, [d, a]: readonly Operand[]): void {
  const type = e.modifier('type')
  const ns = space(e, scalarTypes[type]!.bits)
  e.setInteger(d!, type, ns.sub!(ns.const(0), e.integer(a!, type)))
}

export function absolute(e: Emitter, [d, a]: readonly Operand[]): void {
  const { w } = e
  const type = e.modifier('type')
  const ns = space(e, scalarTypes[type]!.bits)
  const x = w.let(e.integer(a!, type))
  e.setInteger(
    d!,
    type,
    w.select(ns.sub!(ns.const(0), w.get(x)), w.get(x), ns.lt_s!(w.get(x), ns.const(0))) as Integer,
  )
  w.release(x)
}

/** mul and mad: `.lo`, `.hi` and `.wide`. */
export function multiply(e: Emitter, [d, a, b, c]: readonly Operand[]): void {
  const { w } = e
  const type = e.modifier('type')
  const half = e.modifier('half')
  const { bits, kind } = scalarTypes[type]!
  const signed = kind === 'signed'
  const wide = (operand: Operand): I64 =>
    signed
      ? w.i64.extend_i32_s(e.integer(operand, type) as I32)
      : w.i64.extend_i32_u(e.integer(operand, type) as I32)
  if (half === 'wide') {
    if (bits === 64) e.fail('.wide does not exist for 64-bit operands')
    if (bits === 16) {
      const product = w.i32.mul(e.integer(a!, type) as I32, e.integer(b!, type) as I32)
      e.set(d!, c ? w.i32.add(product, e.i32(c)) : product)
      return
    }
    const product = w.i64.mul(wide(a!), wide(b!))
    e.set(d!, c ? w.i64.add(product, e.i64(c)) : product)
    return
  }
  const ns = space(e, bits)
  let product: Integer
  if (half === 'lo') product = ns.mul!(e.integer(a!, type), e.integer(b!, type)) as Integer
  else if (bits === 64) product = w.call(multiplyHigh64(e, signed), e.i64(a!), e.i64(b!))
  else if (bits === 32) {
    const all = w.i64.mul(wide(a!), wide(b!))
    product = w.i32.wrap_i64(w.i64.shr_u(all, w.i64.const(32)))
  } else {
    const all = w.i32.mul(e.integer(a!, type) as I32, e.integer(b!, type) as I32)
    product = w.i32.shr_s(all, w.i32.const(16))
  }
  e.setInteger(d!, type, c ? (ns.add!(product, e.integer(c, type)) as Integer) : product)
}

function multiplyHigh64(e: Emitter, signed: boolean) {
  return e.m.routine(signed ? 'mul.hi.s64' : 'mul.hi.u64', ['i64', 'i64'], ['i64'], (w) => {
    const [a, b] = w.args
    const low = (x: typeof a): I64 => w.i64.and(w.get(x), w.i64.const(0xffffffffn))
    const high = (x: typeof a): I64 => w.i64.shr_u(w.get(x), w.i64.const(32))
    const cross = w.let(
      w.i64.add(w.i64.mul(high(a), low(b)), w.i64.shr_u(w.i64.mul(low(a), low(b)), w.i64.const(32))),
    )
    const other = w.let(w.i64.add(w.i64.mul(low(a), high(b)), low(cross)))
    const result = w.let(w.i64.add(w.i64.add(w.i64.mul(high(a), high(b)), high(cross)), high(other)))
    if (signed) {
      const correct = (x: typeof a, y: typeof a): void =>
        w.set(result, w.i64.sub(w.get(result), w.i64.and(w.i64.shr_s(w.get(x), w.i64.const(63)), w.get(y))))
      correct(a, b)
      correct(b, a)
    }
    w.get(result)
  })
}

/** div and rem. PTX leaves division by zero open: all ones here, as GPUs give; the remainder is then the dividend. */
export function divide(e: Emitter, [d, a, b]: readonly Operand[]): void {
  const { w } = e
  const type = e.modifier('type')
  const { bits, kind } = scalarTypes[type]!
  const signed = kind === 'signed'
  const ns = space(e, bits)
  const isRemainder = e.instruction.op === 'rem'
  const x = w.let(e.integer(a!, type))
  const y = w.let(e.integer(b!, type))
  const valueType = bits === 64 ? 'i64' : 'i32'
  const name = `${isRemainder ? 'rem' : 'div'}_${signed ? 's' : 'u'}`
  const quotient = (): Integer => {
    if (!signed || isRemainder) return ns[name]!(w.get(x), w.get(y)) as Integer
    // The lowest number by -1 would trap; negation gives what wraps.
    return w.choose(
      valueType,
      ns.eq!(w.get(y), ns.const(-1)) as I32,
      () => ns.sub!(ns.const(0), w.get(x)) as Integer,
      () => ns[name]!(w.get(x), w.get(y)) as Integer,
    )
  }
  const literal = b!.kind === 'integer' && b!.value !== 0n
  const value = literal
    ? quotient()
    : w.choose(valueType, ns.eqz!(w.get(y)) as I32, () => (isRemainder ? w.get(x) : ns.const(-1)), quotient)
  e.setInteger(d!, type, value)
  w.release(x, y)
}

/** shl and shr: counts beyond the width shift everything out. */
export function shift(e: Emitter, [d, a, b]: readonly Operand[]): void {
  const { w } = e
  const type = e.modifier('type')
  const { bits, kind } = scalarTypes[type]!
  const ns = space(e, bits)
  const arithmetic = kind === 'signed' && e.instruction.op === 'shr'
  const name = e.instruction.op === 'shl' ? 'shl' : arithmetic ? 'shr_s' : 'shr_u'
  const countAs = (count: I32): Integer => (bits === 64 ? w.i64.extend_i32_u(count) : count)
  if (b!.kind === 'integer') {
    const count = Math.min(Number(BigInt.asUintN(32, b!.value)), bits)
    if (count < bits) {
      e.setInteger(d!, type, ns[name]!(e.integer(a!, type), ns.const(count)) as Integer)
      return
    }
    if (!arithmetic) {
      e.setInteger(d!, type, ns.const(0))
      return
    }
    e.setInteger(d!, type, ns[name]!(e.integer(a!, type), ns.const(bits - 1)) as Integer)
    return
  }
  const count = w.let(e.i32(b!))
  const inRange = (): I32 => w.i32.lt_u(w.get(count), w.i32.const(bits))
  if (arithmetic) {
    const clamped = w.let(w.select(w.get(count), w.i32.const(bits - 1), inRange()))
    e.setInteger(d!, type, ns[name]!(e.integer(a!, type), countAs(w.get(clamped))) as Integer)
    w.release(clamped)
  } else {
    const shifted = ns[name]!(e.integer(a!, type), countAs(w.get(count))) as Integer
    e.setInteger(d!, type, w.select(shifted, ns.const(0), inRange()))
  }
  w.release(count)
}

/** shf: a funnel shift of the 64 bits `{b, a}`. */
export function funnelShift(e: Emitter, [d, a, b, c]: readonly Operand[]): void {
  const { w } = e
  const left = e.modifier('direction') === 'l'
  const clamp = e.modifier('mode') === 'clamp'
  const pair = w.i64.or(
    w.i64.shl(w.i64.extend_i32_u(e.i32(b!)), w.i64.const(32)),
    w.i64.extend_i32_u(e.i32(a!)),
  )
  const raw = w.let(e.i32(c!))
  const count = clamp
    ? w.select(w.get(raw), w.i32.const(32), w.i32.lt_u(w.get(raw), w.i32.const(32)))
    : w.i32.and(w.get(raw), w.i32.const(31))
  const wideCount = w.i64.extend_i32_u(count)
  e.set(
    d!,
    w.i32.wrap_i64(
      left ? w.i64.shr_u(w.i64.shl(pair, wideCount), w.i64.const(32)) : w.i64.shr_u(pair, wideCount),
    ),
  )
  w.release(raw)
}

/** popc, clz, brev. */
export function countBits(e: Emitter, [d, a]: readonly Operand[]): void {
  const { w } = e
  const is64 = e.modifier('type') === 'b64'
  switch (e.instruction.op) {
    case 'popc':
      e.set(d!, is64 ? w.i32.wrap_i64(w.i64.popcnt(e.i64(a!))) : w.i32.popcnt(e.i32(a!)))
      return
    case 'clz':
      e.set(d!, is64 ? w.i32.wrap_i64(w.i64.clz(e.i64(a!))) : w.i32.clz(e.i32(a!)))
      return
    default: {
      const reverse = reverseBits(e)
      if (!is64) {
        e.set(d!, w.call(reverse, e.i32(a!)))
        return
      }
      const x = w.let(e.i64(a!))
      const high = w.call(reverse, w.i32.wrap_i64(w.get(x)))
      const low = w.call(reverse, w.i32.wrap_i64(w.i64.shr_u(w.get(x), w.i64.const(32))))
      const lowBits = w.let(low)
      e.set(
        d!,
        w.i64.or(w.i64.shl(w.i64.extend_i32_u(high), w.i64.const(32)), w.i64.extend_i32_u(w.get(lowBits))),
      )
      w.release(x, lowBits)
    }
  }
}

function reverseBits(e: Emitter) {
  return e.m.routine('brev', ['i32'], ['i32'], (w) => {
    const [x] = w.args
    for (const [count, mask] of [
      [1, 0x55555555],
      [2, 0x33333333],
      [4, 0x0f0f0f0f],
      [8, 0x00ff00ff],
    ] as const)
      w.set(
        x,
        w.i32.or(
          w.i32.and(w.i32.shr_u(w.get(x), w.i32.const(count)), w.i32.const(mask)),
          w.i32.shl(w.i32.and(w.get(x), w.i32.const(mask)), w.i32.const(count)),
        ),
      )
    w.i32.rotl(w.get(x), w.i32.const(16))
  })
}

/** bfe: `length` bits from `position`, sign-extended for signed types; beyond the word come copies of the sign. */
export function extractField(e: Emitter, [d, a, b, c]: readonly Operand[]): void {
  const { w } = e
  const type = e.modifier('type')
  const { bits, kind } = scalarTypes[type]!
  const signed = kind === 'signed'
  if (b!.kind === 'integer' && c!.kind === 'integer') {
    const position = Number(b!.value & 0xffn)
    const length = Number(c!.value & 0xffn)
    if (length > 0 && position + length <= bits) {
      const ns = space(e, bits)
      const up = ns.shl!(e.integer(a!, type), ns.const(bits - position - length)) as Integer
      e.set(d!, ns[signed ? 'shr_s' : 'shr_u']!(up, ns.const(bits - length)) as Integer)
      return
    }
  }
  const value = w.call(
    extractRoutine(e, bits as 32 | 64, signed),
    bits === 64 ? e.i64(a!) : signed ? w.i64.extend_i32_s(e.i32(a!)) : w.i64.extend_i32_u(e.i32(a!)),
    w.i32.and(e.i32(b!), w.i32.const(0xff)),
    w.i32.and(e.i32(c!), w.i32.const(0xff)),
  )
  e.set(d!, bits === 64 ? value : w.i32.wrap_i64(value))
}

function extractRoutine(e: Emitter, bits: 32 | 64, signed: boolean) {
  const name = `bfe.${signed ? 's' : 'u'}${bits}`
  return e.m.routine(name, ['i64', 'i32', 'i32'], ['i64'], (w) => {
    const [x, position, length] = w.args
    // Bits beyond the word read as the sign; the manual takes the sign of a field from its last bit inside the word.
    w.if(w.i32.eqz(w.get(length)), () => w.return(w.i64.const(0)))
    w.if(w.i32.gt_u(w.get(position), w.i32.const(bits - 1)), () =>
      w.return(signed ? w.i64.shr_s(w.get(x), w.i64.const(63)) : w.i64.const(0)),
    )
    const inside = w.let(w.i32.sub(w.i32.const(bits), w.get(position)))
    w.set(length, w.select(w.get(length), w.get(inside), w.i32.lt_u(w.get(length), w.get(inside))))
    const up = w.i64.shl(
      w.get(x),
      w.i64.extend_i32_u(w.i32.sub(w.i32.sub(w.i32.const(64), w.get(position)), w.get(length))),
    )
    const down = w.i64.extend_i32_u(w.i32.sub(w.i32.const(64), w.get(length)))
    signed ? w.i64.shr_s(up, down) : w.i64.shr_u(up, down)
  })
}

/** bfi: the low `length` bits of `a` replace those of `b` from `position`. */
export function insertField(e: Emitter, [d, a, b, c, length]: readonly Operand[]): void {
  const { w } = e
  const { bits } = scalarTypes[e.modifier('type')]!
  const wide = (operand: Operand): I64 => (bits === 64 ? e.i64(operand) : w.i64.extend_i32_u(e.i32(operand)))
  const value = w.call(
    insertRoutine(e),
    wide(a!),
    wide(b!),
    w.i32.and(e.i32(c!), w.i32.const(0xff)),
    w.i32.and(e.i32(length!), w.i32.const(0xff)),
  )
  e.set(d!, bits === 64 ? value : w.i32.wrap_i64(value))
}

function insertRoutine(e: Emitter) {
  return e.m.routine('bfi', ['i64', 'i64', 'i32', 'i32'], ['i64'], (w) => {
    const [a, b, position, length] = w.args
    w.if(w.i32.gt_u(w.get(position), w.i32.const(63)), () => w.return(w.get(b)))
    w.if(w.i32.eqz(w.get(length)), () => w.return(w.get(b)))
    const ones = w.select(
      w.i64.const(-1n),
      w.i64.sub(w.i64.shl(w.i64.const(1), w.i64.extend_i32_u(w.get(length))), w.i64.const(1)),
      w.i32.gt_u(w.get(length), w.i32.const(63)),
    )
    const mask = w.let(w.i64.shl(ones, w.i64.extend_i32_u(w.get(position))))
    const inserted = w.i64.and(w.i64.shl(w.get(a), w.i64.extend_i32_u(w.get(position))), w.get(mask))
    w.i64.or(inserted, w.i64.and(w.get(b), w.i64.xor(w.get(mask), w.i64.const(-1n))))
  })
}
