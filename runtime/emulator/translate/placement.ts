import type { Kernel, Register } from '../ptx/module.ts'
import { BitSet } from './bits.ts'
import { type Graph, isBarrier, isWait } from './graph.ts'
import { header } from './layout.ts'
import type { Liveness } from './liveness.ts'
import { reads, writes } from './operands.ts'
import type { Region } from './regions.ts'
import { laneBytes } from './types.ts'

/** Where registers live between regions, as offsets into the warp's state. */
export interface Placement {
  /** Registers of the lanes that outlive a region: start of their `[lane]` array. */
  readonly lanes: ReadonlyMap<number, number>
  /** Uniform registers that outlive a barrier, or, where another function may take over, any region. */
  readonly uniforms: ReadonlyMap<number, number>
  readonly bytes: number
}

/** Gives every register that needs one a place in the state of a warp. */
export function placeRegisters(
  kernel: Kernel,
  graph: Graph,
  liveness: Liveness,
  uniform: BitSet,
  regions: ReadonlyMap<number, Region>,
  divergentNodes: BitSet,
  handsOver: boolean,
): Placement {
  const crossing = new BitSet(kernel.registers.length)
  const saved = new BitSet(kernel.registers.length)
  // Where some lanes wait, the others keep what they need at places of their own.
  const waitsApart = graph.nodes.some(
    ({ id, collective }) => collective && isWait(collective) && divergentNodes.has(id),
  )
  const savesAll = handsOver || waitsApart
  for (const node of graph.nodes) {
    if (regions.has(node.id)) crossing.addAll(liveness.liveIn[node.id]!)
    if (savesAll) saved.addAll(liveness.liveIn[node.id]!)
    if (!node.collective) continue
    crossing.addAll(liveness.liveIn[node.id]!)
    for (const { id } of [...reads(node.collective), ...writes(node.collective)]) crossing.add(id)
    if (isBarrier(node.collective)) saved.addAll(liveness.liveOut[node.id]!)
    if (isWait(node.collective)) saved.addAll(liveness.liveIn[node.id]!)
  }
  let bytes: number = header.bytes
  const uniforms = new Map<number, number>()
  for (const id of saved) {
    if (!uniform.has(id)) continue
    uniforms.set(id, bytes)
    bytes += 8
  }
  bytes = Math.ceil(bytes / 64) * 64
  const lanes = new Map<number, number>()
  const place = (id: number): void => {
    if (uniform.has(id) || lanes.has(id)) return
    const register = kernel.registers[id] as Register
    lanes.set(id, bytes)
    bytes += 32 * laneBytes(register.type)
  }
  // The accumulators of a wgmma side by side, as its routine wants them.
  for (const { collective } of graph.nodes)
    if (collective?.op === 'wgmma') for (const { id } of writes(collective)) place(id)
  for (const id of crossing) place(id)
  return { lanes, uniforms, bytes }
}
