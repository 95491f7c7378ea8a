import { packFp8, unpackFp8 } from '../../arithmetic/fp8.ts'
import { halfFormats, packHalves } from '../../arithmetic/half-vectors.ts'
import type { Instruction, Operand } from '../../ptx/module.ts'
import type { V128 } from '../../wasm/operations.ts'
import { fp8Pairs } from '../emit/convert.ts'
import { scalarTypes } from '../types.ts'
import type { VectorEmitter } from './vector-emitter.ts'
import { fmaVector } from './vector-fma.ts'
import { copyVector, loadVector, storeVector } from './vector-memory.ts'

/** Writes an instruction for the lanes that run; gives `false`, and writes nothing, where it has no vector form. */
// biome-ignore lint/suspicious/noExplicitAny: writers differ in which operands they may find absent
type VectorWriter = (v: VectorEmitter, operands: readonly any[]) => boolean

const is32 = (v: VectorEmitter): boolean => {
  const { type } = v.instruction.modifiers
  return type === 'u32' || type === 's32' || type === 'b32'
}
const isF32 = (v: VectorEmitter): boolean => v.instruction.modifiers.type === 'f32'
const isSigned = (v: VectorEmitter): boolean => v.instruction.modifiers.type === 's32'
/** Rounding modes beside the default, flushing and saturation stay with the scalar code. */
const isPlain = ({ instruction: { modifiers } }: VectorEmitter): boolean => !modifiers.ftz && !modifiers.sat

const addOrSubtract: VectorWriter = (v, [d, a, b]) => {
  const { w } = v
  const name = v.instruction.op as 'add' | 'sub'
  if (!isPlain(v)) return false
  if (isF32(v)) v.set(d, w.f32x4[name](v.bits(a), v.bits(b)))
  else if (is32(v)) v.set(d, w.i32x4[name](v.bits(a), v.bits(b)))
  else return false
  return true
}

const multiply: VectorWriter = (v, [d, a, b, c]) => {
  const { w } = v
  if (isF32(v)) {
    if (!isPlain(v)) return false
    v.set(d, w.f32x4.mul(v.bits(a), v.bits(b)))
    return true
  }
  if (!is32(v) || v.instruction.modifiers.half !== 'lo') return false
  const product = w.i32x4.mul(v.bits(a), v.bits(b))
  v.set(d, c ? w.i32x4.add(product, v.bits(c)) : product)
  return true
}

const bitwise: VectorWriter = (v, [d, a, b]) => {
  const { w } = v
  const name = v.instruction.op as 'and' | 'or' | 'xor'
  const { bits } = scalarTypes[v.instruction.modifiers.type!]!
  if (bits === 64) return false
  const read = (operand: Operand): V128 => (bits === 1 ? v.truth(operand) : v.bits(operand))
  const result = w.v128[name](read(a), read(b))
  v.set(d, bits === 16 ? w.v128.and(result, v.splat(0xffff)) : result)
  return true
}

const not: VectorWriter = (v, [d, a]) => {
  const { w } = v
  const { bits } = scalarTypes[v.instruction.modifiers.type!]!
  if (bits === 64 || bits === 16) return false
  v.set(d, w.v128.not(bits === 1 ? v.truth(a) : v.bits(a)))
  return true
}

const shift: VectorWriter = (v, [d, a, b]) => {
  const { w } = v
  if (!is32(v) || b.kind !== 'integer' || b.value < 0n || b.value > 31n) return false
  const { op } = v.instruction
  const shifted = op === 'shl' ? w.i32x4.shl : isSigned(v) ? w.i32x4.shr_s : w.i32x4.shr_u
  v.set(d, shifted.call(w.i32x4, v.bits(a), w.i32.const(Number(b.value))) as V128)
  return true
}

const minOrMax: VectorWriter = (v, [d, a, b]) => {
  const { w } = v
  const name = v.instruction.op as 'min' | 'max'
  if (is32(v)) {
    v.set(d, w.i32x4[`${name}_${isSigned(v) ? 's' : 'u'}`](v.bits(a), v.bits(b)))
    return true
  }
  if (!isF32(v) || !isPlain(v)) return false
  if (v.instruction.modifiers.nan) {
    v.set(d, w.f32x4[name](v.bits(a), v.bits(b)))
    return true
  }
  const x = w.let(v.bits(a))
  const y = w.let(v.bits(b))
  const both = w.f32x4[name](w.get(x), w.get(y))
  const unlessSecondNan = w.v128.bitselect(both, w.get(x), w.f32x4.eq(w.get(y), w.get(y)))
  v.set(d, w.v128.bitselect(unlessSecondNan, w.get(y), w.f32x4.eq(w.get(x), w.get(x))))
  w.release(x, y)
  return true
}

const signOf: VectorWriter = (v, [d, a]) => {
  const { w } = v
  const name = v.instruction.op as 'neg' | 'abs'
  if (isF32(v) && isPlain(v)) v.set(d, w.f32x4[name](v.bits(a)))
  else if (isSigned(v)) v.set(d, w.i32x4[name](v.bits(a)))
  else return false
  return true
}

const divide: VectorWriter = (v, [d, a, b]) => {
  const { w } = v
  if (!isF32(v) || !isPlain(v)) return false
  v.set(d, w.f32x4.div(v.bits(a), v.bits(b)))
  return true
}

const select: VectorWriter = (v, [d, a, b, c]) => {
  const { w } = v
  const { bits } = scalarTypes[v.instruction.modifiers.type!]!
  // Literals of 16 bits would need their upper halves cleared.
  if (bits === 64 || (bits === 16 && (a.kind === 'integer' || b.kind === 'integer'))) return false
  v.set(d, w.v128.bitselect(v.bits(a), v.bits(b), v.truth(c)))
  return true
}

const integerNames: Readonly<Record<string, string>> = { lo: 'lt', ls: 'le', hi: 'gt', hs: 'ge' }
const orderedFloat = new Set(['eq', 'lt', 'le', 'gt', 'ge'])
const unorderedFloat: Readonly<Record<string, 'eq' | 'ge' | 'gt' | 'le' | 'lt'>> = {
  neu: 'eq',
  ltu: 'ge',
  leu: 'gt',
  gtu: 'le',
  geu: 'lt',
}

/** Pushes the truth of a comparison, or gives `undefined` and writes nothing. */
function compare(v: VectorEmitter, a: Operand, b: Operand): V128 | undefined {
  const { w } = v
  const { cmp } = v.instruction.modifiers
  if (is32(v)) {
    const name = integerNames[cmp!] ?? cmp!
    const sign = isSigned(v) && !(cmp! in integerNames) ? 's' : 'u'
    const op = (name === 'eq' || name === 'ne' ? name : `${name}_${sign}`) as 'eq' | 'lt_s'
    return w.i32x4[op](v.bits(a), v.bits(b))
  }
  if (!isF32(v) || !isPlain(v)) return undefined
  if (orderedFloat.has(cmp!)) return w.f32x4[cmp as 'eq' | 'lt'](v.bits(a), v.bits(b))
  if (cmp! in unorderedFloat) return w.v128.not(w.f32x4[unorderedFloat[cmp!]!](v.bits(a), v.bits(b)))
  return undefined
}

const setPredicate: VectorWriter = (v, [d, q, a, b, c]) => {
  const { w } = v
  const { bool } = v.instruction.modifiers
  const compared = compare(v, a, b)
  if (!compared) return false
  if (!q && !bool) {
    v.set(d, compared)
    return true
  }
  const truth = w.let(compared)
  const combine = (value: V128): V128 =>
    bool ? w.v128[bool as 'and' | 'or' | 'xor'](value, v.truth(c)) : value
  const first = w.let(combine(w.get(truth)))
  if (q) v.set(q, combine(w.v128.not(w.get(truth))))
  v.set(d, w.get(first))
  w.release(truth, first)
  return true
}

const move: VectorWriter = (v, [d, a]) => {
  const { w } = v
  const { type } = v.instruction.modifiers
  if (scalarTypes[type!]!.bits === 64) return false
  if (a.kind === 'vector') {
    const [low, high] = a.elements
    if (a.elements.length !== 2 || low.kind === 'integer') return false
    const shifted = (): V128 => w.i32x4.shl(v.bits(high), w.i32.const(16))
    v.set(d, w.v128.or(v.bits(low), shifted()))
  } else if (d.kind === 'vector') {
    const [low, high] = d.elements
    if (d.elements.length !== 2) return false
    const source = w.let(v.bits(a))
    if (low.kind !== 'sink') v.set(low, w.v128.and(w.get(source), v.splat(0xffff)))
    if (high.kind !== 'sink') v.set(high, w.i32x4.shr_u(w.get(source), w.i32.const(16)))
    w.release(source)
  } else if (type === 'pred') v.set(d, v.truth(a))
  else if (scalarTypes[type!]!.bits === 16 && a.kind === 'integer') return false
  else v.set(d, v.bits(a))
  return true
}

const roundings = { rni: 'nearest', rzi: 'trunc', rmi: 'floor', rpi: 'ceil' } as const

const convert: VectorWriter = (v, [d, a, b]) => {
  const { w } = v
  const { from, to, rnd, sat, ftz, relu } = v.instruction.modifiers
  if (sat || ftz || relu) return false
  const fp8 = fp8Pairs[from!] ?? fp8Pairs[to!]
  if (fp8) {
    if (fp8Pairs[from!]) v.set(d, unpackFp8(w, fp8, v.bits(a)))
    else {
      const high = w.let(v.bits(a))
      const low = w.let(v.bits(b))
      v.set(d, packFp8(w, fp8, low, high))
      w.release(high, low)
    }
    return true
  }
  if (to === 'f16x2' || to === 'bf16x2') {
    const high = w.let(v.bits(a))
    const low = w.let(v.bits(b))
    v.set(d, packHalves(w, halfFormats[to === 'f16x2' ? 'f16' : 'bf16'], low, high))
    w.release(high, low)
    return true
  }
  if ((to === 'f16' || to === 'bf16') && from === 'f32' && rnd === 'rn') {
    v.set(d, halfFormats[to].narrow(w, v.bits(a)))
    return true
  }
  if (to === 'f32') {
    if (from === 'f16' || from === 'bf16')
      v.set(d, halfFormats[from].widen(w, w.i32x4.shl(v.bits(a), w.i32.const(16))))
    else if (from === 's32') v.set(d, w.f32x4.convert_i32x4_s(v.bits(a)))
    else if (from === 'u32') v.set(d, w.f32x4.convert_i32x4_u(v.bits(a)))
    else return false
    return true
  }
  if (from === 'f32' && (to === 's32' || to === 'u32')) {
    const rounding = roundings[rnd as keyof typeof roundings]
    if (!rounding) return false
    const rounded = w.f32x4[rounding](v.bits(a))
    v.set(d, to === 's32' ? w.i32x4.trunc_sat_f32x4_s(rounded) : w.i32x4.trunc_sat_f32x4_u(rounded))
    return true
  }
  return convertInteger(v, d, a, from!, to!)
}

/** Between integers of up to 32 bits; a result is extended to its register as the sign of its type says. */
function convertInteger(v: VectorEmitter, d: Operand, a: Operand, from: string, to: string): boolean {
  const { w } = v
  const source = scalarTypes[from]!
  const target = scalarTypes[to]!
  if (source.kind === 'float' || target.kind === 'float') return false
  if (source.bits === 64 || target.bits === 64 || d.kind !== 'register') return false
  const bits = Math.min(source.bits, target.bits)
  const extended = (): V128 => {
    const value = v.bits(a)
    if (bits === 32) return value
    const signed = (source.bits <= target.bits ? source : target).kind === 'signed'
    if (!signed) return w.v128.and(value, v.splat(bits === 8 ? 0xff : 0xffff))
    const up = w.i32x4.shl(value, w.i32.const(32 - bits))
    return w.i32x4.shr_s(up, w.i32.const(32 - bits))
  }
  const value = extended()
  if (d.register.type === 'b16') v.set(d, w.v128.and(value, v.splat(0xffff)))
  else if (target.bits === 32 || source.bits >= target.bits || target.kind === 'signed') v.set(d, value)
  // A narrow signed value in a wider unsigned type, in a register that is wider still.
  else v.set(d, w.v128.and(value, v.splat(0xffff)))
  return true
}

const permute: VectorWriter = (v, [d, a, b, selector]) => {
  const { w } = v
  if (selector.kind !== 'integer') return false
  const nibbles = [0n, 4n, 8n, 12n].map((shift) => Number((selector.value >> shift) & 15n))
  if (nibbles.some((nibble) => nibble > 7)) return false
  const lanes = [0, 4, 8, 12].flatMap((lane) => nibbles.map((n) => (n < 4 ? lane + n : 16 + lane + n - 4)))
  v.set(d, w.i8x16.shuffle(v.bits(a), v.bits(b), lanes))
  return true
}

const extractField: VectorWriter = (v, [d, a, b, c]) => {
  const { w } = v
  if (!is32(v) || b.kind !== 'integer' || c.kind !== 'integer') return false
  const position = Number(b.value)
  const length = Number(c.value)
  if (position < 0 || length <= 0 || position + length > 32) return false
  const up = w.i32x4.shl(v.bits(a), w.i32.const(32 - position - length))
  const down = isSigned(v) ? w.i32x4.shr_s : w.i32x4.shr_u
  v.set(d, down.call(w.i32x4, up, w.i32.const(32 - length)) as V128)
  return true
}

/** lop3 as a sum of the products that its truth table has, for the functions that matter. */
const logic3: VectorWriter = (v, [d, a, b, c, table]) => {
  const { w } = v
  if (table.kind !== 'integer') return false
  const known: Readonly<Record<number, () => V128>> = {
    192: () => w.v128.and(v.bits(a), v.bits(b)),
    234: () => w.v128.or(w.v128.and(v.bits(a), v.bits(b)), v.bits(c)),
    106: () => w.v128.xor(w.v128.and(v.bits(a), v.bits(b)), v.bits(c)),
    150: () => w.v128.xor(w.v128.xor(v.bits(a), v.bits(b)), v.bits(c)),
    254: () => w.v128.or(w.v128.or(v.bits(a), v.bits(b)), v.bits(c)),
    128: () => w.v128.and(w.v128.and(v.bits(a), v.bits(b)), v.bits(c)),
    202: () => w.v128.bitselect(v.bits(b), v.bits(c), v.bits(a)),
    228: () => w.v128.bitselect(v.bits(a), v.bits(b), v.bits(c)),
  }
  const write = known[Number(table.value & 0xffn)]
  if (!write) return false
  v.set(d, write())
  return true
}

const nothing: VectorWriter = () => true

const writers: Readonly<Record<string, VectorWriter>> = {
  abs: signOf,
  add: addOrSubtract,
  and: bitwise,
  bfe: extractField,
  cp: copyVector,
  cvt: convert,
  cvta: (v, [d, a]) => {
    v.set(d, v.bits(a))
    return true
  },
  div: divide,
  fence: nothing,
  fma: fmaVector,
  ld: loadVector,
  lop3: logic3,
  mad: multiply,
  max: minOrMax,
  membar: nothing,
  min: minOrMax,
  mov: move,
  mul: multiply,
  neg: signOf,
  not,
  or: bitwise,
  prmt: permute,
  selp: select,
  setp: setPredicate,
  shl: shift,
  shr: shift,
  st: storeVector,
  sub: addOrSubtract,
  xor: bitwise,
}

/** Writes an instruction for four lanes, its guard included. */
export function writeVectorInstruction(v: VectorEmitter, instruction: Instruction): void {
  const { guard, operands } = instruction
  if (guard) {
    v.underGuard(guard, () => writeVectorInstruction(v, { ...instruction, guard: undefined }))
    return
  }
  v.instruction = instruction
  if (writers[instruction.op]?.(v, operands)) return
  v.writeLaneByLane(instruction)
}
