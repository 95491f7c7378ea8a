import type { DType } from './dtype.ts'
import type { i32 } from './scalars.ts'

/**
 * Tensor parameters of kernels. `In<f16, 'T H'>` is a row-major tensor of two dimensions named by *shape words*: equal
 * words must be equal at launch. A word that is also a number of the configuration (`c.H`) is static in the kernel, and
 * a literal number (`'T 64'`) fixes its dimension. The layout tag says how a packed tensor's elements lie.
 *
 * A parameter declared optional (`bias?: In<…>`) exists when the constant of the same name is true, and only then may
 * be used.
 */
type Words<S extends string> = S extends `${infer Head} ${infer Rest}` ? Head | Words<Rest> : S

declare const meta: unique symbol

interface Shaped<T, S extends string, L extends string> {
  readonly [meta]?: [T, L]
  /** The element type: static. */
  readonly dtype: DType
  /** The extent of a dimension. */
  dim(word: Words<S>): i32
}

/** A tensor that a kernel reads. */
export interface In<T, S extends string, L extends string = 'row'> extends Shaped<T, S, L> {
  readonly access?: 'in' | 'inout'
  /** One element. */
  at(...index: i32[]): T
  /** The sub-tensor at the given leading indices. */
  row(...index: i32[]): In<T, string, L>
}

/** A tensor that a kernel writes. */
export interface Out<T, S extends string, L extends string = 'row'> extends Shaped<T, S, L> {
  readonly access?: 'out' | 'inout'
  put(value: T, ...index: i32[]): void
  row(...index: i32[]): Out<T, string, L>
}

/** A tensor that a kernel reads and writes. */
export interface InOut<T, S extends string, L extends string = 'row'> extends Shaped<T, S, L> {
  readonly access?: 'inout'
  at(...index: i32[]): T
  put(value: T, ...index: i32[]): void
  row(...index: i32[]): InOut<T, string, L>
}

/** A tile in shared memory: as `InOut`, with a static layout. */
export interface Shared<T> {
  readonly [meta]?: [T, 'shared']
  readonly dtype: DType
  readonly shape: readonly number[]
  at(...index: i32[]): T
  put(value: T, ...index: i32[]): void
  /** The sub-tile at the given leading indices (a stage of a ring, say). */
  row(...index: i32[]): Shared<T>
  /** The tile at the same place in the shared memory of CTA `rank` of the cluster. */
  peer(rank: i32): Shared<T>
}

/** mbarriers in shared memory: see `barriers`. */
export interface Barriers {
  readonly count: number
  /** Those at the same place in CTA `rank` of the cluster; only `arrive` takes them. */
  peer(rank: i32): Barriers
}
