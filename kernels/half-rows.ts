import { ceilDiv, f32, type In, type i32, type Out, to } from '../dsl/index.ts'
import { loadRow, type RowShare, storeRow } from '../dsl/std/index.ts'

/** What kernels over rows of 16-bit floats share. */

/** Threads of a CTA that works on one row: 8 elements each where the row allows, in whole warps, 512 at most. */
export const rowThreads = (columns: number): number => Math.min(512, 32 * ceilDiv(columns, 8 * 32))

/** Device: the calling thread's share of a row, in f32; places past its end hold 0. */
export const loadFloats = (
  src: In<number, string>,
  row: readonly i32[],
  share: RowShare,
  dtype: 'f16' | 'bf16',
): f32[] => loadRow(src, row, share, to(dtype, 0)).map((value) => f32(value))

/** Device: rounds the calling thread's share of a row to `dtype` and stores it. */
export function storeFloats(
  dst: Out<number, string>,
  row: readonly i32[],
  share: RowShare,
  dtype: 'f16' | 'bf16',
  values: readonly f32[],
): void {
  storeRow(
    dst,
    row,
    share,
    values.map((value) => to(dtype, value)),
  )
}
