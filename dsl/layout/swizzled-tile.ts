import type { DType } from '../dtype.ts'
import { dtypeBytes } from '../dtype.ts'
import { LayoutError } from './error.ts'
import type { Layout } from './layout.ts'
import { rowMajor, swizzled } from './layout.ts'
import { swizzle } from './swizzle.ts'

/**
 * The layout of a tile of shared memory that the copy engine writes and `wgmma` reads without bank conflicts: row-major,
 * rows of 32, 64 or 128 bytes, and their 16-byte chunks swizzled over as many bytes. Leading dimensions count stages.
 *
 * @throws LayoutError if a row has another length, or the rows before it are not a multiple of 8.
 */
export function swizzledTile(shape: readonly number[], dtype: DType): Layout {
  const bytes = shape.at(-1)! * dtypeBytes[dtype]
  const fail = (condition: string) => new LayoutError('swizzledTile', [shape.join('×'), dtype], condition)
  if (bytes !== 32 && bytes !== 64 && bytes !== 128) throw fail(`a row has 32, 64 or 128 bytes, not ${bytes}`)
  const rows = shape.at(-2) ?? 1
  if (rows % 8 !== 0) throw fail(`the rows are a multiple of 8, not ${rows}`)
  return swizzled(rowMajor(shape), swizzle(bytes, 8 * dtypeBytes[dtype])!)
}
