import type { DType } from '../../dsl/index.ts'
import { kv4 } from './kv4.ts'
import { kv8 } from './kv8.ts'
import { kv16 } from './kv16.ts'

/** Tokens of one page of the key/value cache. */
export const PAGE_TOKENS = 64

/**
 * A number format of the key/value cache: what becomes of a head's vector of one token. Where codes lie is told in
 * `kv-pages.ts`, and how a kernel stores them in `kv-store.ts`.
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
  /** What a kernel's append makes of a head's vector of f32 values, bit for bit. */
  encode(values: Float64Array, dtype: 'f16' | 'bf16'): EncodedRow
  /** The vector that codes stand for. */
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
  /** Element type of the pages. */
  readonly kvElement: DType
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
    PB: coded ? (PAGE_TOKENS * D * bits) / 8 : PAGE_TOKENS * D,
    kvParams: params,
  }
}
