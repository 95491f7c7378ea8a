import type { KernelIr } from '../op.ts'
import { Refusal } from '../refusal.ts'
import { ops } from '../spec.ts'
import { type Divergence, uniformity } from '../uniformity.ts'

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
}

function refusal({ node, level, cause, jump }: Divergence): Refusal {
  const isCta = ops[node.op]!.scope === 'cta'
  const who = isCta ? 'all threads of the block' : 'all lanes of the warp'
  const apart = level === 2 ? 'differs between the lanes of a warp' : 'differs between warps'
  const how = jump
    ? `some threads take the ${jump} under this condition, which ${apart}`
    : `this condition ${apart}`
  return new Refusal(
    isCta ? 'E0602' : 'E0603',
    `${names[node.op]} must be reached by ${who} together, and is not`,
    {
      location: node.location,
      notes: [{ message: how, location: cause }],
      help: jump
        ? `move ${names[node.op]} before the ${jump}, or guard the work between them with an if instead`
        : `move ${names[node.op]} out of the condition, and leave only the work under it`,
    },
  )
}
