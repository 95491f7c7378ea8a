import type { DType } from '../dsl/dtype.ts'
import type { TargetName } from './target.ts'

/** A kernel's compile-time constants: plain JSON, so that a configuration can be hashed, stored and compared. */
export type Config = { readonly [name: string]: ConfigValue }
export type ConfigValue = number | string | boolean | null | readonly ConfigValue[] | Config

/**
 * One `.param` of a kernel's entry, in declaration order.
 *
 * - `tensor`: a 64-bit global address.
 * - `scalar`: a 32-bit value (`f32`, `i32`, `u32`).
 * - `dim`: the run-time extent of a shape word, an `i32`; words bound by a constant of the configuration have none.
 * - `tensorMap`: 128 bytes, aligned to 64, that describe a tensor argument and a tile of it to the copy engine. They follow
 *   the others.
 */
export type Param = TensorParam | ScalarParam | DimParam | TensorMapParam

export interface TensorParam {
  readonly kind: 'tensor'
  readonly name: string
  readonly dtype: DType
  /** One entry per dimension: a shape word, or its extent where the configuration or the type fixes it. */
  readonly shape: readonly (string | number)[]
  /** The word behind each dimension, for messages (`K` where `shape` says 4096); numbers print themselves. */
  readonly words: readonly string[]
  readonly tag: string
  readonly access: 'in' | 'out' | 'inout'
  /** The widest access the kernel makes to it, in bytes: the address must be a multiple. */
  readonly align: number
}

export interface ScalarParam {
  readonly kind: 'scalar'
  readonly name: string
  readonly dtype: 'f32' | 'i32' | 'u32'
}

export interface DimParam {
  readonly kind: 'dim'
  readonly name: string
}

/** How the copy engine sees a row-major tensor argument: the tiles that one instruction copies. */
export interface TensorMapParam {
  readonly kind: 'tensorMap'
  readonly name: string
  /** The tensor argument that it describes: leading dimensions count as rows. */
  readonly tensor: string
  /** Rows and columns of a tile, in elements. */
  readonly rows: number
  readonly columns: number
  /**
   * 0 for tiles of two dimensions. Otherwise a tile has so many slabs, each `columns` further along the columns, and the
   * map has three dimensions: columns of a slab, rows, slabs.
   */
  readonly slabs: number
  /** Bytes over which 16-byte chunks are swizzled in shared memory. */
  readonly swizzle: 0 | 32 | 64 | 128
}

/** A source file that a compiled kernel depends on, with the SHA-256 of its text. */
export interface SourceFile {
  readonly path: string
  readonly sha256: string
}

/** What the compiler makes of one kernel, one configuration and one target: plain JSON, ready for the disk cache. */
export interface Program {
  /** The kernel function's name, which is also the PTX entry's name. */
  readonly name: string
  readonly target: TargetName
  readonly config: Config
  readonly ptx: string
  readonly params: readonly Param[]
  /** Threads of one CTA. */
  readonly block: readonly [number, number, number]
  /** CTAs of a cluster, neighbours along x; 1 for none. */
  readonly cluster: number
  /** Whether the kernel waits for its predecessor itself (`waitForPrevious`), so that it may be launched before that ends. */
  readonly overlaps: boolean
  /** Shared memory of one CTA in bytes, all of it dynamic (`.extern .shared`). */
  readonly sharedBytes: number
  /** Files named by `.loc` lines come first, in the order of their `.file` numbers. */
  readonly sources: readonly SourceFile[]
}
