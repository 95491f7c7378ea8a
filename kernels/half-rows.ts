import {
  arriveExpecting,
  barrier,
  barriers,
  blockIdx,
  ceilDiv,
  clusterBarrier,
  clusterRank,
  clusterSize,
  copyBulk,
  f32,
  fenceBarrierInit,
  gridDim,
  type In,
  type InOut,
  i32,
  idiv,
  initBarrier,
  launchDependents,
  type Out,
  range,
  type Shared,
  shared,
  staticAssert,
  target,
  threadIdx,
  to,
  unroll,
  waitBarrier,
  waitForPrevious,
} from '../dsl/index.ts'
import type { KernelOptions } from '../dsl/kernel.ts'
import { loadRow, type RowShare, storeRow } from '../dsl/std/index.ts'

/**
 * What kernels over rows of 16-bit floats share.
 *
 * A CTA takes whole rows, with a number of threads that follows from the columns alone: what a row gives does not depend
 * on the others. It keeps a row in registers from the one reading to the one writing. Where there are more rows than
 * CTAs it takes several, and the copy engine brings the next ones into a ring of shared memory meanwhile.
 */

export type HalfType = 'f16' | 'bf16'

/** How CTAs take rows. */
export interface RowPlan {
  readonly threads: number
  /** Rows of the ring; 0 loads a row when it is its turn. */
  readonly stages: number
  /** CTAs of a launch at most. */
  readonly ctas: number
  /** CTAs that should fit a multiprocessor. */
  readonly ctasPerMultiprocessor?: number
  /** CTAs that share a row. */
  readonly cluster?: number
  /** Whether the next launch may begin only when the previous one has ended. */
  readonly late?: boolean
}

/** Constants that every kernel over rows has. */
export interface RowConfig {
  readonly dtype: HalfType
  /** How CTAs take rows, where that is not to follow from the columns. */
  readonly plan?: RowPlan
}

/** Threads of a CTA that works on one row: 16 elements each in whole warps, more only where there are no more threads. */
export const rowThreads = (columns: number): number => Math.min(1024, 32 * ceilDiv(columns, 16 * 32))

/** The plan of a kernel over rows of so many columns. */
export function rowPlan(columns: number, { plan }: RowConfig): RowPlan {
  const threads = rowThreads(columns)
  // Registers for 1024 threads at least.
  return (
    plan ?? {
      threads,
      stages: 0,
      ctas: 2 ** 20,
      ctasPerMultiprocessor: Math.max(1, Math.floor(1024 / threads)),
      late: true,
    }
  )
}

/** Grid, CTA and registers of a kernel over rows, of which `columns` says how long they are. */
export const rowOptions = <C extends RowConfig>(columns: (c: C) => number): KernelOptions<C> => ({
  grid: (d, c) => {
    const { ctas, cluster = 1 } = rowPlan(columns(c), c)
    return [cluster * Math.min(d.T!, ctas)]
  },
  cluster: (c) => rowPlan(columns(c), c).cluster ?? 1,
  block: (c) => [rowPlan(columns(c), c).threads],
  blocksPerMultiprocessor: (c) => rowPlan(columns(c), c).ctasPerMultiprocessor ?? 1,
})

/** A tensor of which a row is read, and the leading indices of that. */
export interface RowSource {
  readonly src: In<number, string> | InOut<number, string>
  readonly at: (row: i32) => readonly i32[]
}

/** A row at hand. */
export interface Row {
  readonly index: i32
  readonly share: RowShare
  /** The calling thread's share of the row of a source, in f32; places past its end hold 0. */
  readonly take: (source: number) => f32[]
  /** To be called by all threads behind a barrier behind the last `take`. */
  readonly release: () => void
}

/** Device: calls `use` for each row of the CTA. Starts the next kernel early, and waits for the one before. */
export function eachRow(
  rows: i32,
  columns: number,
  c: RowConfig,
  sources: readonly RowSource[],
  use: (row: Row) => void,
): void {
  const { stages, late } = { late: false, ...rowPlan(columns, c) }
  const share = shareOf(columns)
  if (stages > 0) {
    eachRowOfRing(rows, share, c.dtype, stages, late, sources, use)
    return
  }
  if (clusterSize > 1) clusterBarrier()
  overlapLaunches(late)
  for (const index of range(idiv(blockIdx.x, clusterSize), rows, idiv(gridDim.x, clusterSize))) {
    const take = (source: number) => {
      const { src, at } = sources[source]!
      return loadFloats(src, at(index), share, c.dtype)
    }
    use({ index, share, take, release: () => {} })
  }
}

/** Device: how the threads of a CTA share a row, or its cluster's part of it. */
export function shareOf(columns: number): RowShare {
  staticAssert(
    columns % (8 * clusterSize) === 0,
    `rows of ${columns} elements do not come out even: each of their CTAs (here ${clusterSize}) takes a multiple of 8`,
  )
  if (clusterSize === 1) return { columns, vec: 8 }
  return { columns: columns / clusterSize, vec: 8, first: clusterRank * (columns / clusterSize) }
}

/** Device: what a kernel does that the launches around it may overlap, behind what does not depend on them. */
export function overlapLaunches(late = false): void {
  if (target.capability < 90) return
  if (!late) launchDependents()
  waitForPrevious()
  if (late) launchDependents()
}

function eachRowOfRing(
  rows: i32,
  share: RowShare,
  dtype: HalfType,
  stages: number,
  late: boolean,
  sources: readonly RowSource[],
  use: (row: Row) => void,
): void {
  const tiles = sources.map(() => shared<number>(dtype, [stages, share.columns]))
  const full = barriers(stages)
  const [first, step] = [idiv(blockIdx.x, clusterSize), idiv(gridDim.x, clusterSize)]
  if (threadIdx.x === 0) {
    for (const stage of unroll(stages)) initBarrier(full, stage, 1)
    fenceBarrierInit()
  }
  barrier()
  const fill = (row: i32, stage: i32) => {
    arriveExpecting(full, stage, 2 * share.columns * sources.length)
    sources.forEach(({ src, at }, i) => {
      copyBulk(tiles[i]!, [stage, 0], src, [...at(row), share.first ?? 0], 2 * share.columns, full, stage)
    })
  }
  if (clusterSize > 1) clusterBarrier()
  overlapLaunches(late)
  if (threadIdx.x === 0) {
    for (const stage of unroll(stages)) {
      const row = first + stage * step
      if (row < rows) fill(row, stage)
    }
  }
  let stage: i32 = 0
  let parity: i32 = 0
  for (const index of range(first, rows, step)) {
    const mine = i32(stage)
    waitBarrier(full, mine, parity)
    use({
      index,
      share,
      take: (source) => loadFloats(tiles[source]!, [mine], { ...share, first: 0 }, dtype),
      release: () => {
        const next = index + stages * step
        if (threadIdx.x === 0 && next < rows) fill(next, mine)
      },
    })
    stage += 1
    if (stage === stages) {
      stage = 0
      parity = 1 - parity
    }
  }
}

/** Device: the calling thread's share of a row, in f32; places past its end hold 0. */
export const loadFloats = (
  src: In<number, string> | InOut<number, string> | Shared<number>,
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
