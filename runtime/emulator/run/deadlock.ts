import { waits } from '../translate/layout.ts'
import { KernelFault, lineOf } from './fault.ts'
import { readBarrier } from './mbarrier.ts'

/** A warp that cannot go on. */
export interface WaitingWarp {
  readonly rank: number
  readonly warp: number
  /** One of `waits`. */
  readonly wait: number
  /** The number of the instruction that waits. */
  readonly instruction: number
  /** A barrier's number and thread count, or an mbarrier's address and the parity waited for. */
  readonly barrier: number
  readonly parity: number
  /** Address of the CTA's shared window. */
  readonly window: number
}

/** The fault of warps that wait for each other, or for what never comes. */
export function describeDeadlock(
  waiting: readonly WaitingWarp[],
  running: number,
  ctas: number,
  words: Int32Array,
): KernelFault {
  if (waiting.every(({ wait }) => wait === waits.barrier))
    return new KernelFault(
      'EMULATOR_DIVERGENT_BARRIER',
      `${running} warps wait at barriers that the other warps never reach`,
    )
  const groups = new Map<string, WaitingWarp[]>()
  for (const warp of waiting) {
    const key = `${warp.rank} ${warp.wait} ${warp.instruction} ${warp.barrier} ${warp.parity}`
    groups.set(key, [...(groups.get(key) ?? []), warp])
  }
  const list = [...groups.values()].map((group) => {
    const [first] = group as [WaitingWarp]
    const numbers = group.map(({ warp }) => warp).join(', ')
    const who = `warp${group.length > 1 ? 's' : ''} ${numbers}${ctas > 1 ? ` of CTA ${first.rank} of the cluster` : ''}`
    return `${who} at ${lineOf(first.instruction)}: ${describeWait(first, words)}`
  })
  const { instruction } = waiting.find(({ wait }) => wait === waits.phase) ?? waiting[0]!
  const lacksBytes = waiting.some(({ wait, barrier }) => {
    if (wait !== waits.phase) return false
    const { pending, bytes } = readBarrier(words, barrier >>> 2)
    return pending === 0 && bytes !== 0
  })
  const code = lacksBytes ? 'EMULATOR_BARRIER_BYTES' : 'EMULATOR_DEADLOCK'
  return new KernelFault(code, `no warp can go on: ${list.join('; ')}`, instruction)
}

function describeWait({ wait, barrier, parity, window }: WaitingWarp, words: Int32Array): string {
  if (wait === waits.cluster) return 'the cluster barrier, which other warps never reach'
  if (wait === waits.barrier) return `barrier ${barrier}, which other warps never reach`
  const state = readBarrier(words, barrier >>> 2)
  const missing = [
    state.pending > 0 ? `${state.pending} of ${state.expected} arrivals` : '',
    state.bytes > 0 ? `${state.bytes} bytes` : '',
    state.bytes < 0 ? `the announcement of ${-state.bytes} bytes that were copied` : '',
  ].filter((text) => text !== '')
  const offset = (barrier >>> 0) - (window >>> 0)
  return (
    `the mbarrier at shared offset 0x${offset.toString(16)}, phase of parity ${parity}; ` +
    `its current phase has parity ${state.parity} and lacks ${missing.join(' and ') || 'nothing'}`
  )
}
