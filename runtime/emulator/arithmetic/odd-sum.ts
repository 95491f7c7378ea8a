import type { FunctionBuilder } from '../wasm/function.ts'
import type { V128 } from '../wasm/operations.ts'

/**
 * Sums two vectors of f64 and rounds to odd: an inexact sum goes to the neighbour whose last bit is set. Rounding that
 * to a format with at least two bits fewer equals rounding the exact sum once (Boldo and Melquiond, "Emulation of FMA
 * and correctly rounded sums: proved algorithms using rounding to odd").
 */
export function sumToOdd(w: FunctionBuilder, a: V128, b: V128): V128 {
  const { f64x2, i64x2, v128 } = w
  const y = w.let(b)
  const x = w.let(a)
  const zero = (): V128 => f64x2.splat(w.f64.const(0))
  const one = (): V128 => i64x2.splat(w.i64.const(1))
  const sum = w.let(f64x2.add(w.get(x), w.get(y)))
  // Knuth's two-sum: what the addition lost, exactly; NaN where the sum is not finite.
  const yPart = w.let(f64x2.sub(w.get(sum), w.get(x)))
  const lost = w.let(
    f64x2.add(f64x2.sub(w.get(x), f64x2.sub(w.get(sum), w.get(yPart))), f64x2.sub(w.get(y), w.get(yPart))),
  )
  const inexact = w.let(f64x2.gt(f64x2.abs(w.get(lost)), zero()))
  const even = w.let(i64x2.eq(v128.and(w.get(sum), one()), i64x2.splat(w.i64.const(0))))
  // The neighbour farther from zero is one more in the bits, the nearer one is one less.
  const nearer = v128.xor(f64x2.gt(w.get(lost), zero()), f64x2.gt(w.get(sum), zero()))
  const step = w.let(v128.or(nearer, one()))
  const change = v128.and(w.get(step), v128.and(w.get(inexact), w.get(even)))
  const result = i64x2.add(change, w.get(sum))
  w.release(x, y, sum, yPart, lost, inexact, even, step)
  return result
}
