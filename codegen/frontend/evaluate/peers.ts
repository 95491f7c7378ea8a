import type { Register } from '../../ir/op.ts'
import { argumentNode } from './calls.ts'
import { indexValue } from './convert.ts'
import type { Evaluator } from './evaluator.ts'
import type { Index } from './memory.ts'
import type { CallSite, Value } from './values.ts'
import { constantValue } from './values.ts'

/** The other CTAs of a cluster, as `peer(rank)` names them. */

/** The argument of `peer(rank)`. */
export function peerRank(ev: Evaluator, rank: Value, site: CallSite): Index {
  requireCluster(ev, 'peer(rank)', site)
  const index = indexValue(ev, rank, argumentNode(site, 0), 'a rank')
  if (typeof index !== 'number' || (index >= 0 && index < ev.cluster)) return index
  throw ev.error('E0504', `there is no rank ${index} in a cluster of ${ev.cluster}`, site, {})
}

/** Refuses what needs other CTAs where there are none. */
export function requireCluster(ev: Evaluator, what: string, site: CallSite): void {
  if (ev.cluster > 1) return
  throw ev.error('E0415', `${what} names other CTAs of a cluster, and this kernel has none`, site, {
    help: 'say how many CTAs a cluster has in the options of the kernel: cluster: () => 2',
  })
}

/** The address that one in this CTA's shared memory has in a peer's. */
export function peerAddress(ev: Evaluator, address: Register, rank: Index): Register {
  const { operand } = typeof rank === 'number' ? constantValue('i32', rank) : rank
  return ev.emitter.value('peerAddress', 'u32', [address, operand])
}
