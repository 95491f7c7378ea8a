/** A binary floating-point format, for a reference that rounds exact values with big integers. */
export interface FloatFormat {
  /** Significant bits, the hidden one included. */
  readonly precision: number
  readonly minExponent: number
  readonly maxExponent: number
}
export const binary32: FloatFormat = { precision: 24, minExponent: -126, maxExponent: 127 }
export const binary16: FloatFormat = { precision: 11, minExponent: -14, maxExponent: 15 }
export const bfloat16: FloatFormat = { precision: 8, minExponent: -126, maxExponent: 127 }

/** Exact values are integers over this power of two: enough for a product of subnormals. */
const scaleBits = 1100

const f64 = new DataView(new ArrayBuffer(8))

/** A finite number times 2^scaleBits. */
export function exact(x: number): bigint {
  f64.setFloat64(0, x)
  const bits = f64.getBigUint64(0)
  const exponent = Number((bits >> 52n) & 0x7ffn)
  const fraction = bits & 0xf_ffff_ffff_ffffn
  const significand = exponent === 0 ? fraction : fraction | (1n << 52n)
  const shift = BigInt(Math.max(exponent, 1) - 1075 + scaleBits)
  const magnitude = significand << shift
  return bits >> 63n ? -magnitude : magnitude
}

export function exactProduct(x: number, y: number): bigint {
  return (exact(x) * exact(y)) >> BigInt(scaleBits)
}

/** The number of the format nearest to `value` / 2^scaleBits, ties to even. A zero comes out positive. */
export function nearest(value: bigint, format: FloatFormat): number {
  const negative = value < 0n
  const magnitude = negative ? -value : value
  const exponent = magnitude.toString(2).length - 1 - scaleBits
  const ulpExponent = Math.max(exponent, format.minExponent) - (format.precision - 1)
  const drop = BigInt(ulpExponent + scaleBits)
  const half = 1n << (drop - 1n)
  let units = magnitude >> drop
  const rest = magnitude & ((1n << drop) - 1n)
  if (rest > half || (rest === half && units & 1n)) units++
  const result = Number(units) * 2 ** ulpExponent
  const limit = 2 ** format.maxExponent * (2 - 2 ** (1 - format.precision))
  const bounded = result > limit ? Number.POSITIVE_INFINITY : result
  return negative ? -bounded : bounded
}

/** The value of 16 bits in a format with an 8-bit (bf16) or 5-bit (f16) exponent, by the definition of the format. */
export function valueOfBits(bits: number, format: FloatFormat): number {
  const fractionBits = format.precision - 1
  const exponentBits = 15 - fractionBits
  const exponent = (bits >> fractionBits) & ((1 << exponentBits) - 1)
  const fraction = bits & ((1 << fractionBits) - 1)
  const sign = bits & 0x8000 ? -1 : 1
  if (exponent === (1 << exponentBits) - 1) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  const unit = 2 ** (format.minExponent - fractionBits)
  if (exponent === 0) return sign * fraction * unit
  return sign * (fraction + (1 << fractionBits)) * unit * 2 ** (exponent - 1)
}
