import { EXP2_LOST } from '../../../dsl/exp2-steps.ts'
import type { FunctionBuilder, FunctionRef, Local } from '../wasm/function.ts'
import type { F32, F64 } from '../wasm/operations.ts'
import { flush } from './f32.ts'

/**
 * The `.approx` functions of f32, computed in f64 and rounded once: within 0.51 ulp, so better than what the PTX manual
 * promises, and bit-equal to a GPU only by chance; but `ex2` of multiples of 2^-12 from -126 to 0 is that of an H200.
 * `ftz` flushes subnormal operands and results.
 */
export type Approximation = 'ex2' | 'lg2' | 'rcp' | 'rsqrt' | 'sqrt' | 'tanh' | 'sin' | 'cos'

export function approximate(w: FunctionBuilder, name: Approximation, x: F32, ftz = false): F32 {
  const routine = w.module.routine(`${name}.approx${ftz ? '.ftz' : ''}.f32`, ['f32'], ['f32'], (r) => {
    const operand = r.get(r.args[0])
    const value = r.let(r.f64.promote_f32(ftz ? flush(r, operand) : operand))
    const result = r.f32.demote_f64(functions[name](r, value))
    if (name === 'ex2') exp2OfSteps(r, r.args[0], result)
    if (ftz) flush(r, result)
  })
  return w.call(routine, x)
}

const functions: Readonly<Record<Approximation, (w: FunctionBuilder, x: Local<'f64'>) => F64>> = {
  ex2: exp2,
  lg2: log2,
  rcp: (w, x) => w.f64.div(w.f64.const(1), w.get(x)),
  rsqrt: (w, x) => w.f64.div(w.f64.const(1), w.f64.sqrt(w.get(x))),
  sqrt: (w, x) => w.f64.sqrt(w.get(x)),
  tanh,
  sin: (w, x) => circular(w, x, 0),
  cos: (w, x) => circular(w, x, 1),
}

/** Horner's rule; `coefficients[k]` belongs to the power k. */
function polynomial(w: FunctionBuilder, x: Local<'f64'>, coefficients: readonly number[]): F64 {
  const [highest, ...rest] = [...coefficients].reverse()
  let sum = w.f64.const(highest!)
  for (const coefficient of rest) sum = w.f64.add(w.f64.mul(sum, w.get(x)), w.f64.const(coefficient))
  return sum
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)
const factorial = (n: number): number => (n < 2 ? 1 : n * factorial(n - 1))

/** 2^x = 2^n · 2^r with |r| <= 1/2; ten terms of the exponential series leave 2^-37. */
function exp2(w: FunctionBuilder, x: Local<'f64'>): F64 {
  // Past 200 the f32 result is 0 or infinity whatever the fraction. NaN passes through the polynomial.
  const clamped = w.let(w.f64.max(w.f64.min(w.get(x), w.f64.const(200)), w.f64.const(-200)))
  const n = w.let(w.f64.nearest(w.get(clamped)))
  const r = w.let(w.f64.sub(w.get(clamped), w.get(n)))
  const series = range(10).map((k) => Math.LN2 ** k / factorial(k))
  const fraction = polynomial(w, r, series)
  const exponent = w.i64.add(w.i64.trunc_sat_f64_s(w.get(n)), w.i64.const(1023))
  return w.f64.mul(fraction, w.f64.reinterpret_i64(w.i64.shl(exponent, w.i64.const(52))))
}

/** Takes from `rounded`, 2^x rounded to nearest, what the hardware's result lacks where that is known. */
function exp2OfSteps(w: FunctionBuilder, x: Local<'f32'>, rounded: F32): F32 {
  const { f32, i32 } = w
  const nearest = w.let(rounded)
  const steps = w.let(f32.mul(w.get(x), f32.const(-4096)))
  const inRange = i32.and(f32.ge(w.get(steps), f32.const(0)), f32.le(w.get(steps), f32.const(126 * 4096)))
  const isKnown = i32.and(inRange, f32.eq(f32.trunc(w.get(steps)), w.get(steps)))
  return w.choose(
    'f32',
    isKnown,
    () => {
      const step = w.let(i32.and(i32.trunc_sat_f32_s(w.get(steps)), i32.const(4095)))
      const bits = i32.reinterpret_f32(w.get(nearest))
      const word = w.call(lostWord(w), i32.shr_u(w.get(step), i32.const(4)))
      const shift = i32.shl(i32.and(w.get(step), i32.const(15)), i32.const(1))
      return f32.reinterpret_i32(i32.sub(bits, i32.and(i32.shr_u(word, shift), i32.const(3))))
    },
    () => w.get(nearest),
  )
}

/** Looks a word of `EXP2_LOST` up: nested blocks, the innermost of which is that of word 0. */
const lostWord = (w: FunctionBuilder): FunctionRef<['i32'], ['i32']> =>
  w.module.routine('ex2.lost', ['i32'], ['i32'], (r) => {
    const labels = Array.from(EXP2_LOST, () => r.beginBlock())
    r.brTable(r.get(r.args[0]), labels.toReversed(), labels[0]!)
    for (const word of EXP2_LOST) {
      r.end()
      r.return(r.i32.const(word | 0))
    }
    r.unreachable()
  })

/**
 * log2(x) = e + log2(m) with m in [sqrt(1/2), sqrt(2)), and log2(m) = (2 / ln 2) · artanh(s), s = (m - 1) / (m + 1):
 * |s| < 0.172, so ten odd terms leave 2^-55 of the first one, which keeps the relative error small near x = 1.
 */
function log2(w: FunctionBuilder, x: Local<'f64'>): F64 {
  const { f64, i64 } = w
  const ordinary = w.i32.and(
    f64.gt(w.get(x), f64.const(0)),
    f64.lt(w.get(x), f64.const(Number.POSITIVE_INFINITY)),
  )
  return w.choose(
    'f64',
    ordinary,
    () => {
      const rootOfHalf = 0x3fe6_a09e_667f_3bcdn
      const bits = w.let(i64.reinterpret_f64(w.get(x)))
      const e = w.let(i64.shr_s(i64.sub(w.get(bits), i64.const(rootOfHalf)), i64.const(52)))
      const mantissa = i64.sub(w.get(bits), i64.shl(w.get(e), i64.const(52)))
      const m = w.let(f64.reinterpret_i64(mantissa))
      const s = w.let(f64.div(f64.sub(w.get(m), f64.const(1)), f64.add(w.get(m), f64.const(1))))
      const square = w.let(f64.mul(w.get(s), w.get(s)))
      const series = polynomial(
        w,
        square,
        range(10).map((k) => 2 / Math.LN2 / (2 * k + 1)),
      )
      return f64.add(f64.mul(series, w.get(s)), f64.convert_i64_s(w.get(e)))
    },
    // The square root is NaN for negative numbers and NaN, and keeps infinity.
    () => w.select(f64.const(Number.NEGATIVE_INFINITY), f64.sqrt(w.get(x)), f64.eq(w.get(x), f64.const(0))),
  )
}

/** (e^2x - 1) / (e^2x + 1), and below 1/2, where that cancels, Lambert's continued fraction x / (1 + x² / (3 + …)). */
function tanh(w: FunctionBuilder, x: Local<'f64'>): F64 {
  const { f64 } = w
  return w.choose(
    'f64',
    f64.lt(f64.abs(w.get(x)), f64.const(0.5)),
    () => {
      const square = w.let(f64.mul(w.get(x), w.get(x)))
      const denominator = w.let(f64.const(11))
      for (const odd of [9, 7, 5, 3, 1])
        w.set(denominator, f64.add(f64.div(w.get(square), w.get(denominator)), f64.const(odd)))
      return f64.div(w.get(x), w.get(denominator))
    },
    () => {
      const argument = w.let(f64.mul(w.get(x), f64.const(2 / Math.LN2)))
      const e = w.let(exp2(w, argument))
      return f64.div(f64.sub(w.get(e), f64.const(1)), f64.add(w.get(e), f64.const(1)))
    },
  )
}

/**
 * sin(x + quadrant · π/2): reduces by multiples k of π/2, in two parts so that the first product is exact up to
 * |k| = 2^20. Far beyond, the value means nothing (nor does the hardware's) but stays within [-1, 1].
 */
function circular(w: FunctionBuilder, x: Local<'f64'>, quadrant: 0 | 1): F64 {
  const { f64, i32 } = w
  const highPart = 1.5707963267341256
  const lowPart = 6.077100506506192e-11
  // Adding zero turns -0 into +0, so that x = -0 survives the subtractions.
  const k = w.let(f64.add(f64.nearest(f64.mul(w.get(x), f64.const(2 / Math.PI))), f64.const(0)))
  const reduced = f64.sub(
    f64.sub(w.get(x), f64.mul(w.get(k), f64.const(highPart))),
    f64.mul(w.get(k), f64.const(lowPart)),
  )
  const r = w.let(f64.max(f64.min(reduced, f64.const(0.8)), f64.const(-0.8)))
  const square = w.let(f64.mul(w.get(r), w.get(r)))
  const turns = w.let(i32.add(i32.trunc_sat_f64_s(w.get(k)), i32.const(quadrant)))
  const series = (first: 0 | 1) => range(8).map((i) => (i % 2 ? -1 : 1) / factorial(2 * i + first))
  const magnitude = w.let(
    w.choose(
      'f64',
      i32.and(w.get(turns), i32.const(1)),
      () => polynomial(w, square, series(0)),
      () => f64.mul(polynomial(w, square, series(1)), w.get(r)),
    ),
  )
  return w.select(f64.neg(w.get(magnitude)), w.get(magnitude), i32.and(w.get(turns), i32.const(2)))
}
