import {
  blockDim,
  copyAsync,
  each,
  idiv,
  load,
  regs,
  staticAssert,
  store,
  threadIdx,
  unroll,
} from '../intrinsics.ts'
import { ceilDiv } from '../math.ts'
import type { i32 } from '../scalars.ts'
import type { In, InOut, Out, Shared } from '../tensor.ts'

/** How the threads of a CTA share one row: each takes `vec` neighbouring elements, then those one turn later. */
export interface RowShare {
  readonly columns: number
  /** Elements of one access: `columns` must be a multiple. */
  readonly vec: number
  /** Threads that take part, from thread 0; all of the CTA unless given. */
  readonly threads?: number
}

const threadsOf = (share: RowShare): number => share.threads ?? blockDim.x

/** Turns that a row takes. */
export const turnsOf = (share: RowShare): number => ceilDiv(share.columns, threadsOf(share) * share.vec)

/** The first column of the calling thread in a turn; past the end where the row does not fill the last turn. */
export const columnOf = (share: RowShare, turn: number): i32 =>
  threadIdx.x * share.vec + turn * threadsOf(share) * share.vec

/** Whether every thread has elements in a turn: static. */
const isFull = (share: RowShare, turn: number): boolean =>
  (turn + 1) * threadsOf(share) * share.vec <= share.columns && threadsOf(share) === blockDim.x

/** Whether the calling thread has elements in a turn: static where all have. */
export const hasColumns = (share: RowShare, turn: number): boolean =>
  isFull(share, turn) || (columnOf(share, turn) < share.columns && threadIdx.x < threadsOf(share))

/** A row that ends within an access would be read, and written, past its end. */
const checkWhole = (share: RowShare): void =>
  staticAssert(
    share.columns % share.vec === 0,
    `a row of ${share.columns} columns cannot be shared in accesses of ${share.vec}; take a vec that divides it`,
  )

/**
 * The calling thread's elements of a row, `vec` for each turn; `row` is the index of all dimensions but the last.
 * Places past the end of the row hold `fallback`.
 */
export function loadRow<T extends number>(
  src: In<T, string, string> | InOut<T, string, string> | Shared<T>,
  row: readonly i32[],
  share: RowShare,
  fallback: T,
): T[] {
  checkWhole(share)
  return each(turnsOf(share), (turn) => {
    if (isFull(share, turn)) return load(src, [...row, columnOf(share, turn)], share.vec)
    const values = regs(share.vec, fallback)
    if (hasColumns(share, turn)) {
      const loaded = load(src, [...row, columnOf(share, turn)], share.vec)
      for (const i of unroll(share.vec)) values[i] = loaded[i]!
    }
    return values
  }).flat() as T[]
}

/** Stores what `loadRow` would give to the calling thread; places past the end of the row are left out. */
export function storeRow<T extends number>(
  dst: Out<T, string, string> | InOut<T, string, string> | Shared<T>,
  row: readonly i32[],
  share: RowShare,
  values: readonly T[],
): void {
  checkWhole(share)
  for (const turn of unroll(turnsOf(share))) {
    const mine = values.slice(turn * share.vec, (turn + 1) * share.vec)
    if (hasColumns(share, turn)) store(dst, [...row, columnOf(share, turn)], mine)
  }
}

/** A tile of a row-major matrix on its way to shared memory; extents in elements. */
export interface TileCopy {
  /** First row and column of the tile in the matrix. */
  readonly row: i32
  readonly column: i32
  /** Rows of the matrix: those of the tile past it are filled with zeros. */
  readonly validRows: i32
  /** Columns of the matrix, likewise, a multiple of 16 bytes; without it the tile ends within the row. */
  readonly validColumns?: number
  readonly rows: number
  readonly columns: number
  readonly elementBytes: number
}

/**
 * Starts the copy of a tile by all threads, 16 bytes each with `cp.async`. `dst` has the indices
 * [column chunk, row, element within the chunk], where a chunk is 16 bytes: eight rows of one chunk are neighbours, so
 * that `ldmatrix` is free of bank conflicts at addresses that differ by constants (an xor swizzle is free of conflicts
 * too, but costs arithmetic for each access).
 */
export function copyTile<T extends number>(
  dst: Shared<T>,
  src: In<T, string, string> | InOut<T, string, string>,
  tile: TileCopy,
): void {
  const width = 16 / tile.elementBytes
  const chunks = tile.columns / width
  const copies = chunks * tile.rows
  for (const turn of unroll(ceilDiv(copies, blockDim.x))) {
    const copy = threadIdx.x + turn * blockDim.x
    // Eight lanes take eight rows of a chunk, which fills all banks once, and the next eight the chunk beside it.
    const inRows = copy & 7
    const chunk = (copy >>> 3) % chunks
    const row = idiv(copy >>> 3, chunks) * 8 + inRows
    const from = tile.row + row
    const column = tile.column + chunk * width
    const inRow = tile.validColumns === undefined || column < tile.validColumns
    if ((turn + 1) * blockDim.x <= copies || copy < copies) {
      copyAsync(dst, [chunk, row, 0], src, [from, column], 16, from < tile.validRows && inRow)
    }
  }
}
