import type { Instruction, KernelIr } from './op.ts'
import { eliminateCommon } from './passes/eliminate-common.ts'
import { eliminateDead } from './passes/eliminate-dead.ts'
import { fold } from './passes/fold.ts'
import { foldAddresses } from './passes/fold-addresses.ts'
import { fuseProducts } from './passes/fuse-products.ts'
import { hoistInvariants } from './passes/hoist-invariants.ts'
import { joinConditions } from './passes/join-conditions.ts'
import { mergeMoves } from './passes/merge-moves.ts'
import { propagateCopies } from './passes/propagate-copies.ts'
import { regroupSums } from './passes/regroup-sums.ts'
import { relaxLastBarrier } from './passes/relax-last-barrier.ts'
import { verify } from './verify.ts'

export interface Pass {
  readonly name: string
  readonly run: (ir: KernelIr) => KernelIr
}

/**
 * The passes in their order. Copies are read through first, so that the others see where values come from; dead code
 * goes before `mergeMoves` and `fuseProducts`, which count reads. Twins that `foldAddresses` makes want another round.
 */
export const passes: readonly Pass[] = [
  { name: 'propagateCopies', run: propagateCopies },
  { name: 'eliminateDead', run: eliminateDead },
  { name: 'mergeMoves', run: mergeMoves },
  { name: 'fold', run: fold },
  { name: 'eliminateCommon', run: eliminateCommon },
  { name: 'propagateCopies', run: propagateCopies },
  { name: 'foldAddresses', run: foldAddresses },
  { name: 'fold', run: fold },
  { name: 'eliminateCommon', run: eliminateCommon },
  { name: 'propagateCopies', run: propagateCopies },
  { name: 'eliminateDead', run: eliminateDead },
  { name: 'hoistInvariants', run: hoistInvariants },
  { name: 'regroupSums', run: regroupSums },
  { name: 'hoistInvariants', run: hoistInvariants },
  { name: 'eliminateCommon', run: eliminateCommon },
  { name: 'propagateCopies', run: propagateCopies },
  { name: 'eliminateDead', run: eliminateDead },
  { name: 'fuseProducts', run: fuseProducts },
  { name: 'mergeMoves', run: mergeMoves },
  { name: 'joinConditions', run: joinConditions },
  { name: 'relaxLastBarrier', run: relaxLastBarrier },
]

/** Runs every pass, and verifies what each leaves. */
export function optimize(ir: KernelIr): KernelIr {
  const sound = new Set<Instruction>()
  return passes.reduce((current, { name, run }) => {
    const next = run(current)
    verify(next, name, sound)
    return next
  }, ir)
}
