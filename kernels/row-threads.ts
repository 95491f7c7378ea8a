import { ceilDiv } from '../dsl/index.ts'

/** Threads of a CTA that works on one row: 8 elements each where the row allows, in whole warps, 512 at most. */
export const rowThreads = (columns: number): number => Math.min(512, 32 * ceilDiv(columns, 8 * 32))
