import type { FunctionBuilder, Local } from '../wasm/function.ts'
import type { F32, I32, V128 } from '../wasm/operations.ts'
import type { HalfName } from './convert.ts'
import { type HalfFormat, halfFormats, packLowLanes, roundToFormat } from './half-vectors.ts'
import { sumToOdd } from './odd-sum.ts'

/**
 * Arithmetic on `f16`, `f16x2`, `bf16` and `bf16x2`: every result is rounded once, to nearest even, subnormals kept.
 *
 * The same functions serve single and packed values: operands are words, a single value's upper half is ignored and the
 * upper half of its result is to be ignored.
 */

export type HalfOperation = 'add' | 'sub' | 'mul' | 'min' | 'max' | 'min.NaN' | 'max.NaN'

/**
 * Two operands. Sums and products of halves take f32 on the way: products are exact there, and 24 bits are enough
 * (twice the precision and two more) that a sum rounded twice equals the sum rounded once.
 */
export function halfBinary(
  w: FunctionBuilder,
  name: HalfName,
  operation: HalfOperation,
  a: I32,
  b: I32,
): I32 {
  const routine = w.module.routine(`${operation}.${name}x2`, ['i32', 'i32'], ['i32'], (r) => {
    const format = halfFormats[name]
    const x = r.let(unpack(r, format, r.get(r.args[0])))
    const y = r.let(unpack(r, format, r.get(r.args[1])))
    packLowLanes(r, format.narrow(r, combine(r, operation, x, y)))
  })
  return w.call(routine, a, b)
}

function combine(w: FunctionBuilder, operation: HalfOperation, x: Local<'v128'>, y: Local<'v128'>): V128 {
  const both = (name: 'add' | 'sub' | 'mul' | 'min' | 'max'): V128 => w.f32x4[name](w.get(x), w.get(y))
  const isNumber = (value: Local<'v128'>): V128 => w.f32x4.eq(w.get(value), w.get(value))
  switch (operation) {
    case 'min.NaN':
      return both('min')
    case 'max.NaN':
      return both('max')
    case 'min':
    case 'max': {
      // A NaN yields the other operand.
      const unlessSecondNan = w.v128.bitselect(both(operation), w.get(x), isNumber(y))
      return w.v128.bitselect(unlessSecondNan, w.get(y), isNumber(x))
    }
    default:
      return both(operation)
  }
}

/**
 * `fma.rn.f16x2` and its sisters, through f64: the product is exact there, and the sum is rounded to odd, which the
 * second rounding does not spoil.
 */
export function halfFma(w: FunctionBuilder, name: HalfName, a: I32, b: I32, c: I32, relu = false): I32 {
  const suffix = relu ? '.relu' : ''
  const routine = w.module.routine(`fma.rn${suffix}.${name}x2`, ['i32', 'i32', 'i32'], ['i32'], (r) => {
    const format = halfFormats[name]
    const [x, y, z] = r.args.map((arg) => r.let(r.f64x2.promote_low_f32x4(unpack(r, format, r.get(arg)))))
    const sum = sumToOdd(r, r.f64x2.mul(r.get(x!), r.get(y!)), r.get(z!))
    const rounded = r.let(r.f32x4.demote_f64x2_zero(roundToFormat(r, format, sum)))
    // `.relu`: negative results and NaN give +0 and the canonical NaN.
    const result = relu ? r.f32x4.max(r.get(rounded), r.f32x4.splat(r.f32.const(0))) : r.get(rounded)
    packLowLanes(r, format.narrow(r, result))
  })
  return w.call(routine, a, b, c)
}

/** Applies an f32 function to both halves: `ex2.approx.f16x2`, `tanh.approx.bf16x2`, … */
export function halfMap(
  w: FunctionBuilder,
  name: HalfName,
  label: string,
  apply: (w: FunctionBuilder, x: F32) => F32,
  a: I32,
): I32 {
  const routine = w.module.routine(`${label}.${name}x2`, ['i32'], ['i32'], (r) => {
    const format = halfFormats[name]
    const both = r.let(unpack(r, format, r.get(r.args[0])))
    const high = r.let(apply(r, r.f32x4.extract_lane(r.get(both), 1)))
    const low = r.f32x4.splat(apply(r, r.f32x4.extract_lane(r.get(both), 0)))
    packLowLanes(r, format.narrow(r, r.f32x4.replace_lane(low, r.get(high), 1)))
  })
  return w.call(routine, a)
}

/** f32 lanes 0 and 1 from the lower and the upper half of a word; lanes 2 and 3 are zero. */
function unpack(w: FunctionBuilder, format: HalfFormat, word: I32): V128 {
  const halves = w.let(w.i32x4.splat(word))
  const zero = 16
  const spread = w.i8x16.shuffle(w.get(halves), w.v128.const(new Uint8Array(16)), [
    zero,
    zero,
    0,
    1,
    zero,
    zero,
    2,
    3,
    zero,
    zero,
    zero,
    zero,
    zero,
    zero,
    zero,
    zero,
  ])
  w.release(halves)
  return format.widen(w, spread)
}
