import type { KernelIr, Node } from '../op.ts'
import { walk } from '../rewrite.ts'

/**
 * Relaxes the barrier of the cluster with which a kernel ends, so that CTAs read each other's shared memory before it is
 * gone: nothing is read behind it, so it need not wait until all that was written can be seen, which takes a fence of the
 * whole GPU and until the last results have left.
 *
 *     clusterBarrier  →  clusterBarrier relaxed=true
 *
 * Only where CTAs do nothing but load from each other: a load ends before its result is used, while a store or an arrival
 * may be on its way to a CTA when the one that sent it has passed the barrier.
 */
export function relaxLastBarrier(ir: KernelIr): KernelIr {
  const last = ir.body.findLastIndex(({ kind }) => kind !== 'return')
  const barrier = ir.body[last]
  if (barrier?.kind !== 'instruction' || barrier.op !== 'clusterBarrier') return ir
  let writes = false
  walk(ir.body, (node) => {
    if (writesToPeer(node)) writes = true
  })
  if (writes) return ir
  return { ...ir, body: ir.body.with(last, { ...barrier, attributes: { relaxed: true } }) }
}

/** Whether shared memory of another CTA is written, or its barriers are arrived at. */
function writesToPeer(node: Node): boolean {
  if (node.kind !== 'instruction') return false
  if (node.op === 'copyTensor') return node.args.slice(3).some(({ type }) => type === 'u32')
  return node.attributes.space === 'cluster' && node.op !== 'load'
}
