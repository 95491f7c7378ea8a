import type { FunctionBuilder, Local } from '../wasm/function.ts'
import type { I32, I64, V128 } from '../wasm/operations.ts'

/*
 * Integer instructions of PTX that WebAssembly lacks. As elsewhere in this folder, operands are on the stack in order.
 */

/** `prmt.b32 d, a, b, selector` in the default mode with a constant selector. */
export function permuteBytes(w: FunctionBuilder, a: I32, b: I32, selector: number): I32 {
  const bytes = bytesOf(w, a, b)
  const picks = [0, 4, 8, 12].map((shift) => (selector >> shift) & 15)
  if (picks.every((pick) => pick < 8)) {
    const result = w.i8x16.shuffle(w.get(bytes), w.get(bytes), sixteen(picks))
    w.release(bytes)
    return w.i32x4.extract_lane(result, 0)
  }
  // Bit 3 of a pick replicates the sign of the byte: those come from the second operand.
  const signs = w.i8x16.shr_s(w.get(bytes), w.i32.const(7))
  const signsLocal = w.let(signs)
  const lanes = sixteen(picks.map((pick) => (pick & 8 ? 16 : 0) + (pick & 7)))
  const result = w.i8x16.shuffle(w.get(bytes), w.get(signsLocal), lanes)
  w.release(bytes, signsLocal)
  return w.i32x4.extract_lane(result, 0)
}

/** `prmt.b32 d, a, b, selector` in the default mode, the selector in a register. */
export function permuteBytesBy(w: FunctionBuilder, a: I32, b: I32, selector: I32): I32 {
  const routine = w.module.routine('prmt', ['i32', 'i32', 'i32'], ['i32'], (r) => {
    const { i32 } = r
    const bytes = bytesOf(r, r.get(r.args[0]), r.get(r.args[1]))
    // Four nibbles to four bytes.
    const spread = (x: I32, shift: number, mask: number): I32 => {
      const value = r.let(x)
      return i32.and(i32.or(r.get(value), i32.shl(r.get(value), i32.const(shift))), i32.const(mask))
    }
    const low = i32.and(r.get(r.args[2]), i32.const(0xffff))
    const picks = r.let(r.i32x4.splat(spread(spread(low, 8, 0x00ff00ff), 4, 0x0f0f0f0f)))
    const chosen = r.let(r.i8x16.swizzle(r.get(bytes), r.v128.and(r.get(picks), r.i8x16.splat(i32.const(7)))))
    const replicate = r.i8x16.ge_u(r.get(picks), r.i8x16.splat(i32.const(8)))
    const mask = r.let(replicate)
    const signs = r.i8x16.shr_s(r.get(chosen), i32.const(7))
    r.i32x4.extract_lane(r.v128.bitselect(signs, r.get(chosen), r.get(mask)), 0)
  })
  return w.call(routine, a, b, selector)
}

/** The bytes of a, then those of b. */
function bytesOf(w: FunctionBuilder, a: I32, b: I32): Local<'v128'> {
  const second = w.let(b)
  const bytes = w.let(w.i32x4.replace_lane(w.i32x4.splat(a), w.get(second), 1))
  w.release(second)
  return bytes
}

function sixteen(four: readonly number[]): number[] {
  return [...four, ...four, ...four, ...four]
}

export type DotSign = 's32' | 'u32'

/** `dp4a.ATYPE.BTYPE d, a, b, c`: c plus the four products of bytes, modulo 2^32. */
export function dotBytes(w: FunctionBuilder, aSign: DotSign, bSign: DotSign, a: I32, b: I32, c: I32): I32 {
  const sum = w.let(c)
  const second = w.let(b)
  const widen = (sign: DotSign, word: I32): V128 =>
    sign === 's32'
      ? w.i16x8.extend_low_i8x16_s(w.i32x4.splat(word))
      : w.i16x8.extend_low_i8x16_u(w.i32x4.splat(word))
  const pairs = w.let(w.i32x4.dot_i16x8_s(widen(aSign, a), widen(bSign, w.get(second))))
  const products = w.i32.add(w.i32x4.extract_lane(w.get(pairs), 0), w.i32x4.extract_lane(w.get(pairs), 1))
  const result = w.i32.add(products, w.get(sum))
  w.release(sum, second, pairs)
  return result
}

/** `lop3.b32 d, a, b, c, immLut`: bit (4a + 2b + c) of the table for every bit position. */
export function logic3(w: FunctionBuilder, a: I32, b: I32, c: I32, table: number): I32 {
  const locals = { c: w.let(c), b: w.let(b), a: w.let(a) }
  const emit = (expression: Expression): I32 => {
    if (typeof expression === 'string') return w.get(locals[expression])
    if (typeof expression === 'number') return w.i32.const(expression)
    const [operation, x, y] = expression
    return w.i32[operation](emit(x), emit(y))
  }
  const result = emit(expressionOf(table & 0xff))
  w.release(locals.a, locals.b, locals.c)
  return result
}

type Expression = 'a' | 'b' | 'c' | number | readonly ['and' | 'or' | 'xor', Expression, Expression]

const expressions: (Expression | undefined)[] = []

/** The shortest expression with a truth table: all 256 are built once, by combining ever longer ones. */
function expressionOf(table: number): Expression {
  if (expressions.length === 0) {
    const known: { table: number; expression: Expression }[][] = [
      [
        { table: 0xf0, expression: 'a' },
        { table: 0xcc, expression: 'b' },
        { table: 0xaa, expression: 'c' },
        { table: 0x00, expression: 0 },
        { table: 0xff, expression: -1 },
      ],
    ]
    for (const { table: leaf, expression } of known[0]!) expressions[leaf] = expression
    const operations = {
      and: (x: number, y: number) => x & y,
      or: (x: number, y: number) => x | y,
      xor: (x: number, y: number) => x ^ y,
    }
    for (let size = 1; expressions.filter((e) => e !== undefined).length < 256; size++) {
      const found: { table: number; expression: Expression }[] = []
      for (let left = 0; left < size; left++)
        for (const x of known[left]!)
          for (const y of known[size - 1 - left]!)
            for (const [name, apply] of Object.entries(operations) as [
              'and',
              (x: number, y: number) => number,
            ][]) {
              const combined = apply(x.table, y.table)
              if (expressions[combined] !== undefined) continue
              expressions[combined] = [name, x.expression, y.expression]
              found.push({ table: combined, expression: expressions[combined]! })
            }
      known.push(found)
    }
  }
  return expressions[table]!
}

/** `bfe.s32`, `bfe.u32`: `length` bits of a from `position` on (both masked to 8 bits), extended. */
export function extractBits(w: FunctionBuilder, signed: boolean, a: I32, position: I32, length: I32): I32 {
  const name = signed ? 'bfe.s32' : 'bfe.u32'
  const routine = w.module.routine(name, ['i32', 'i32', 'i32'], ['i32'], (r) => {
    const { i32, i64 } = r
    const [value, at, bits] = r.args
    const shift = r.let(atMost(r, 63, i32.and(r.get(at), i32.const(0xff))))
    const count = r.let(atMost(r, 32, i32.and(r.get(bits), i32.const(0xff))))
    const wide = signed ? i64.extend_i32_s(r.get(value)) : i64.extend_i32_u(r.get(value))
    // What runs past bit 31 is sign or zeros already; the bits above the field go by shifting them out and back.
    const shifted = r.let(
      signed
        ? i64.shr_s(wide, i64.extend_i32_u(r.get(shift)))
        : i64.shr_u(wide, i64.extend_i32_u(r.get(shift))),
    )
    const spare = r.let(i64.extend_i32_u(i32.sub(i32.const(64), r.get(count))))
    const up = i64.shl(r.get(shifted), r.get(spare))
    const field = signed ? i64.shr_s(up, r.get(spare)) : i64.shr_u(up, r.get(spare))
    // A shift by 64 is a shift by 0.
    r.select(i32.wrap_i64(field), i32.const(0), r.get(count))
  })
  return w.call(routine, a, position, length)
}

/** `bfi.b32 d, a, b, position, length`: b with its bits from `position` on replaced by the low `length` bits of a. */
export function insertBits(w: FunctionBuilder, a: I32, b: I32, position: I32, length: I32): I32 {
  const routine = w.module.routine('bfi.b32', ['i32', 'i32', 'i32', 'i32'], ['i32'], (r) => {
    const { i32, i64 } = r
    const [source, target, at, bits] = r.args
    const shift = r.let(i64.extend_i32_u(atMost(r, 63, i32.and(r.get(at), i32.const(0xff)))))
    const count = r.let(i64.extend_i32_u(atMost(r, 32, i32.and(r.get(bits), i32.const(0xff)))))
    const ones = i64.sub(i64.shl(i64.const(1), r.get(count)), i64.const(1))
    const mask = r.let(i32.wrap_i64(i64.shl(ones, r.get(shift))))
    const moved: I64 = i64.shl(i64.extend_i32_u(r.get(source)), r.get(shift))
    const inserted = i32.and(i32.wrap_i64(moved), r.get(mask))
    i32.or(inserted, i32.and(r.get(target), i32.xor(r.get(mask), i32.const(-1))))
  })
  return w.call(routine, a, b, position, length)
}

function atMost(w: FunctionBuilder, limit: number, x: I32): I32 {
  const value = w.let(x)
  const result = w.select(w.get(value), w.i32.const(limit), w.i32.lt_u(w.get(value), w.i32.const(limit)))
  w.release(value)
  return result
}
