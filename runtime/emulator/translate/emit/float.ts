import { type Approximation, approximate } from '../../arithmetic/approximate.ts'
import { f32FromHalf, type HalfName } from '../../arithmetic/convert.ts'
import { clampToUnit, flush, fma, minMax } from '../../arithmetic/f32.ts'
import { halfBinary, halfFma, halfMap } from '../../arithmetic/halves.ts'
import type { Operand } from '../../ptx/module.ts'
import type { F32, I32, Value } from '../../wasm/operations.ts'
import type { Emitter } from './emitter.ts'

/** The 16-bit format of `f16`, `f16x2`, `bf16` and `bf16x2`; `undefined` for wider types. */
function halfFormat(type: string): HalfName | undefined {
  if (type.startsWith('bf16')) return 'bf16'
  return type.startsWith('f16') ? 'f16' : undefined
}

/** Single halves keep the upper bits of their register clear. */
function setHalf(e: Emitter, d: Operand, type: string, value: I32): void {
  if (type.endsWith('x2')) e.set(d, value)
  else e.set16(d, value)
}

/** `.ftz` on an operand. */
function operandF32(e: Emitter, operand: Operand): F32 {
  const value = e.f32(operand)
  return e.instruction.modifiers.ftz ? flush(e.w, value) : value
}

/** `.ftz` and `.sat` on a result. */
function finish(e: Emitter, value: F32): F32 {
  const { sat, ftz } = e.instruction.modifiers
  if (sat) return clampToUnit(e.w, value)
  return ftz ? flush(e.w, value) : value
}

/** add, sub, mul, div. */
export function arithmetic(e: Emitter, [d, a, b]: readonly Operand[]): void {
  const { w } = e
  const type = e.modifier('type')
  const name = e.instruction.op as 'add' | 'sub' | 'mul' | 'div'
  const half = halfFormat(type)
  if (half && name !== 'div') {
    setHalf(e, d!, type, halfBinary(w, half, name, e.i32(a!), e.i32(b!)))
    return
  }
  if (type === 'f64') {
    e.set(d!, w.f64[name](e.f64(a!), e.f64(b!)))
    return
  }
  e.set(d!, finish(e, w.f32[name](operandF32(e, a!), operandF32(e, b!))))
}

export function fusedMultiplyAdd(e: Emitter, [d, a, b, c]: readonly Operand[]): void {
  const { w } = e
  const type = e.modifier('type')
  const half = halfFormat(type)
  if (half) {
    const relu = e.instruction.modifiers.relu !== undefined
    setHalf(e, d!, type, halfFma(w, half, e.i32(a!), e.i32(b!), e.i32(c!), relu))
    return
  }
  e.set(d!, finish(e, fma(w, operandF32(e, a!), operandF32(e, b!), operandF32(e, c!))))
}

/** min and max: a NaN loses against a number unless `.NaN` asks otherwise, and -0 is below +0. */
export function minOrMaxFloat(e: Emitter, [d, a, b]: readonly Operand[]): void {
  const { w } = e
  const name = e.instruction.op === 'min' ? 'min' : 'max'
  const type = e.modifier('type')
  const nan = e.instruction.modifiers.nan !== undefined
  const half = halfFormat(type)
  if (half) {
    const operation = nan ? (`${name}.NaN` as const) : name
    setHalf(e, d!, type, halfBinary(w, half, operation, e.i32(a!), e.i32(b!)))
    return
  }
  if (type === 'f64') {
    e.fail('the emulator has no min and max of f64')
    return
  }
  const x = operandF32(e, a!)
  const y = operandF32(e, b!)
  e.set(d!, nan ? w.f32[name](x, y) : minMax(w, name, x, y))
}

/** neg and abs work on the bits, so that NaNs keep their payload. */
export function signOfFloat(e: Emitter, [d, a]: readonly Operand[]): void {
  const { w } = e
  const type = e.modifier('type')
  const negate = e.instruction.op === 'neg'
  if (type === 'f32') {
    e.set(d!, negate ? w.f32.neg(e.f32(a!)) : w.f32.abs(e.f32(a!)))
    return
  }
  if (type === 'f64') {
    e.set(d!, negate ? w.f64.neg(e.f64(a!)) : w.f64.abs(e.f64(a!)))
    return
  }
  const sign = type.endsWith('x2') ? 0x80008000 : 0x8000
  e.set(d!, negate ? w.i32.xor(e.i32(a!), w.i32.const(sign)) : w.i32.and(e.i32(a!), w.i32.const(~sign)))
}

export function copySign(e: Emitter, [d, a, b]: readonly Operand[]): void {
  const { w } = e
  // PTX takes the sign of the first operand and the magnitude of the second.
  const sign = w.i32.and(e.i32(a!), w.i32.const(0x80000000))
  e.set(d!, w.i32.or(sign, w.i32.and(e.i32(b!), w.i32.const(0x7fffffff))))
}

/** rcp, sqrt, rsqrt, ex2, lg2, sin, cos, tanh; correctly rounded where `.rn` asks for it. */
export function unary(e: Emitter, [d, a]: readonly Operand[]): void {
  const { w } = e
  const type = e.modifier('type')
  const { rnd, ftz } = e.instruction.modifiers
  const half = halfFormat(type)
  const name = e.instruction.op as Approximation
  if (half) {
    setHalf(
      e,
      d!,
      type,
      halfMap(w, half, name, (r, x) => approximate(r, name, x), e.i32(a!)),
    )
    return
  }
  if (rnd === 'rn' && name === 'rcp') {
    const one = w.f32.const(1)
    e.set(d!, finish(e, w.f32.div(one, operandF32(e, a!))))
    return
  }
  if (rnd === 'rn') {
    e.set(d!, finish(e, w.f32.sqrt(operandF32(e, a!))))
    return
  }
  e.set(d!, approximate(w, name, e.f32(a!), ftz !== undefined))
}

const comparisons: Readonly<Record<string, string>> = {
  eq: 'eq',
  ne: 'ne',
  lt: 'lt',
  le: 'le',
  gt: 'gt',
  ge: 'ge',
}
const inverse: Readonly<Record<string, string>> = {
  equ: 'ne',
  neu: 'eq',
  ltu: 'ge',
  leu: 'gt',
  gtu: 'le',
  geu: 'lt',
}

/** The truth of a floating-point comparison; the forms ending in `u` are true for NaN. */
function compareFloats(e: Emitter, cmp: string, a: Operand, b: Operand): I32 {
  const { w } = e
  const type = e.modifier('type')
  const wide = type === 'f64'
  const read = (operand: Operand): Value<'f32' | 'f64'> => {
    if (wide) return e.f64(operand)
    return type === 'f32' ? e.f32(operand) : f32FromHalf(w, type as HalfName, e.i32(operand))
  }
  const ns = (wide ? w.f64 : w.f32) as unknown as Record<
    string,
    (x: Value<'f32' | 'f64'>, y: Value<'f32' | 'f64'>) => I32
  >
  const x = w.let(read(a))
  const y = w.let(read(b))
  const isNumber = (): I32 => w.i32.and(ns.eq!(w.get(x), w.get(x)), ns.eq!(w.get(y), w.get(y)))
  let result: I32
  if (cmp === 'num') result = isNumber()
  else if (cmp === 'nan') result = w.i32.eqz(isNumber())
  else if (cmp === 'ne') result = w.i32.and(ns.ne!(w.get(x), w.get(y)), isNumber())
  else if (cmp === 'equ') result = w.i32.or(ns.eq!(w.get(x), w.get(y)), w.i32.eqz(isNumber()))
  else if (cmp === 'neu') result = w.i32.eqz(ns.eq!(w.get(x), w.get(y)))
  else if (inverse[cmp]) result = w.i32.eqz(ns[inverse[cmp]!]!(w.get(x), w.get(y)))
  else result = ns[comparisons[cmp]!]!(w.get(x), w.get(y))
  w.release(x, y)
  return result
}

const integerComparisons: Readonly<Record<string, string>> = {
  lo: 'lt',
  ls: 'le',
  hi: 'gt',
  hs: 'ge',
}

/** setp, with the predicate combined by `.and`, `.or`, `.xor` and the complement in a second result. */
export function setPredicate(e: Emitter, [d, q, a, b, c]: readonly (Operand | undefined)[]): void {
  const { w } = e
  const type = e.modifier('type')
  const cmp = e.modifier('cmp')
  const truth = w.let(/f/.test(type) ? compareFloats(e, cmp, a!, b!) : compareIntegers(e, type, cmp, a!, b!))
  const { bool } = e.instruction.modifiers
  const combine = (value: I32): I32 => {
    if (!bool) return value
    if (!c) e.fail(`.${bool} needs a predicate to combine with`)
    return w.i32[bool as 'and' | 'or' | 'xor'](value, e.i32(c))
  }
  if (q) {
    const both = w.let(combine(w.get(truth)))
    const complement = w.let(combine(w.i32.eqz(w.get(truth))))
    e.set(d!, w.get(both))
    e.set(q, w.get(complement))
    w.release(both, complement)
  } else e.set(d!, combine(w.get(truth)))
  w.release(truth)
}

function compareIntegers(e: Emitter, type: string, cmp: string, a: Operand, b: Operand): I32 {
  const { w } = e
  const isUnsignedName = cmp in integerComparisons
  const signed = type.startsWith('s') && !isUnsignedName
  const name = integerComparisons[cmp] ?? cmp
  const wide = type.endsWith('64')
  const op = name === 'eq' || name === 'ne' ? name : `${name}_${signed ? 's' : 'u'}`
  const ns = (wide ? w.i64 : w.i32) as unknown as Record<string, (x: unknown, y: unknown) => I32>
  return ns[op]!(e.integer(a, type), e.integer(b, type))
}

export function selectByPredicate(e: Emitter, [d, a, b, c]: readonly Operand[]): void {
  const { w } = e
  const type = e.modifier('type')
  const wide = type.endsWith('64')
  const asFloat = d!.kind === 'register' && d!.register.type === 'f32'
  if (wide) e.set(d!, w.select(e.i64(a!), e.i64(b!), e.i32(c!)))
  else if (asFloat) e.set(d!, w.select(e.f32(a!), e.f32(b!), e.i32(c!)))
  else e.setInteger(d!, type, w.select(e.i32(a!), e.i32(b!), e.i32(c!)))
}
