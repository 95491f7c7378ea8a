import type { RowOptions } from '../kernels/cases/rows.ts'
import { halfTypes } from './halfs.ts'

/**
 * Shapes for kernels over rows on a GPU: rows shorter than a warp's accesses, ends within an access and within a turn, the
 * widths of models up to `widest`, and more rows than a multiprocessor takes at a time. Long rows are few: what their number
 * may break shows in short ones.
 */
export function* eachRowShape(widest: number): Generator<RowOptions> {
  for (const dtype of halfTypes)
    for (const H of [8, 40, 64, 256, 264, 640, 1408, 4096, 5120, 11008, 14336, widest])
      for (const T of [1, 3, 17, 130]) if (T * H <= 2 ** 19 || T < 3) yield { T, H, dtype, seed: T * H }
  // Several rows a CTA.
  yield { T: 3000, H: 64, dtype: 'f16', seed: 1 }
  yield { T: 2200, H: 264, dtype: 'bf16', seed: 2 }
}
