import { printPtx } from '../ptx/print.ts'
import type { Target } from '../target.ts'
import type { KernelIr } from './op.ts'
import { optimize } from './optimize.ts'
import { allocateShared } from './passes/allocate-shared.ts'
import { checkUniformity } from './passes/check-uniformity.ts'
import { checkWgmma } from './passes/check-wgmma.ts'
import { verify } from './verify.ts'

export { printIr } from './print.ts'
export { Refusal } from './refusal.ts'

export interface Lowered {
  readonly ptx: string
  /** Shared memory of one CTA in bytes. */
  readonly sharedBytes: number
  /** Files in the order of their `.file` numbers. */
  readonly files: string[]
}

/**
 * The PTX of a kernel. Throws `Refusal` for what its author did wrong: shared memory beyond the target's, threads that
 * do not come together to a barrier, an instruction that the target lacks. `optimize: false` prints the IR as it is.
 */
export function lower(ir: KernelIr, target: Target, options: { optimize?: boolean } = {}): Lowered {
  verify(ir)
  checkUniformity(ir)
  const allocated = allocateShared(ir, target)
  const final = options.optimize === false ? allocated.ir : optimize(allocated.ir)
  // Behind the passes, which remove the copies that the frontend makes of registers.
  if (options.optimize !== false) checkWgmma(final)
  const { ptx, files } = printPtx(final, target, allocated.align)
  return { ptx, sharedBytes: allocated.bytes, files }
}
