export type Fp8Name = 'e4m3' | 'e5m2'

/** The value of a code, by the definition of the format (OCP 8-bit floating point). */
export function fp8Value(format: Fp8Name, code: number): number {
  const [exponentBits, fractionBits, bias] = format === 'e4m3' ? [4, 3, 7] : [5, 2, 15]
  const sign = code & 0x80 ? -1 : 1
  const exponent = (code & 0x7f) >> fractionBits
  const fraction = code & (2 ** fractionBits - 1)
  const isTop = exponent === 2 ** exponentBits - 1
  if (format === 'e4m3' && isTop && fraction === 7) return Number.NaN
  if (format === 'e5m2' && isTop) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  const significand = exponent === 0 ? fraction : fraction + 2 ** fractionBits
  return sign * significand * 2 ** (Math.max(exponent, 1) - bias - fractionBits)
}

/** The finite code nearest to a number, of two as near the even one; NaN is 0x7f. By trying them all. */
export function nearestFp8(format: Fp8Name, x: number): number {
  if (Number.isNaN(x)) return 0x7f
  const sign = x < 0 || Object.is(x, -0) ? 0x80 : 0
  const magnitude = Math.min(Math.abs(x), format === 'e4m3' ? 448 : 57344)
  let best = 0
  for (let code = 0; code < 0x80; code++) {
    const distance = Math.abs(magnitude - fp8Value(format, code))
    const least = Math.abs(magnitude - fp8Value(format, best))
    if (distance < least || (distance === least && code % 2 === 0)) best = code
  }
  return best | sign
}
