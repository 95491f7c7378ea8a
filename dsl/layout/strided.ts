import { LayoutError } from './error.ts'
import type { Layout } from './layout.ts'
import { layout } from './layout.ts'

/**
 * (thread, value) → index of `n` elements that `threads` threads share: each thread takes `vec` neighbours, the
 * threads side by side, and goes on `threads * vec` elements later.
 *
 * @throws LayoutError if `n` is not a multiple of `threads * vec`.
 */
export function strided(n: number, o: { readonly threads: number; readonly vec: number }): Layout {
  const turn = o.threads * o.vec
  if (!(turn > 0 && n % turn === 0)) {
    throw new LayoutError(
      'strided',
      [n, o.threads, o.vec],
      `${n} elements are not a multiple of ${turn} a turn`,
    )
  }
  return layout([o.threads, [o.vec, n / turn]], [o.vec, [1, turn]])
}
