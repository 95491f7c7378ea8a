import { f32FromHalf, type HalfName, halfFromF32, halfPairFromF32 } from '../../arithmetic/convert.ts'
import { clampToUnit } from '../../arithmetic/f32.ts'
import { e4m3, e5m2, type Fp8Format, fp8PairFromF32, halfPairFromFp8 } from '../../arithmetic/fp8.ts'
import type { Operand } from '../../ptx/module.ts'
import { type F32, type F64, type I32, type I64, onStack, type Value } from '../../wasm/operations.ts'
import { scalarTypes } from '../types.ts'
import type { Emitter } from './emitter.ts'

/** Types of two 8-bit floats. */
export const fp8Pairs: Readonly<Record<string, Fp8Format>> = { e4m3x2: e4m3, e5m2x2: e5m2 }

type Integer = Value<'i32' | 'i64'>

/** cvt between all scalar types, and the forms that pack or unpack two floats. */
export function convert(e: Emitter, [d, a, b]: readonly (Operand | undefined)[]): void {
  const from = e.modifier('from')
  const to = e.modifier('to')
  const packed = fp8Pairs[from] ?? fp8Pairs[to]
  if (packed) {
    if (fp8Pairs[from]) e.set(d!, halfPairFromFp8(e.w, packed, e.i32(a!)))
    else e.set(d!, fp8PairFromF32(e.w, packed, e.f32(a!), e.f32(b!)))
    return
  }
  if (to === 'f16x2' || to === 'bf16x2') {
    packPair(e, to === 'f16x2' ? 'f16' : 'bf16', d!, a!, b!)
    return
  }
  const source = scalarTypes[from]!
  const target = scalarTypes[to]!
  if (source.kind !== 'float' && target.kind !== 'float') {
    convertInteger(e, from, to, d!, a!)
    return
  }
  if (source.kind !== 'float') {
    storeFloat(e, to, d!, floatOfInteger(e, from, to, a!))
    return
  }
  if (target.kind !== 'float') {
    floatToInteger(e, from, to, d!, a!)
    return
  }
  storeFloat(e, to, d!, floatOfFloat(e, from, to, a!))
}

/** `cvt.rn.f16x2.f32 d, a, b`: a goes to the upper half. */
function packPair(e: Emitter, format: HalfName, d: Operand, a: Operand, b: Operand): void {
  const { w } = e
  const relu = (value: F32): F32 => (e.instruction.modifiers.relu ? w.f32.max(value, w.f32.const(0)) : value)
  const high = relu(e.f32(a))
  const low = relu(e.f32(b))
  e.set(d, halfPairFromF32(w, format, high, low))
}

const limits = (bits: number, signed: boolean): { low: bigint; high: bigint } =>
  signed
    ? { low: -(1n << BigInt(bits - 1)), high: (1n << BigInt(bits - 1)) - 1n }
    : { low: 0n, high: (1n << BigInt(bits)) - 1n }

function convertInteger(e: Emitter, from: string, to: string, d: Operand, a: Operand): void {
  const { w } = e
  const source = scalarTypes[from]!
  const target = scalarTypes[to]!
  const signed = target.kind === 'signed'
  if (e.instruction.modifiers.sat) {
    const isSigned = source.kind === 'signed'
    const wide = w.let(widen(e, e.integer(a, from), isSigned))
    const { low, high } = limits(target.bits, signed)
    const highest = isSigned ? 0x7fffffffffffffffn : 0xffffffffffffffffn
    const limit = (value: bigint): I64 => w.i64.const(BigInt.asIntN(64, value))
    if (high < highest) {
      const above = isSigned ? w.i64.gt_s : w.i64.gt_u
      w.set(wide, w.select(limit(high), w.get(wide), above.call(w.i64, w.get(wide), limit(high)) as I32))
    }
    if (isSigned && (target.bits < 64 || !signed))
      w.set(wide, w.select(limit(low), w.get(wide), w.i64.lt_s(w.get(wide), limit(low))))
    e.setInteger(d, to, target.bits === 64 ? w.get(wide) : w.i32.wrap_i64(w.get(wide)))
    w.release(wide)
    return
  }
  const value = e.integer(a, from)
  if (target.bits === 64) {
    e.set(d, widen(e, value, source.kind === 'signed'))
    return
  }
  const narrow = value.type === 'i64' ? w.i32.wrap_i64(onStack) : (value as I32)
  e.setInteger(d, to, truncate(e, narrow, target.bits, signed))
}

function widen(e: Emitter, value: Integer, signed: boolean): I64 {
  if (value.type === 'i64') return value as I64
  return signed ? e.w.i64.extend_i32_s(onStack) : e.w.i64.extend_i32_u(onStack)
}

function truncate(e: Emitter, value: I32, bits: number, signed: boolean): I32 {
  const { w } = e
  if (bits === 32) return value
  if (signed) return bits === 8 ? w.i32.extend8_s(value) : w.i32.extend16_s(value)
  return w.i32.and(value, w.i32.const(bits === 8 ? 0xff : 0xffff))
}

/** Pushes an f64 for an f64 target and an f32 for others. */
function floatOfInteger(e: Emitter, from: string, to: string, a: Operand): Value<'f32' | 'f64'> {
  const { w } = e
  const signed = scalarTypes[from]!.kind === 'signed'
  if (e.instruction.modifiers.rnd !== undefined && e.instruction.modifiers.rnd !== 'rn')
    e.fail(`the emulator rounds integers to floats only with .rn`)
  const value = e.integer(a, from)
  if (to === 'f64') {
    if (value.type === 'i64') return signed ? w.f64.convert_i64_s(onStack) : w.f64.convert_i64_u(onStack)
    return signed ? w.f64.convert_i32_s(onStack) : w.f64.convert_i32_u(onStack)
  }
  if (value.type === 'i64') return signed ? w.f32.convert_i64_s(onStack) : w.f32.convert_i64_u(onStack)
  return signed ? w.f32.convert_i32_s(onStack) : w.f32.convert_i32_u(onStack)
}

function pushFloat(e: Emitter, from: string, a: Operand): Value<'f32' | 'f64'> {
  if (from === 'f64') return e.f64(a)
  return from === 'f32' ? e.f32(a) : f32FromHalf(e.w, from as HalfName, e.i32(a))
}

const roundings = { rni: 'nearest', rzi: 'trunc', rmi: 'floor', rpi: 'ceil' } as const

/** Rounds the float on the stack to an integer value in its own type. */
function roundToIntegral(e: Emitter, value: Value<'f32' | 'f64'>): Value<'f32' | 'f64'> {
  const name = roundings[e.instruction.modifiers.rnd as keyof typeof roundings]
  if (!name) return value
  return value.type === 'f64' ? e.w.f64[name](onStack) : e.w.f32[name](onStack)
}

function floatToInteger(e: Emitter, from: string, to: string, d: Operand, a: Operand): void {
  const { w } = e
  if (!((e.instruction.modifiers.rnd ?? '') in roundings))
    e.fail('an integer rounding such as .rni is needed')
  const { bits, kind } = scalarTypes[to]!
  const signed = kind === 'signed'
  const value = w.let(roundToIntegral(e, pushFloat(e, from, a)))
  const isWide = value.type === 'f64'
  const push = (): never => w.get(value) as never
  if (bits === 64) {
    const converted = isWide
      ? signed
        ? w.i64.trunc_sat_f64_s(push())
        : w.i64.trunc_sat_f64_u(push())
      : signed
        ? w.i64.trunc_sat_f32_s(push())
        : w.i64.trunc_sat_f32_u(push())
    const isNumber = isWide ? w.f64.eq(push(), push()) : w.f32.eq(push(), push())
    const truth = w.let(isNumber)
    const number = w.let(converted)
    e.set(d, w.select(w.get(number), w.i64.const(-0x8000000000000000n), w.get(truth)))
    w.release(truth, number, value)
    return
  }
  const converted = isWide
    ? signed
      ? w.i32.trunc_sat_f64_s(push())
      : w.i32.trunc_sat_f64_u(push())
    : signed
      ? w.i32.trunc_sat_f32_s(push())
      : w.i32.trunc_sat_f32_u(push())
  e.setInteger(d, to, clampInteger(e, converted, bits, signed))
  w.release(value)
}

/** Conversions from floats clamp to the target's range. */
function clampInteger(e: Emitter, value: I32, bits: number, signed: boolean): I32 {
  const { w } = e
  if (bits === 32) return value
  const { low, high } = limits(bits, signed)
  const x = w.let(value)
  const compare = signed ? w.i32.gt_s : w.i32.gt_u
  const top = w.let(
    w.select(
      w.i32.const(Number(high)),
      w.get(x),
      compare.call(w.i32, w.get(x), w.i32.const(Number(high))) as I32,
    ),
  )
  const result = signed
    ? w.select(w.i32.const(Number(low)), w.get(top), w.i32.lt_s(w.get(top), w.i32.const(Number(low))))
    : w.get(top)
  w.release(x, top)
  return result
}

/** Pushes an f64 for an f64 target and an f32 for others. */
function floatOfFloat(e: Emitter, from: string, to: string, a: Operand): Value<'f32' | 'f64'> {
  const { w } = e
  let value = roundToIntegral(e, pushFloat(e, from, a))
  if (value.type === 'f64' && to !== 'f64') value = w.f32.demote_f64(onStack)
  else if (value.type === 'f32' && to === 'f64') value = w.f64.promote_f32(onStack)
  return value
}

function storeFloat(e: Emitter, to: string, d: Operand, value: Value<'f32' | 'f64'>): void {
  const { w } = e
  if (to === 'f64') {
    e.set(d, value as F64)
    return
  }
  const single = e.instruction.modifiers.sat ? clampToUnit(w, value as F32) : (value as F32)
  if (to === 'f32') {
    e.set(d, single)
    return
  }
  e.set(d, halfFromF32(w, to as HalfName, single))
}
