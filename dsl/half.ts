/**
 * Half-precision numbers on the host: arrays of f32 to and from arrays of f16 or bf16 bits, rounding to nearest even.
 *
 * The results are those of PTX `cvt.rn.f16.f32` and `cvt.rn.bf16.f32`, bit for bit: subnormals are kept, overflow
 * gives infinity, and every NaN becomes 0x7fff, whatever its sign and payload.
 */

const canonicalNaN = 0x7fff

const scratch = new Float32Array(1)
const scratchBits = new Uint32Array(scratch.buffer)

/** The f16 bits of the f32 whose bits are `bits`. */
function f16OfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fff_ffff
  if (magnitude >= 0x4780_0000) return magnitude > 0x7f80_0000 ? canonicalNaN : sign | 0x7c00
  if (magnitude >= 0x3880_0000) {
    const rounded = magnitude + 0x0fff + ((magnitude >>> 13) & 1)
    return sign | ((rounded - 0x3800_0000) >>> 13)
  }
  // Below 2^-14 the f16 spacing is 2^-24, which is the spacing of f32 in [0.5, 1): adding 0.5 rounds there.
  scratchBits[0] = magnitude
  scratch[0] = scratch[0]! + 0.5
  return sign | (scratchBits[0] - 0x3f00_0000)
}

/** The bf16 bits of the f32 whose bits are `bits`. */
function bf16OfBits(bits: number): number {
  if ((bits & 0x7fff_ffff) > 0x7f80_0000) return canonicalNaN
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff
}

let f16Values: Float32Array | undefined

/** The value of every f16, by its bits; built on first use (256 KiB). */
function f16Table(): Float32Array {
  if (f16Values) return f16Values
  f16Values = new Float32Array(65536)
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1
    const exponent = (bits >>> 10) & 0x1f
    const fraction = bits & 0x3ff
    if (exponent === 31) f16Values[bits] = fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
    else if (exponent === 0) f16Values[bits] = sign * fraction * 2 ** -24
    else f16Values[bits] = sign * (1024 + fraction) * 2 ** (exponent - 25)
  }
  return f16Values
}

/** The same memory, seen as the bits of its elements. */
const bitsOf = (src: Float32Array): Uint32Array => new Uint32Array(src.buffer, src.byteOffset, src.length)

function checkLengths(dst: ArrayLike<number>, src: ArrayLike<number>): void {
  if (dst.length < src.length)
    throw new RangeError(`the destination holds ${dst.length} elements and the source has ${src.length}`)
}

/** Rounds `x` to f32 and then to f16; returns the bits. */
export function f16Bits(x: number): number {
  scratch[0] = x
  return f16OfBits(scratchBits[0]!)
}

/** Rounds `x` to f32 and then to bf16; returns the bits. */
export function bf16Bits(x: number): number {
  scratch[0] = x
  return bf16OfBits(scratchBits[0]!)
}

/** The value of f16 bits. */
export const f16Value = (bits: number): number => f16Table()[bits & 0xffff]!

/** The value of bf16 bits. */
export function bf16Value(bits: number): number {
  scratchBits[0] = bits << 16
  return scratch[0]!
}

/** The two 16-bit float types by name: to bits, rounding, and back. */
export const halves = {
  f16: { bits: f16Bits, value: f16Value },
  bf16: { bits: bf16Bits, value: bf16Value },
} as const

/** Writes `src` as f16 bits into `dst`, which must be at least as long. Returns `dst`. */
export function encodeF16(dst: Uint16Array, src: Float32Array): Uint16Array {
  checkLengths(dst, src)
  const bits = bitsOf(src)
  for (let i = 0; i < bits.length; i++) dst[i] = f16OfBits(bits[i]!)
  return dst
}

/** Writes `src` as bf16 bits into `dst`, which must be at least as long. Returns `dst`. */
export function encodeBf16(dst: Uint16Array, src: Float32Array): Uint16Array {
  checkLengths(dst, src)
  const bits = bitsOf(src)
  for (let i = 0; i < bits.length; i++) dst[i] = bf16OfBits(bits[i]!)
  return dst
}

/** Writes the values of f16 bits `src` into `dst`, which must be at least as long. Returns `dst`. */
export function decodeF16(dst: Float32Array, src: Uint16Array): Float32Array {
  checkLengths(dst, src)
  const table = f16Table()
  for (let i = 0; i < src.length; i++) dst[i] = table[src[i]!]!
  return dst
}

/** Writes the values of bf16 bits `src` into `dst`, which must be at least as long. Returns `dst`. */
export function decodeBf16(dst: Float32Array, src: Uint16Array): Float32Array {
  checkLengths(dst, src)
  const bits = bitsOf(dst)
  for (let i = 0; i < src.length; i++) bits[i] = src[i]! << 16
  return dst
}

/** A new array of the f16 bits of `src`. */
export const f16FromF32 = (src: Float32Array): Uint16Array => encodeF16(new Uint16Array(src.length), src)
/** A new array of the bf16 bits of `src`. */
export const bf16FromF32 = (src: Float32Array): Uint16Array => encodeBf16(new Uint16Array(src.length), src)
/** A new array of the values of f16 bits. */
export const f32FromF16 = (src: Uint16Array): Float32Array => decodeF16(new Float32Array(src.length), src)
/** A new array of the values of bf16 bits. */
export const f32FromBf16 = (src: Uint16Array): Float32Array => decodeBf16(new Float32Array(src.length), src)
