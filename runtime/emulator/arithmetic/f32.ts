import type { FunctionBuilder, FunctionRef } from '../wasm/function.ts'
import type { F32, I32 } from '../wasm/operations.ts'
import { sumToOdd } from './odd-sum.ts'

/** `.ftz`: subnormal values become zeros of the same sign. */
export function flush(w: FunctionBuilder, x: F32): F32 {
  const value = w.let(x)
  const result = w.select(
    w.f32.copysign(w.f32.const(0), w.get(value)),
    w.get(value),
    w.f32.lt(w.f32.abs(w.get(value)), w.f32.const(2 ** -126)),
  )
  w.release(value)
  return result
}

/** `.sat`: clamps to [0, 1]; NaN gives 0. */
export function clampToUnit(w: FunctionBuilder, x: F32): F32 {
  const value = w.let(x)
  const positive = w.let(w.select(w.get(value), w.f32.const(0), w.f32.gt(w.get(value), w.f32.const(0))))
  const result = w.f32.min(w.get(positive), w.f32.const(1))
  w.release(value, positive)
  return result
}

/** `min.f32`, `max.f32`: a NaN operand yields the other one, -0 is less than +0. `.NaN` forms are `f32.min`, `f32.max`. */
export function minMax(w: FunctionBuilder, operation: 'min' | 'max', a: F32, b: F32): F32 {
  const second = w.let(b)
  const first = w.let(a)
  const both = (): F32 => w.f32[operation](w.get(first), w.get(second))
  const isNumber = (x: typeof first): I32 => w.f32.eq(w.get(x), w.get(x))
  const unlessSecondNan = w.let(w.select(both(), w.get(first), isNumber(second)))
  const result = w.select(w.get(unlessSecondNan), w.get(second), isNumber(first))
  w.release(first, second, unlessSecondNan)
  return result
}

/**
 * `fma.rn.f32`: rounds once.
 *
 * The product is exact in f64. Rounding the f64 sum to f32 differs from rounding the true sum only if the f64 sum lies
 * right between two neighbours in f32 (or may do so, below the normal range): then a routine decides.
 */
export function fma(w: FunctionBuilder, a: F32, b: F32, c: F32): F32 {
  const z = w.let(w.f64.promote_f32(c))
  const y = w.let(w.f64.promote_f32(b))
  const product = w.let(w.f64.mul(w.f64.promote_f32(a), w.get(y)))
  const sum = w.let(w.f64.add(w.get(product), w.get(z)))
  const halfway = w.i32.eq(
    w.i32.and(w.i32.wrap_i64(w.i64.reinterpret_f64(w.get(sum))), w.i32.const(0x1fffffff)),
    w.i32.const(0x10000000),
  )
  const subnormal = w.f64.lt(w.f64.abs(w.get(sum)), w.f64.const(2 ** -126))
  const result = w.choose(
    'f32',
    w.i32.or(halfway, subnormal),
    () => w.call(roundedSum(w), w.get(product), w.get(z)),
    () => w.f32.demote_f64(w.get(sum)),
  )
  w.release(z, y, product, sum)
  return result
}

/** The f32 nearest to the exact sum of two f64. */
function roundedSum(w: FunctionBuilder): FunctionRef<readonly ['f64', 'f64'], readonly ['f32']> {
  return w.module.routine('f32.rounded_sum', ['f64', 'f64'], ['f32'], (r) => {
    const [x, y] = r.args
    const sum = sumToOdd(r, r.f64x2.splat(r.get(x)), r.f64x2.splat(r.get(y)))
    r.f32.demote_f64(r.f64x2.extract_lane(sum, 0))
  })
}
