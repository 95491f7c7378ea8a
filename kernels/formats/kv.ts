import type { DType, f16, f32, InOut, i32, u32 } from '../../dsl/index.ts'
import { kv4 } from './kv4.ts'
import { kv8 } from './kv8.ts'
import { kv16 } from './kv16.ts'

/** Tokens of one page of the key/value cache. */
export const PAGE_TOKENS = 64

/** A page row: page, key/value head, token within the page. */
export type KvRow = readonly [i32, i32, i32]

/** Two neighbouring elements of one head that a lane holds: the elements `column` and `column + 1`. */
export interface KvPair {
  readonly column: i32
  readonly values: readonly [f32, f32]
}

/**
 * A number format of the key/value cache: how a head's vector of one token is stored, and how attention reads it.
 *
 * A value is `code · scale + min`, with unsigned codes and one fp16 scale and minimum per token and head, so that
 * attention works on codes and applies scale and minimum after its products (q·k = scale · Σ q·code + min · Σ q). 16-bit
 * formats store values.
 */
export interface KvFormat {
  readonly name: string
  /** Bits of one code. */
  readonly bits: number
  /** Whether scales and minima exist. */
  readonly params: boolean
  /** Device: stores the pairs of all lanes of a warp, one head of one token; lanes without `active` hold nothing. */
  store(
    pool: InOut<number, string>,
    params: InOut<f16, string> | undefined,
    row: KvRow,
    pairs: readonly KvPair[],
    active: readonly boolean[],
  ): void
  /**
   * Device, where there are codes: the words of four codes, one to a byte, that a word of the pool holds. Of `n` such words,
   * byte `b` of word `i` is column `n · b + i`.
   */
  bytes?(word: u32): u32[]
  /** Host: what `store` makes of a head's vector of f32 values, bit for bit. */
  encode(values: Float64Array, dtype: 'f16' | 'bf16'): EncodedRow
  /** Host: the vector that codes stand for. */
  decode(row: EncodedRow, dtype: 'f16' | 'bf16'): Float64Array
}

/** A head's vector of one token on the host. */
export interface EncodedRow {
  /** One for each element: its code, or the bits of a 16-bit float. */
  readonly codes: Uint8Array | Uint16Array
  /** The f16 bits of scale and minimum; empty where the format has none. */
  readonly params: readonly number[]
}

export type KvFormatName = 'kv4' | 'kv8' | 'kv16'

/** The key/value formats by name. */
export const kvFormats: Readonly<Record<KvFormatName, KvFormat>> = { kv4, kv8, kv16 }

/** The constants that describe a cache's tensors to a kernel. */
export interface KvConfig {
  readonly kv: KvFormatName
  /** Element type of the pools. */
  readonly kvElement: DType
  /** Elements of one row of a pool. */
  readonly DC: number
  /** Whether the kernel takes `kParams` and `vParams`. */
  readonly kParams: boolean
  readonly vParams: boolean
  /** Elements of a block: the keys, or the values, of one page and head. */
  readonly PB: number
  /** Whether the kernel takes `kvParams`. */
  readonly kvParams: boolean
}

/** The constants of a cache whose heads have `D` elements; `dtype` is the element type where nothing is coded. */
export function kvConfig(kv: KvFormatName, dtype: 'f16' | 'bf16', D: number): KvConfig {
  const { bits, params } = kvFormats[kv]
  const coded = bits < 16
  return {
    kv,
    kvElement: coded ? 'u8' : dtype,
    DC: coded ? (D * bits) / 8 : D,
    kParams: params,
    vParams: params,
    PB: coded ? (PAGE_TOKENS * D * bits) / 8 : PAGE_TOKENS * D,
    kvParams: params,
  }
}
