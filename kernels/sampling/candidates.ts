import {
  atomicAdd,
  barrier,
  blockDim,
  type f32,
  i32,
  idiv,
  range,
  type Shared,
  shared,
  threadIdx,
  unroll,
} from '../../dsl/index.ts'
import {
  groupPieces,
  groupsOf,
  type Logits,
  loadNeighbours,
  ownTile,
  pieceLogits,
  pieceStart,
} from './groups.ts'

/** A row's few logits that may be chosen, in shared memory, in no order. */
export interface Candidates {
  readonly values: Shared<f32>
  readonly ids: Shared<i32>
  readonly weights: Shared<f32>
  /** Groups to look into, and how many; candidates found, which may be more than there is room for. */
  readonly groups: Shared<i32>
  readonly counts: Shared<i32>
  readonly room: number
}

/** Room for candidates of rows of `V` logits. `counts` must be cleared, and a barrier passed, before they are gathered. */
export function makeCandidates(V: number, room: number): Candidates {
  return {
    values: shared<f32>('f32', [room + PADDING]),
    ids: shared<i32>('i32', [room]),
    weights: shared<f32>('f32', [room]),
    groups: shared<i32>('i32', [groupsOf(V)]),
    counts: shared<i32>('i32', [2]),
    room,
  }
}

/** Values are read by fours. */
const PADDING = 4
/** Logits that a thread has under way. */
const UNDER_WAY = 16

/**
 * Device: lists the groups whose largest logit `keeps` accepts; returns how many. Holds a barrier; once for each clearing of
 * the counts.
 */
export function listGroups(
  pool: Candidates,
  warps: number,
  largest: readonly f32[],
  keeps: (top: f32) => boolean,
): i32 {
  largest.forEach((top, turn) => {
    if (keeps(top)) {
      const group = 32 * ownTile(turn, warps) + (threadIdx.x & 31)
      pool.groups.put(group, atomicAdd(pool.counts, [0], i32(1)))
    }
  })
  barrier()
  return pool.counts.at(0)
}

/** Device: calls `use` for every logit of the listed groups, spread over the threads; ids outside of the row come as −∞. */
export function eachListed(
  pool: Candidates,
  logits: Logits,
  V: number,
  listed: i32,
  use: (logit: f32, id: i32) => void,
): void {
  const { dtype } = logits
  const width = pieceLogits(dtype)
  // As many lanes as a group has pieces read it together.
  const lanes = groupPieces(dtype)
  const reads = UNDER_WAY / width
  const teams = blockDim.x / lanes
  const team = idiv(threadIdx.x, lanes)
  const piece = threadIdx.x & (lanes - 1)
  for (const start of range(0, listed, teams * reads)) {
    const pieces = Array.from({ length: reads }, (_, read) => {
      const at = start + read * teams + team
      const group = pool.groups.at(Math.min(at, listed - 1))
      const first = pieceStart(dtype, group >> 5, group & 31, piece)
      // A piece past the end of the list is one outside of the row.
      const id = at < listed ? first : i32(V)
      return { id, values: loadNeighbours(logits, V, id, width) }
    })
    for (const { id, values } of pieces) {
      for (const i of unroll(width)) use(values[i]!, id + i)
    }
  }
}

/**
 * Device: gathers the logits of the listed groups that are not below `floor`; returns how many there are, which may be more
 * than there is room for. Holds a barrier.
 */
export function gather(pool: Candidates, logits: Logits, V: number, listed: i32, floor: f32): i32 {
  eachListed(pool, logits, V, listed, (logit, id) => {
    if (logit >= floor) {
      const at = atomicAdd(pool.counts, [1], i32(1))
      if (at < pool.room) {
        pool.values.put(logit, at)
        pool.ids.put(id, at)
      }
    }
  })
  barrier()
  return pool.counts.at(1)
}

/** Device: calls `use` for the calling thread's share of the first `count` candidates, the same each time. */
export function eachCandidate(count: i32, use: (at: i32) => void): void {
  for (const at of range(threadIdx.x, count, blockDim.x)) use(at)
}
