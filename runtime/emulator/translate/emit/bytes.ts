import { dotBytes } from '../../arithmetic/dot.ts'
import type { Operand } from '../../ptx/module.ts'
import type { I32, I64 } from '../../wasm/operations.ts'
import type { Emitter } from './emitter.ts'

/** lop3: any function of three bits, given as its truth table; bit 4a + 2b + c of the table is the result. */
export function logic3(e: Emitter, [d, a, b, c, table]: readonly Operand[]): void {
  const { w } = e
  if (table!.kind !== 'integer') e.fail('the truth table must be a constant')
  const lut = Number((table as { value: bigint }).value & 0xffn)
  const A = (): I32 => e.i32(a!)
  const B = (): I32 => e.i32(b!)
  const C = (): I32 => e.i32(c!)
  const invert = (value: I32): I32 => w.i32.xor(value, w.i32.const(-1))
  /** A function of one bit c, as the table entries for c = 0 and c = 1. */
  const ofC = (entries: number): (() => I32) | 0 | 1 => {
    if (entries === 0) return 0
    if (entries === 3) return 1
    return entries === 2 ? C : () => invert(C())
  }
  /** x where `bit` is set, y elsewhere, with constants folded. */
  const mux = (
    bit: () => I32,
    x: (() => I32) | 0 | 1,
    y: (() => I32) | 0 | 1,
    same: boolean,
    opposite: boolean,
  ): (() => I32) | 0 | 1 => {
    if (same) return x
    if (x === 1 && y === 0) return bit
    if (x === 0 && y === 1) return () => invert(bit())
    if (opposite && typeof y === 'function') return () => w.i32.xor(bit(), y())
    if (y === 0 && typeof x === 'function') return () => w.i32.and(bit(), x())
    if (x === 1 && typeof y === 'function') return () => w.i32.or(bit(), y())
    if (x === 0 && typeof y === 'function') return () => w.i32.and(invert(bit()), y())
    if (y === 1 && typeof x === 'function') return () => w.i32.or(invert(bit()), x())
    // (x ^ y) & bit ^ y
    return () => {
      const fx = x as () => I32
      const fy = y as () => I32
      return w.i32.xor(w.i32.and(w.i32.xor(fx(), fy()), bit()), fy())
    }
  }
  const ofBC = (entries: number): (() => I32) | 0 | 1 => {
    const low = entries & 3
    const high = entries >> 2
    return mux(B, ofC(high), ofC(low), high === low, (high ^ low) === 3)
  }
  const low = lut & 15
  const high = lut >> 4
  const result = mux(A, ofBC(high), ofBC(low), high === low, (high ^ low) === 15)
  e.set(d!, typeof result === 'function' ? result() : w.i32.const(result === 1 ? -1 : 0))
}

/** prmt: each nibble of the selector picks one of eight bytes of `{b, a}`, or its sign. */
export function permute(e: Emitter, [d, a, b, selector]: readonly Operand[]): void {
  const { w } = e
  if (selector!.kind === 'integer') {
    permuteConstant(e, d!, a!, b!, Number(selector!.value & 0xffffn))
    return
  }
  const routine = e.m.routine('prmt', ['i32', 'i32', 'i32'], ['i32'], (r) => {
    const [x, y, s] = r.args
    const { i32, i64 } = r
    const pair = r.let(i64.or(i64.extend_i32_u(r.get(x)), i64.shl(i64.extend_i32_u(r.get(y)), i64.const(32))))
    const result = r.let(i32.const(0))
    const byte = r.local('i32')
    for (let i = 0; i < 4; i++) {
      const nibble = (): I32 => i32.shr_u(r.get(s), i32.const(4 * i))
      const shift = (): I64 => i64.extend_i32_u(i32.shl(i32.and(nibble(), i32.const(7)), i32.const(3)))
      r.set(byte, i32.wrap_i64(i64.shr_u(r.get(pair), shift())))
      const sign = i32.shr_s(i32.extend8_s(r.get(byte)), i32.const(7))
      const chosen = r.select(sign, r.get(byte), i32.and(nibble(), i32.const(8)))
      const placed = i32.shl(i32.and(chosen, i32.const(0xff)), i32.const(8 * i))
      r.set(result, i32.or(placed, r.get(result)))
    }
    r.get(result)
  })
  e.set(d!, w.call(routine, e.i32(a!), e.i32(b!), e.i32(selector!)))
}

function permuteConstant(e: Emitter, d: Operand, a: Operand, b: Operand, selector: number): void {
  const { w } = e
  const nibbles = [0, 4, 8, 12].map((shift) => (selector >> shift) & 15)
  const low = (): I32 => e.i32(a)
  const high = (): I32 => e.i32(b)
  if (nibbles.every((n) => n < 8) && nibbles.every((n, i) => n === nibbles[0]! + i)) {
    // Four bytes in a row: a funnel shift.
    const shift = nibbles[0]! * 8
    if (shift === 0) {
      e.set(d, low())
      return
    }
    if (shift === 32) {
      e.set(d, high())
      return
    }
    const right = w.i32.shr_u(low(), w.i32.const(shift))
    e.set(d, w.i32.or(right, w.i32.shl(high(), w.i32.const(32 - shift))))
    return
  }
  let value: I32 | undefined
  nibbles.forEach((nibble, i) => {
    const word = (nibble & 7) < 4 ? low() : high()
    const from = (nibble & 3) * 8
    const to = 8 * i
    let piece: I32
    if (nibble & 8) {
      const sign = w.i32.shr_s(w.i32.shl(word, w.i32.const(24 - from)), w.i32.const(31))
      piece = w.i32.and(sign, w.i32.const(0xff << to))
    } else {
      const moved =
        to === from
          ? word
          : to > from
            ? w.i32.shl(word, w.i32.const(to - from))
            : w.i32.shr_u(word, w.i32.const(from - to))
      piece = w.i32.and(moved, w.i32.const(0xff << to))
    }
    value = value ? w.i32.or(value, piece) : piece
  })
  e.set(d, value!)
}

/** dp4a: c plus the dot product of four bytes. */
export function dot4(e: Emitter, [d, a, b, c]: readonly Operand[]): void {
  const sign = (modifier: string) => (e.modifier(modifier) === 's32' ? 's32' : 'u32')
  e.set(d!, dotBytes(e.w, sign('atype'), sign('btype'), e.i32(a!), e.i32(b!), e.i32(c!)))
}
