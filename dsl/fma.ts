const bits = new Int32Array(2)
const float = new Float64Array(bits.buffer)

/**
 * a · b + c of f32 on the host, rounded once, for results that are normal numbers.
 *
 * The product is exact in float64. The sum is rounded to odd there: its lowest bit says that something was lost, so that
 * rounding it to f32 is as rounding the exact sum.
 */
export function fmaF32(a: number, b: number, c: number): number {
  const product = a * b
  const sum = product + c
  const added = sum - product
  const lost = product - (sum - added) + (c - added)
  float[0] = sum
  if (lost !== 0 && (bits[0]! & 1) === 0) {
    // Towards what was lost: away from zero or, one step of the magnitude, to it.
    if (lost > 0 === sum > 0) bits[0]! += 1
    else {
      if (bits[0] === 0) bits[1]! -= 1
      bits[0]! -= 1
    }
  }
  return Math.fround(float[0]!)
}
