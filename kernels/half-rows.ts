import {
  blockIdx,
  ceilDiv,
  f32,
  gridDim,
  type In,
  type InOut,
  i32,
  launchDependents,
  type Out,
  prefetchBulk,
  staticAssert,
  target,
  threadIdx,
  to,
  waitForPrevious,
} from '../dsl/index.ts'
import type { KernelOptions } from '../dsl/kernel.ts'
import { loadRow, type RowShare, storeRow } from '../dsl/std/index.ts'

/**
 * What kernels over rows of 16-bit floats share.
 *
 * A CTA takes a row, with a number of threads that follows from the columns alone: what a row gives does not depend on the
 * others. It keeps the row in registers from the one reading to the one writing.
 */

export type HalfType = 'f16' | 'bf16'

/** Constants that every kernel over rows has. */
export interface RowConfig {
  readonly dtype: HalfType
}

/**
 * Elements of a row that a thread takes. What is quantized waits for the largest of the row; more elements a thread make
 * fewer threads that wait, and more CTAs beside each other. Other kernels stream with the more threads.
 */
const rowElements = { quantized: 32, halfs: 16 } as const

export type RowOutput = keyof typeof rowElements

/** Threads of a CTA that works on one row: whole warps, and more elements each only where there are no more threads. */
export const rowThreads = (columns: number, output: RowOutput): number =>
  Math.min(1024, 32 * ceilDiv(columns, 32 * rowElements[output]))

/** Threads that should fit a multiprocessor beside each other: 64 and 48 registers each. */
const residentThreads = { quantized: 1024, halfs: 1280 } as const

/** CTA and registers of a kernel over rows, of which `columns` says how long they are, and their grid: shape word `T`. */
export const rowOptions = <C extends RowConfig>(
  columns: (c: C) => number,
  output: RowOutput,
  rows: 'T' | 'R' = 'T',
): KernelOptions<C> => ({
  grid: (d) => [d[rows]!],
  block: (c) => [rowThreads(columns(c), output)],
  blocksPerMultiprocessor: (c) =>
    Math.max(1, Math.floor(residentThreads[output] / rowThreads(columns(c), output))),
})

/** How the threads of a CTA share a row of so many columns: 16 bytes of it each at a time. */
export function rowShare(columns: number): RowShare {
  staticAssert(columns % 8 === 0, `rows of ${columns} elements: only multiples of 8 are taken`)
  return { columns, vec: 8 }
}

/** Rows so few that the next kernel may begin before this one has what it waits for. */
const FEW_ROWS = 8

/**
 * Device: lets the launches around overlap this one. What stands before it must not depend on the kernel before. With few
 * rows the next kernel begins at once: it is a product, whose weights are on their way the earlier. With more, kernels over
 * rows in turns would pile up and all wait, at up to 3 µs each, so it begins when this one has what it waits for. It always
 * does where not `atOnce`: what the next kernel reads without waiting for this one is then all there. `rows` is their
 * number, that of CTAs unless given.
 */
export function overlapLaunches({
  atOnce = true,
  rows = gridDim.x,
}: {
  readonly atOnce?: boolean
  readonly rows?: i32
} = {}): void {
  if (target.capability < 90) return
  if (atOnce && rows <= FEW_ROWS) launchDependents()
  waitForPrevious()
  launchDependents()
}

/** Device: the calling thread's share of a row, in f32; places past its end hold 0. */
export const loadFloats = (
  src: In<number, string> | InOut<number, string>,
  row: readonly i32[],
  share: RowShare,
  dtype: HalfType,
): f32[] => loadRow(src, row, share, to(dtype, 0)).map((value) => f32(value))

/** Device: rounds the calling thread's share of a row to `dtype` and stores it. */
export function storeFloats(
  dst: Out<number, string> | InOut<number, string>,
  row: readonly i32[],
  share: RowShare,
  dtype: HalfType,
  values: readonly f32[],
): void {
  storeRow(
    dst,
    row,
    share,
    values.map((value) => to(dtype, value)),
  )
}

/** Bytes of 16-bit rows between a CTA's own and the one that it has brought into L2. With 12 MB lines are gone when wanted. */
const AHEAD_BYTES = 6 * 2 ** 20

/** Device: of the rows that `numbers` names, that of a later CTA, for `prefetchRow`; −1 past the last. */
export function numberAhead(numbers: In<i32, string>, columns: number): i32 {
  if (target.capability < 90) return -1
  const later = blockIdx.x + Math.max(1, Math.floor(AHEAD_BYTES / (2 * columns)))
  return later < gridDim.x ? numbers.at(later) : i32(-1)
}

/**
 * Device: has a row of a table brought into L2 for a later CTA, which can ask for it only when it knows its number. Numbers
 * outside of the table are none.
 */
export function prefetchRow(table: In<number, string>, number: i32, rows: i32, columns: number): void {
  if (target.capability < 90) return
  if (threadIdx.x === 0 && number >= 0 && number < rows) prefetchBulk(table, [number, 0], 2 * columns)
}
