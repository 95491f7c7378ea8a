import { type EncodedRow, type KvConfig, type KvFormatName, kvConfig, kvFormats, PAGE_TOKENS } from './kv.ts'

/**
 * Where codes lie in a page. Of each page and key/value head there are two blocks, keys and then values, each `PB`
 * elements long; offsets below are in bytes from the start of a block. They are plain arithmetic, for the host and for
 * kernels alike. Blocks of 16-bit formats are row-major, [64, D].
 */

/** Which block of a page: keys or values. */
export const KEYS = 0
export const VALUES = 1

/**
 * The byte of a key's column within its token's row of `D · bits / 8` bytes. With 4 bits it is shared by the columns `c` and
 * `c + 16` of 32, of which the second has the upper half: 16 bytes are 32 neighbouring columns, and the low nibbles of a
 * word are four neighbours.
 */
export const keyByte = (bits: number, column: number): number =>
  bits === 4 ? ((column >> 5) << 4) + (column & 15) : column

/** Whether a key's code of 4 bits is the upper half of its byte. */
export const keyIsUpper = (column: number): boolean => (column & 16) !== 0

/**
 * The byte of a value's column: four tokens of four columns are 16 bytes, a word being four tokens of one column. With 4
 * bits it is shared by the columns `c` and `c + D/2`; `column` is then below D/2.
 *
 * The 16-byte chunks of a quad of tokens are swizzled by `quadSwizzle`.
 */
export const valueByte = (bits: number, D: number, token: number, column: number): number =>
  quadByte(bits, D, token >> 2, column >> 2) + ((column & 3) << 2) + (token & 3)

/** The first of the 16 bytes of four tokens, `4 · quad` and on, and of four columns, `4 · chunk` and on. */
export const quadByte = (bits: number, D: number, quad: number, chunk: number): number =>
  quad * ((D * bits) / 2) + ((chunk ^ quadSwizzle(D, quad)) << 4)

/**
 * What the chunks of a quad of tokens are xored with: eight lanes that read the same chunk of two neighbouring quads, and
 * those of the next chunk, meet eight different groups of banks. A head of 96 has room for one bit only.
 */
export const quadSwizzle = (D: number, quad: number): number => 2 * (quad & (D % 64 === 0 ? 3 : 1))

/** Which row of which block. */
export interface KvPlace {
  readonly page: number
  readonly head: number
  readonly block: typeof KEYS | typeof VALUES
  /** Token within the page. */
  readonly token: number
}

/** Pages of one layer on the host: what a kernel's `kv` and `kvParams` hold. For references and tests. */
export class KvPages {
  readonly constants: KvConfig
  readonly pages: number
  readonly heads: number
  readonly D: number
  /** [pages, heads, 2, PB]. */
  readonly kv: Uint8Array | Uint16Array
  /** The bits of f16 [pages, heads, 2, 64, 2], scale and minimum of each token; empty where nothing is coded. */
  readonly kvParams: Uint16Array
  readonly #dtype: 'f16' | 'bf16'

  constructor(format: KvFormatName, dtype: 'f16' | 'bf16', D: number, pages: number, heads: number) {
    this.constants = kvConfig(format, dtype, D)
    this.pages = pages
    this.heads = heads
    this.D = D
    this.#dtype = dtype
    const { kvElement, PB, kvParams } = this.constants
    const blocks = 2 * pages * heads
    this.kv = kvElement === 'u8' ? new Uint8Array(blocks * PB) : new Uint16Array(blocks * PB)
    this.kvParams = new Uint16Array(kvParams ? blocks * PAGE_TOKENS * 2 : 0)
  }

  /** Shapes of the two tensors. */
  get shapes(): { readonly kv: readonly number[]; readonly kvParams: readonly number[] } {
    const blocks = [this.pages, this.heads, 2]
    return { kv: [...blocks, this.constants.PB], kvParams: [...blocks, PAGE_TOKENS, 2] }
  }

  copy(): KvPages {
    const twin = new KvPages(this.constants.kv, this.#dtype, this.D, this.pages, this.heads)
    twin.kv.set(this.kv)
    twin.kvParams.set(this.kvParams)
    return twin
  }

  /** Encodes a head's vector of f32 values and writes it. Returns the vector that the cache now stands for. */
  put(place: KvPlace, values: Float64Array): Float64Array {
    const format = kvFormats[this.constants.kv]
    const row = format.encode(values, this.#dtype)
    this.write(place, row)
    return format.decode(row, this.#dtype)
  }

  /** The vector that a row stands for. */
  get(place: KvPlace): Float64Array {
    return kvFormats[this.constants.kv].decode(this.read(place), this.#dtype)
  }

  /** Writes codes, one for each element, and parameters to their places. */
  write(place: KvPlace, row: EncodedRow): void {
    const { start, params } = this.#starts(place)
    row.codes.forEach((code, column) => {
      const { at, shift } = this.#codeOf(place, column)
      const kept = this.kv[start + at]! & ~((2 ** this.#bits - 1) << shift)
      this.kv[start + at] = kept | (code << shift)
    })
    if (this.constants.kvParams) this.kvParams.set(row.params, params)
  }

  /** The codes of a row, one for each element, and its parameters. */
  read(place: KvPlace): EncodedRow {
    const { start, params } = this.#starts(place)
    const codes = this.#bits === 16 ? new Uint16Array(this.D) : new Uint8Array(this.D)
    for (let column = 0; column < this.D; column++) {
      const { at, shift } = this.#codeOf(place, column)
      codes[column] = (this.kv[start + at]! >> shift) & (2 ** this.#bits - 1)
    }
    return { codes, params: this.constants.kvParams ? [...this.kvParams.subarray(params, params + 2)] : [] }
  }

  get #bits(): number {
    return kvFormats[this.constants.kv].bits
  }

  #starts({ page, head, block, token }: KvPlace) {
    const index = (page * this.heads + head) * 2 + block
    return { start: index * this.constants.PB, params: (index * PAGE_TOKENS + token) * 2 }
  }

  /** The element of a block that has a code, and its lowest bit. */
  #codeOf({ block, token }: KvPlace, column: number): { readonly at: number; readonly shift: number } {
    const { D } = this
    const bits = this.#bits
    if (bits === 16) return { at: token * D + column, shift: 0 }
    if (block === KEYS) {
      const shift = bits === 4 && keyIsUpper(column) ? 4 : 0
      return { at: token * ((D * bits) / 8) + keyByte(bits, column), shift }
    }
    const columns = bits === 4 ? D / 2 : D
    return { at: valueByte(bits, D, token, column % columns), shift: column < columns ? 0 : 4 }
  }
}
