import type { KernelIr } from '../op.ts'
import { Refusal, type RefusalCode } from '../refusal.ts'
import { ops, type Scope } from '../spec.ts'
import { type Divergence, level as levels, uniformity } from '../uniformity.ts'

/**
 * Refuses a kernel whose threads do not come together to a barrier, or whose lanes do not come together to a
 * warp-wide operation: on a GPU such a kernel hangs, or reads registers of lanes that are elsewhere.
 */
export function checkUniformity(ir: KernelIr): void {
  const [first] = uniformity(ir).divergences
  if (first) throw refusal(first)
}

/** As the language calls the operations. */
const names: Readonly<Record<string, string>> = {
  barrier: 'barrier()',
  syncWarp: 'syncWarp()',
  vote: 'a vote',
  ballot: 'ballot()',
  redux: 'a reduction over the warp',
  shuffle: 'a shuffle',
  mma: 'mma()',
  ldmatrix: 'ldmatrix()',
  stmatrix: 'stmatrix()',
  namedBarrier: 'namedBarrier()',
  namedArrive: 'namedArrive()',
  wgmma: 'wgmma()',
  wgmmaFence: 'wgmmaFence()',
  wgmmaCommit: 'wgmmaCommit()',
  wgmmaWait: 'wgmmaWait()',
  increaseRegisters: 'increaseRegisters()',
  decreaseRegisters: 'decreaseRegisters()',
  clusterBarrier: 'clusterBarrier()',
}

/** Who comes together to operations of each scope. */
const scopes: Readonly<Record<Scope, { readonly code: RefusalCode; readonly who: string }>> = {
  warp: { code: 'E0603', who: 'all lanes of the warp' },
  warpgroup: { code: 'E0605', who: 'all warps of the warpgroup' },
  cta: { code: 'E0602', who: 'all threads of the block' },
  cluster: { code: 'E0602', who: 'all threads of the cluster' },
}

function refusal({ node, level, cause, jump }: Divergence): Refusal {
  const { code, who } = scopes[ops[node.op]!.scope!]
  const apart =
    level === levels.none
      ? 'differs between the lanes of a warp'
      : level === levels.warp
        ? 'differs between warps'
        : 'differs between warpgroups'
  const how = jump
    ? `some threads take the ${jump} under this condition, which ${apart}`
    : `this condition ${apart}`
  return new Refusal(code, `${names[node.op]} must be reached by ${who} together, and is not`, {
    location: node.location,
    notes: [{ message: how, location: cause }],
    help: jump
      ? `move ${names[node.op]} before the ${jump}, or guard the work between them with an if instead`
      : `move ${names[node.op]} out of the condition, and leave only the work under it`,
  })
}
