import type { Space } from './space.ts'

/** Extents of a launch's shape words, static ones included. */
export type Dims = Readonly<Record<string, number>>

/** One to three extents, x first; those left out are 1. */
export type Dim3 = readonly [number] | readonly [number, number] | readonly [number, number, number]

/** How a kernel is launched, and what the compiler may assume of its launches. */
export interface KernelOptions<C> {
  /** CTAs of a launch, from the extents of its shape words and its constants. Runs on the host. */
  readonly grid: (dims: Dims, c: C) => Dim3
  /** Threads of a CTA, from the constants alone, so that `blockDim` is static in the kernel. */
  readonly block: Dim3 | ((c: C) => Dim3)
  /** Cap on registers per thread (`.maxnreg`). */
  readonly maxRegisters?: (c: C) => number
  /** CTAs that should fit one multiprocessor (`.minnctapersm`). */
  readonly blocksPerMultiprocessor?: (c: C) => number
  /** CTAs of a cluster, neighbours along x: 1 (the default), 2, 4 or 8. The grid's x must be a multiple. */
  readonly cluster?: (c: C) => number
  /** The configurations that a tuner may try. */
  readonly tune?: Space<C>
}

/**
 * A kernel: where its source is, and how it is launched. It is a plain value; compiling and running it belong to the
 * runtime (`prepare`).
 */
export interface Kernel<A = unknown, C = unknown> {
  readonly name: string
  /** `import.meta.url` of the file that declares it. */
  readonly url: string
  readonly options: KernelOptions<C>
  /** Carries the types of the arguments and constants; never set. */
  readonly types?: { readonly args: A; readonly config: C }
}

/**
 * Declares a kernel.
 *
 * ```ts
 * export const scale = kernel(
 *   import.meta.url,
 *   { grid: (d) => [ceilDiv(d.N, 256)], block: [256] },
 *   function scale(a: { x: In<f32, 'N'>; factor: f32; out: Out<f32, 'N'> }) {
 *     const i = blockIdx.x * blockDim.x + threadIdx.x
 *     if (i < a.x.dim('N')) a.out.put(a.factor * a.x.at(i), i)
 *   },
 * )
 * ```
 *
 * `body` is a named function of the run-time arguments `a` and the compile-time constants `c`. It never runs as
 * JavaScript: the compiler reads its source from the file at `url`.
 */
export function kernel<A, C = Record<never, never>>(
  url: string,
  options: KernelOptions<C>,
  body: (a: A, c: C) => void,
): Kernel<A, C> {
  if (!body.name) throw new Error('A kernel needs a named function: function myKernel(a, c) { … }')
  return { name: body.name, url, options }
}

/** The threads of a CTA as three numbers. */
export function blockOf<C>(k: Kernel<unknown, C>, c: C): [number, number, number] {
  const { block } = k.options
  const [x, y = 1, z = 1] = typeof block === 'function' ? block(c) : block
  return [x, y, z]
}
