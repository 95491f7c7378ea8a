import {
  addFloats,
  blockIdx,
  each,
  f32,
  type i32,
  load,
  loadWords,
  namedBarrier,
  regs,
  type Shared,
  shared,
  store,
  storeWords,
  swizzledTile,
  threadIdx,
  u32,
  unroll,
  waitBulk,
} from '../../dsl/index.ts'
import type { TileSums } from './wgmma-epilogue.ts'
import { pieceQuad } from './wgmma-plan.ts'
import type { WgmmaProduct } from './wgmma-product.ts'

/**
 * How the sums of a tile's slices of K are added up where registers have room for those of one slice alone: those of the
 * slices before wait in memory. Some wait in shared memory, if the tiles hold any, the others in device memory, where the L2
 * cache adds the next ones to them, and nobody waits for that. Each thread has a place of its own for its sums, four to a
 * place, so that no order among threads is needed.
 */

type Sums = Pick<TileSums, 'rowGroup' | 'acc'>

/** Quads that the registers have room for beside all sums and operands. */
const FETCHED = 6

/** Four sums of a thread, from the `i`-th of a block's on, and their number among the thread's. */
interface Quad {
  readonly sums: number[]
  readonly i: number
  readonly index: number
}

/** Those that wait in shared memory, and those that wait in `scratch`. */
function quadsOf({ c, plan }: WgmmaProduct, { acc }: Sums): { held: Quad[]; parked: Quad[] } {
  const ofBlock = c.tokens / 8
  const all = acc.flatMap((sums, b) => each(ofBlock, (q) => ({ sums, i: 4 * q, index: b * ofBlock + q })))
  return { held: all.slice(0, plan.held), parked: all.slice(plan.held) }
}

const warpgroupThread = (): i32 => threadIdx.x & 127

/** Where a quad waits in shared memory, [warpgroup, quad, ...thread and sum], and in `scratch`. */
const heldAt = ({ rowGroup }: Sums, { index }: Quad): readonly i32[] => [
  rowGroup,
  index,
  warpgroupThread() >>> 3,
  (warpgroupThread() & 7) * 4,
]
const parkedAt = ({ c }: WgmmaProduct, { rowGroup }: Sums, { index }: Quad): readonly i32[] => [
  pieceQuad(c, blockIdx.x, rowGroup) + warpgroupThread() + index * 128,
  0,
]

/** Shared memory for the sums that wait there. */
export const holdSums = ({ c, plan }: WgmmaProduct): Shared<number> | undefined =>
  plan.held === 0 ? undefined : shared<number>('f32', swizzledTile([c.rowGroups, plan.held, 16, 32], 'f32'))

/** The next few of the sums that wait in `scratch`. */
function fetch(g: WgmmaProduct, o: Sums, from: number): readonly f32[] {
  const few = quadsOf(g, o).parked.slice(from, from + FETCHED)
  return few.flatMap((quad) => loadWords(g.a.scratch!, parkedAt(g, o, quad), 4).map((word) => f32.bits(word)))
}

/** The first few of them, while the last products are under way, if the slice is the last and not the first. */
export function fetchParked(g: WgmmaProduct, o: Sums, isWanted: boolean): readonly f32[] {
  const fetched = regs<f32>(4 * Math.min(FETCHED, quadsOf(g, o).parked.length), f32(0))
  if (isWanted)
    fetch(g, o, 0).forEach((sum, i) => {
      fetched[i] = sum
    })
  return fetched
}

/** Adds sums of the slices before to those of a quad. */
function add({ sums, i }: Quad, before: readonly number[]): void {
  for (const j of unroll(4)) sums[i + j] = before[j]! + sums[i + j]!
}

/**
 * Behind a slice: puts its sums to those of the slices before, or, behind the last one, those to its own, so that `acc` holds
 * the sums of all.
 *
 * @param memory what `holdSums` gives.
 * @param fetched what `fetchParked` gives.
 * @param isFirst whether the slice is the first that has columns.
 * @param isLast whether it is the last.
 */
export function joinSlice(
  g: WgmmaProduct,
  memory: Shared<number> | undefined,
  o: Sums,
  fetched: readonly f32[],
  isFirst: boolean,
  isLast: boolean,
): void {
  const { held, parked } = quadsOf(g, o)
  const scratch = g.a.scratch!
  const barrierId = 1 + o.rowGroup
  if (isLast) {
    if (!isFirst) {
      let few = fetched
      for (const from of unroll(0, Math.max(1, parked.length), FETCHED)) {
        parked.slice(from, from + FETCHED).forEach((quad, q) => {
          add(quad, few.slice(4 * q, 4 * q + 4))
        })
        few = fetch(g, o, from + FETCHED)
        if (from === 0) for (const quad of held) add(quad, load(memory!, heldAt(o, quad), 4))
      }
    }
    // Staging tiles, into which a residual may come at once, lie over what was held.
    if (memory !== undefined) namedBarrier(barrierId, 128)
    return
  }
  if (isFirst) {
    if (memory !== undefined) {
      // The stores of the tile before have left the staging tiles.
      if (warpgroupThread() === 0) waitBulk(0, { read: true })
      namedBarrier(barrierId, 128)
    }
    for (const quad of held) store(memory!, heldAt(o, quad), own(quad))
    for (const quad of parked)
      storeWords(
        scratch,
        parkedAt(g, o, quad),
        own(quad).map((sum) => u32.bits(f32(sum))),
      )
    return
  }
  for (const quad of held) {
    const before = load(memory!, heldAt(o, quad), 4)
    store(
      memory!,
      heldAt(o, quad),
      own(quad).map((sum, j) => before[j]! + sum),
    )
  }
  for (const quad of parked) addFloats(scratch, parkedAt(g, o, quad), own(quad))
}

const own = ({ sums, i }: Quad): readonly number[] => sums.slice(i, i + 4)
