import { scratchBytes } from '../translate/collective.ts'
import { windowStride } from '../translate/layout.ts'
import type { Heap } from './heap.ts'

const align = (value: number, to: number): number => Math.ceil(value / to) * to

/** Where the private memory of one worker holds what a kernel needs, as offsets from its start. */
export interface ArenaLayout {
  readonly scratch: number
  readonly params: number
  /** The shared windows of a cluster's CTAs, aligned so that swizzled addresses behave as on a GPU. */
  readonly shared: number
  /** Of one CTA. */
  readonly sharedBytes: number
  /** CTAs of a cluster. */
  readonly cluster: number
  /** The states of all warps of a cluster. */
  readonly states: number
  readonly stateBytes: number
  readonly bytes: number
}

/** The parameter space of a kernel: PTX manual, "Kernel Function Parameters". */
const maxParamBytes = 4352

export function layOutArena(
  warps: number,
  stateBytes: number,
  sharedBytes: number,
  cluster: number,
): ArenaLayout {
  const params = align(scratchBytes, 64)
  const shared = align(params + maxParamBytes, 1024)
  const states = align(shared + cluster * windowStride(sharedBytes), 64)
  // An odd number of cache lines apart, so that the same register of all warps does not fall into one cache set.
  const padded = align(stateBytes, 128) + 64
  const bytes = states + cluster * warps * padded
  return { scratch: 0, params, shared, sharedBytes, cluster, states, stateBytes: padded, bytes }
}

const arenaAlignment = 1024

/** The private memory of one worker: grown, and then elsewhere, when a kernel needs more. */
export class Arena {
  address = 0
  private bytes = 0
  private allocated: number | undefined

  /** Makes room; tells whether the arena moved. */
  require(heap: Heap, bytes: number): boolean {
    if (this.bytes >= bytes) return false
    if (this.allocated !== undefined) heap.free(this.allocated)
    this.allocated = heap.allocatePrivate(bytes + arenaAlignment)
    this.address = align(this.allocated, arenaAlignment)
    this.bytes = bytes
    return true
  }
}
