import type { Kernel, Register } from '../ptx/module.ts'
import { BitSet } from './bits.ts'
import { type Graph, isBarrier } from './graph.ts'
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
  handsOver: boolean,
): Placement {
  const crossing = new BitSet(kernel.registers.length)
  const saved = new BitSet(kernel.registers.length)
  for (const node of graph.nodes) {
    if (regions.has(node.id)) crossing.addAll(liveness.liveIn[node.id]!)
    if (handsOver) saved.addAll(liveness.liveIn[node.id]!)
    if (!node.collective) continue
    crossing.addAll(liveness.liveIn[node.id]!)
    for (const { id } of [...reads(node.collective), ...writes(node.collective)]) crossing.add(id)
    if (isBarrier(node.collective)) saved.addAll(liveness.liveOut[node.id]!)
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
  for (const id of crossing) {
    if (uniform.has(id)) continue
    const register = kernel.registers[id] as Register
    lanes.set(id, bytes)
    bytes += 32 * laneBytes(register.type)
  }
  return { lanes, uniforms, bytes }
}
