const scratch = new DataView(new ArrayBuffer(8))

/** A byte buffer that grows, with WebAssembly's LEB128 number encodings. */
export class ByteWriter {
  private buffer: Uint8Array
  length = 0

  constructor(capacity = 256) {
    this.buffer = new Uint8Array(capacity)
  }

  private reserve(bytes: number): void {
    const needed = this.length + bytes
    if (needed <= this.buffer.length) return
    const grown = new Uint8Array(Math.max(needed, this.buffer.length * 2))
    grown.set(this.buffer.subarray(0, this.length))
    this.buffer = grown
  }

  byte(value: number): void {
    if (this.length === this.buffer.length) this.reserve(1)
    this.buffer[this.length++] = value
  }

  bytes(values: ArrayLike<number>): void {
    this.reserve(values.length)
    this.buffer.set(values, this.length)
    this.length += values.length
  }

  u32(value: number): void {
    let rest = value >>> 0
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80)
      rest >>>= 7
    }
    this.byte(rest)
  }

  /** A `u32` that always takes five bytes, so that `patchU32` can replace it. */
  paddedU32(value: number): void {
    this.reserve(5)
    this.length += 5
    this.patchU32(this.length - 5, value)
  }

  patchU32(position: number, value: number): void {
    for (let i = 0; i < 4; i++) this.buffer[position + i] = ((value >>> (7 * i)) & 0x7f) | 0x80
    this.buffer[position + 4] = (value >>> 28) & 0x0f
  }

  /** Signed; takes unsigned 32-bit numbers too, as the same bits. */
  i32(value: number): void {
    let rest = value | 0
    for (;;) {
      const low = rest & 0x7f
      rest >>= 7
      const last = rest === ((low & 0x40) === 0 ? 0 : -1)
      this.byte(last ? low : low | 0x80)
      if (last) return
    }
  }

  /** Signed; takes unsigned 64-bit numbers too, as the same bits. */
  i64(value: bigint): void {
    let rest = BigInt.asIntN(64, value)
    for (;;) {
      const low = Number(rest & 0x7fn)
      rest >>= 7n
      const last = rest === ((low & 0x40) === 0 ? 0n : -1n)
      this.byte(last ? low : low | 0x80)
      if (last) return
    }
  }

  f32(value: number): void {
    scratch.setFloat32(0, value, true)
    for (let i = 0; i < 4; i++) this.byte(scratch.getUint8(i))
  }

  f64(value: number): void {
    scratch.setFloat64(0, value, true)
    for (let i = 0; i < 8; i++) this.byte(scratch.getUint8(i))
  }

  name(text: string): void {
    const encoded = new TextEncoder().encode(text)
    this.u32(encoded.length)
    this.bytes(encoded)
  }

  /** What was written so far, as a view that later writes may leave behind. */
  view(): Uint8Array {
    return this.buffer.subarray(0, this.length)
  }
}
