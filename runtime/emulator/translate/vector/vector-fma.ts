import { fma } from '../../arithmetic/f32.ts'
import type { Operand } from '../../ptx/module.ts'
import type { Local } from '../../wasm/function.ts'
import type { V128 } from '../../wasm/operations.ts'
import { groupLanes, type VectorEmitter } from './vector-emitter.ts'

const upperHalf = [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7]
const bothLower = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]

/**
 * fma.rn.f32 of four lanes, through f64 like the scalar one: where a sum lies right between two f32 numbers, or a
 * result is subnormal, the scalar code decides for all four.
 */
export function fmaVector(v: VectorEmitter, [d, a, b, c]: readonly Operand[]): boolean {
  const { w } = v
  const { type, ftz, sat } = v.instruction.modifiers
  if (type !== 'f32' || ftz || sat) return false
  const operands = [a, b, c].map((operand) => w.let(v.bits(operand!)))
  const [x, y, z] = operands as [Local<'v128'>, Local<'v128'>, Local<'v128'>]
  const lower = (value: Local<'v128'>): V128 => w.f64x2.promote_low_f32x4(w.get(value))
  const upper = (value: Local<'v128'>): V128 =>
    w.f64x2.promote_low_f32x4(w.i8x16.shuffle(w.get(value), w.get(value), upperHalf))
  const sumOf = (part: (value: Local<'v128'>) => V128): Local<'v128'> =>
    w.let(w.f64x2.add(w.f64x2.mul(part(x), part(y)), part(z)))
  const low = sumOf(lower)
  const high = sumOf(upper)
  const lowRounded = w.f32x4.demote_f64x2_zero(w.get(low))
  const result = w.let(w.i8x16.shuffle(lowRounded, w.f32x4.demote_f64x2_zero(w.get(high)), bothLower))

  const splat64 = (value: bigint): V128 => w.v128.const(new Uint8Array(BigInt64Array.of(value, value).buffer))
  const halfway = (sum: Local<'v128'>): V128 =>
    w.i64x2.eq(w.v128.and(w.get(sum), splat64(0x1fffffffn)), splat64(0x10000000n))
  const smallest = Float32Array.of(2 ** -126)
  const limit = new Int32Array(smallest.buffer)[0]!
  const small = w.f32x4.le(w.f32x4.abs(w.get(result)), v.splat(limit))
  const subnormal = w.v128.and(small, w.f32x4.ne(w.get(result), v.splat(0)))
  const doubtful = w.v128.or(w.v128.or(subnormal, halfway(low)), halfway(high))
  w.if(w.v128.any_true(doubtful), () => {
    for (let lane = 0; lane < groupLanes; lane++) {
      const before = w.get(result)
      const part = (value: Local<'v128'>) => w.f32x4.extract_lane(w.get(value), lane)
      w.set(result, w.f32x4.replace_lane(before, fma(w, part(x), part(y), part(z)), lane))
    }
  })
  v.set(d!, w.get(result))
  w.release(...operands, low, high, result)
  return true
}
