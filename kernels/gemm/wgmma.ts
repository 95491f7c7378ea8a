import {
  groupOffset,
  groupOfLoad,
  loadGroups,
  loadOffset,
  unitCodeWords,
  unitColumns,
  unitRows,
} from '../../dsl/format.ts'
import {
  clusterBarrier,
  decreaseRegisters,
  each,
  f32,
  i32,
  idiv,
  increaseRegisters,
  loadWords,
  matrixOperand,
  namedArrive,
  namedBarrier,
  range,
  regs,
  type Shared,
  staticAssert,
  syncWarp,
  threadIdx,
  type u32,
  unroll,
  waitBulk,
  waitCopies,
  waitForPrevious,
  warpgroupIdx,
  warpIdx,
  wgmma,
  wgmmaAtom,
  wgmmaCommit,
  wgmmaFence,
  wgmmaWait,
} from '../../dsl/index.ts'
import { advance, type Cursor, consumerCursor, initRing, release, waitFull } from '../../dsl/std/index.ts'
import { checkFinish } from './epilogue.ts'
import {
  eachTile,
  endStep,
  fillAhead,
  firstOf,
  firstStep,
  halvesOf,
  hasTile,
  makeStages,
  produce,
  produceActivations,
  type Stages,
  sliceBegin,
} from './wgmma-copies.ts'
import {
  beginFinish,
  type Epilogue,
  finishTile,
  initEpilogue,
  makeEpilogue,
  prepareTile,
} from './wgmma-epilogue.ts'
import { fetchParked, holdSums, joinSlice } from './wgmma-parked.ts'
import { finishPartial, partialSums, preparePartial, storePartial } from './wgmma-partial.ts'
import { joinPieces } from './wgmma-pieces.ts'
import {
  checkWgmmaTiles,
  consumerRegisters,
  producerRegisters,
  type WgmmaTiles,
  wgmmaCluster,
  wgmmaPlan,
  wgmmaThreads,
} from './wgmma-plan.ts'
import type { WgmmaArguments, WgmmaConfig, WgmmaParts, WgmmaProduct } from './wgmma-product.ts'

/**
 * CTAs of a launch: those of tiles that add sums by token and row tiles, others along x. Where weights stay in the cache for
 * tiles that come later, all CTAs have as many tiles, or one less: nobody waits for the few that would be idle in the last
 * wave, and those are left out, which spares power and keeps the others in step.
 */
export function wgmmaGrid(d: { readonly M?: number; readonly N?: number }, t: WgmmaTiles): [number, number] {
  const rows = Math.ceil(d.N! / (unitRows * t.rowGroups * t.blocks) / t.multicast)
  const tokens = Math.ceil(d.M! / t.tokens)
  const cluster = wgmmaCluster(t)
  if (t.kGroups * t.split > 1) return [tokens * cluster, rows]
  const tiles = rows * tokens
  const clusters = Math.min(tiles, Math.max(1, Math.floor(t.ctas / cluster)))
  const isEven = t.keep !== undefined && t.halves === undefined && t.pieces === undefined
  return [(isEven ? Math.ceil(tiles / Math.ceil(tiles / clusters)) : clusters) * cluster, 1]
}

/** The barrier of a CTA's start; 1 to 4 are the warpgroups' own. */
const startBarrier = 5

/**
 * out[m, n] = finish(Σₖ W[n, k] · X[m, k]) on `wgmma`, for shapes known at launch.
 *
 * Weights are the A operand and come from registers, where the format turns a 16-byte load into the fragments of its
 * k-steps; tokens are the columns of the product and come from shared memory. Producer warps fill a ring of stages with
 * asynchronous copies; consumer warpgroups unpack and multiply, with one `wgmma` group in flight while the fragments of the
 * next are made. Sums of one warpgroup leave through staging tiles and bulk stores while the next tile's copies are under
 * way; sums of several are added in the memory of the ring.
 */
export function gemmWgmma(a: WgmmaArguments, c: WgmmaConfig, parts: WgmmaParts): void {
  checkWgmmaTiles(c, parts.format, parts.x)
  checkFinish(parts, c)
  staticAssert(
    c.pieces === undefined || (c.scratch === true && parts.list === undefined),
    'CTAs that share tiles take `scratch`, of the shape that scratchShape gives, and are not for products of experts: ' +
      'give scratch: true with `pieces`, or leave out `pieces`',
  )
  const plan = wgmmaPlan(c, parts.format, parts.x)
  staticAssert(
    !plan.parked || (c.scratch === true && parts.list === undefined),
    'sums of slices that do not fit the registers take `scratch`, of the shape that scratchShape gives: give scratch: true, ' +
      'or tiles of fewer tokens',
  )
  const g: WgmmaProduct = { a, c, parts, plan }
  // Which weights a CTA wants stands in the list of tiles, which the kernel before may have made.
  if (parts.list !== undefined) waitForPrevious()
  const stages = makeStages(g)
  const held = holdSums(g)
  const epilogue = makeEpilogue(g, held)
  const sums = plan.partial ? partialSums(g, stages.xs) : undefined
  if (parts.list !== undefined && !hasTile(stages)) return
  const isFilling = threadIdx.x === plan.consumers
  if (isFilling) {
    initRing(stages.ring)
    initEpilogue(epilogue)
  }
  if (c.multicast > 1) clusterBarrier()
  else if (warpIdx === 4 * plan.consumerGroups) {
    // This warp makes the barriers ready and does not wait for the others.
    syncWarp()
    namedArrive(startBarrier, wgmmaThreads(c))
  } else namedBarrier(startBarrier, wgmmaThreads(c))
  if (isFilling) fillAhead(g, stages)
  if (parts.list === undefined) waitForPrevious()
  const share = plan.partial && !plan.fetchesLate ? preparePartial(g, firstOf(stages)) : undefined

  if (warpgroupIdx < plan.consumerGroups) {
    if (plan.rebalance) increaseRegisters(consumerRegisters)
    consume(g, stages, epilogue, sums ?? held)
  } else {
    if (plan.rebalance) decreaseRegisters(producerRegisters)
    if (isFilling) produce(g, stages)
    if (c.producers === 2 && threadIdx.x === plan.consumers + 32) produceActivations(g, stages)
    syncWarp()
  }
  if (plan.partial) finishPartial(g, sums!, firstOf(stages), share ?? preparePartial(g, firstOf(stages)))
  // No CTA may leave while another of its cluster reads its sums, arrives at its barriers or copies into its stages.
  if (plan.cluster > 1) {
    syncWarp()
    clusterBarrier()
  }
}

/** Where a warpgroup is in the ring, and the stage before, which its last products may still read. */
interface Progress {
  readonly at: Cursor
  previous: i32
}

/** A warpgroup: the products of its rows, tile by tile. `sums`: where those of several are added, or of slices wait. */
function consume(
  g: WgmmaProduct,
  stages: Stages,
  epilogue: Epilogue | undefined,
  sums: Shared<number> | undefined,
): void {
  const progress = consumeTiles(g, stages, epilogue, sums)
  if (g.c.halves) {
    const { half, halfStages } = halvesOf(g, stages)
    consumeTiles(half, halfStages, epilogue, sums, progress)
  }
  // The copy engine reads the staging tiles until then.
  if (epilogue !== undefined && (threadIdx.x & 127) === 0) waitBulk(0, { read: true })
}

/** `before`: what it did before in the same ring. */
function consumeTiles(
  g: WgmmaProduct,
  stages: Stages,
  epilogue: Epilogue | undefined,
  sums: Shared<number> | undefined,
  before?: Progress,
): Progress {
  const { c, parts, plan } = g
  const { ring } = stages
  const kGroup = c.kGroups === 1 ? 0 : warpgroupIdx % c.kGroups
  const rowGroup = c.kGroups === 1 ? warpgroupIdx : idiv(warpgroupIdx, c.kGroups)
  const zero = parts.x === 'i8' ? i32(0) : f32(0)
  const acc = each(c.blocks, () => regs<number>(c.tokens / 2, zero))
  /** Where a warpgroup has several slices of K: their sums. */
  const total = plan.sliced && !plan.parked ? each(c.blocks, () => regs<number>(c.tokens / 2, zero)) : acc
  const atom = wgmmaAtom(c.tokens, parts.format.types(parts.x, parts.zero))
  const progress: Progress = before ?? { at: consumerCursor(kGroup), previous: i32(0) }
  const { at } = progress

  eachTile(stages, (tile) => {
    const fetched = prepareTile(g, epilogue, tile, rowGroup)
    /** Groups of k-steps of a stage, from a unit of it on. `isFirst`: of the tile. */
    const multiplyGroups = (firstUnit: i32, groups: number, isFirst: boolean, releases: boolean): void => {
      const loadGroup = (group: number): Packed[][] =>
        each(c.blocks, (b) =>
          loadPacked(
            g,
            stages.ws.row(at.stage, rowGroup * c.blocks + b),
            firstUnit,
            group,
            fetched.words[b]!,
          ),
        )
      let next = loadGroup(0)
      for (const group of unroll(groups)) {
        const packed = next
        // Unpacking takes long, and waiting for what is unpacked next would come on top.
        if (plan.loadsAhead && group + 1 < groups) next = loadGroup(group + 1)
        for (const part of unroll(plan.parts)) {
          const loads = plan.groupLoads / plan.parts
          const fragments = packed.map((all) => unpack(parts, all.slice(part * loads, (part + 1) * loads)))
          wgmmaFence()
          for (const i of unroll(c.steps / plan.parts)) {
            const s = part * (c.steps / plan.parts) + i
            const column = (group * c.steps + s) * (plan.slabColumns / 4)
            const slab = firstUnit * (unitColumns / plan.slabColumns) + Math.floor(column / plan.slabColumns)
            const tokens = matrixOperand(stages.slab(at.stage, slab), [0, column % plan.slabColumns])
            // The first product of a tile overwrites the sums, unless a warpgroup may have none.
            const accumulates = plan.partial || group + s > 0 || !isFirst
            for (const b of unroll(c.blocks)) wgmma(atom, acc[b]!, fragments[b]![i]!, tokens, accumulates)
          }
          wgmmaCommit()
        }
        // All but the group just issued are done, so the stage before this one is free.
        wgmmaWait(plan.parts)
        if (group === 0 && releases) release(ring, progress.previous)
        if (!plan.loadsAhead && group + 1 < groups) next = loadGroup(group + 1)
      }
    }
    const multiply = (isFirst: boolean): void => {
      waitFull(ring, at)
      if (plan.pairs === 1) multiplyGroups(0, c.units * plan.unitGroups, isFirst, !isFirst)
      else {
        for (const pair of range(plan.pairs)) {
          multiplyGroups(pair * plan.pairUnits, 2, isFirst && pair === 0, !isFirst && pair === 0)
        }
      }
      progress.previous = at.stage
      advance(at, ring, c.kGroups)
    }
    /** The steps of the warpgroup among `begin` to `end` - 1. */
    const multiplySteps = (begin: i32, end: i32): void => {
      // The body holds an even number of groups, so that two sets of A registers take turns; unrolled no further, or ptxas
      // would put the groups one after the other.
      if (plan.turn === 1) {
        for (const step of range(begin, end, c.kGroups)) multiply(step === begin)
        return
      }
      let step: i32 = begin
      for (; step + c.kGroups < end; step += 2 * c.kGroups) {
        multiply(step === begin)
        multiply(false)
      }
      if (step < end) multiply(step === begin)
    }
    if (plan.sliced) {
      if (!plan.parked) for (const sum of total) for (const i of unroll(sum.length)) sum[i] = f32(0)
      for (const slice of range(plan.slices)) {
        const begin = sliceBegin(g, slice, stages.allSteps)
        const end = sliceBegin(g, slice + 1, stages.allSteps)
        if (begin < end) {
          multiplySteps(begin, end)
          const isFirst = begin === 0
          const isLast = end === stages.allSteps
          const fetched = plan.parked ? fetchParked(g, { rowGroup, acc }, isLast && !isFirst) : []
          wgmmaWait(0)
          release(ring, progress.previous)
          if (plan.parked) joinSlice(g, sums, { rowGroup, acc }, fetched, isFirst, isLast)
          else
            total.forEach((sum, b) => {
              for (const i of unroll(sum.length)) sum[i] = sum[i]! + acc[b]![i]!
            })
        }
      }
    } else multiplySteps(firstStep(tile) + kGroup, endStep(stages, tile))
    const own = { tile, rowGroup, acc: total }
    if (stages.streamed !== undefined) {
      wgmmaWait(0)
      release(ring, progress.previous)
      if (joinPieces(g, stages.streamed, own)) {
        beginFinish(g, epilogue!, own)
        finishTile(g, epilogue!, fetched, own)
      } else waitCopies(0)
      return
    }
    if (epilogue !== undefined) beginFinish(g, epilogue, own)
    wgmmaWait(0)
    if (epilogue === undefined) storePartial(g, sums!, acc[0]!, rowGroup, kGroup)
    else {
      if (!plan.sliced) release(ring, progress.previous)
      finishTile(g, epilogue, fetched, own)
    }
  })
  return progress
}

/** The packed words of a 16-byte load of weights, and those of their rows or groups. */
interface Packed {
  readonly words: readonly u32[]
  readonly parameters: readonly u32[]
}

/** Loads what a group of k-steps has of a strip in a stage. */
function loadPacked(
  { plan, parts: { format } }: WgmmaProduct,
  strip: Shared<u32>,
  firstUnit: i32,
  group: number,
  rowWords: readonly u32[],
): Packed[] {
  const thread = threadIdx.x & 127
  const firstLoad = (group * plan.groupLoads) % format.loads
  const unit = (firstUnit + Math.floor((group * plan.groupLoads) / format.loads)) * plan.placeWords
  // Loads whose columns are in the same group of the format have its words in common.
  const firstGroup = groupOfLoad(format, firstLoad)
  const endGroup = groupOfLoad(format, firstLoad + plan.groupLoads - 1) + loadGroups(format)
  const groupWords = each(format.group > 0 ? endGroup - firstGroup : 0, (g) => {
    const place =
      plan.codeWords - unitCodeWords(format) + groupOffset(format, firstGroup + g, idiv(thread, 4))
    return loadWords(strip, [unit + place], format.groupWords)
  })
  return each(plan.groupLoads, (i) => {
    const load = firstLoad + i
    const words = loadWords(strip, [unit + loadOffset(load, thread)], 4)
    const own = each(loadGroups(format), (g) => groupWords[groupOfLoad(format, load) + g - firstGroup]!)
    return { words, parameters: format.group > 0 ? own.flat() : rowWords }
  })
}

/** The A registers of the k-steps of some loads. */
const unpack = ({ format, zero, x }: WgmmaProduct['parts'], packed: readonly Packed[]): (readonly u32[])[] =>
  packed.flatMap(({ words, parameters }) => format.fragments(words, parameters, zero, x))
