import { unitColumns } from '../../dsl/format.ts'
import {
  blockIdx,
  clusterRank,
  copyBulk,
  copyTensor,
  each,
  type i32,
  idiv,
  launchDependents,
  overlay,
  range,
  type Shared,
  shared,
  swizzledTile,
  type u32,
  unroll,
} from '../../dsl/index.ts'
import {
  advance,
  type Cursor,
  expectBytes,
  firstPiece,
  firstTile,
  forEachPiece,
  forEachTile,
  forHalfTile,
  makeRing,
  ownTile,
  type ProductTiles,
  producerCursor,
  type Ring,
  rowTurns,
  type StreamedTiles,
  waitEmpty,
} from '../../dsl/std/index.ts'
import {
  eachGroupTile,
  firstGroupTile,
  firstToken,
  type GroupTiles,
  ownGroupTile,
  type TokenTile,
} from '../group-tiles.ts'
import { rowsOf } from './epilogue.ts'
import { SLICE_UNITS } from './wgmma-plan.ts'
import type { WgmmaProduct } from './wgmma-product.ts'

/**
 * How operands come into the stages of the ring. A strip's units are contiguous along the columns, so one bulk copy brings
 * what a stage has of it; one tensor copy brings the stage's activations, rows of 128 bytes swizzled as `wgmma` reads them.
 */
export interface Stages {
  readonly ring: Ring
  /** Activations of a stage, [stage, slab, token, column], and the same by the shares of a multicast. */
  readonly xs: Shared<number>
  /** Those of a slab, [token, column]. */
  slab(stage: i32, slab: number): Shared<number>
  readonly xShares: Shared<number>
  /** Weights of a stage, [stage, strip, word]. */
  readonly ws: Shared<u32>
  readonly tiles: ProductTiles
  /** The tiles with what the last wave is cut into, if it is. */
  readonly streamed: StreamedTiles | undefined
  /** The token tiles of a grouped product, and the tokens of one. */
  readonly list: GroupTiles | undefined
  readonly tokens: number
  /** Whether a CTA has one tile, as those have whose sums are added in the memory of the ring. */
  readonly isSingle: boolean
  /** Whether tiles are halves of the others. */
  readonly isHalf: boolean
  /** Stages that this CTA takes of a tile, and of all columns. */
  readonly steps: i32
  readonly allSteps: i32
  /** The step along all columns that one of them is; past the last one where there is nothing to add. */
  column(step: i32): i32
}

/** The step along the columns at which a slice of K begins, or the one before ends. */
export function sliceBegin({ a, c, plan }: WgmmaProduct, slice: i32, allSteps: i32): i32 {
  const begins = idiv(a.w.dim('Units') + (SLICE_UNITS - 1), SLICE_UNITS) * slice
  return Math.min(idiv(begins, plan.slices) * (SLICE_UNITS / c.units), allSteps)
}

/** Which columns the steps of a CTA are. */
function stepsOf(g: WgmmaProduct, all: i32): Pick<Stages, 'steps' | 'column'> {
  const { c, plan } = g
  if (!plan.partial) return { steps: all, column: (step) => step }
  const rank = c.split === 1 ? 0 : clusterRank % c.split
  if (plan.slices === 1) {
    const first = c.split === 1 ? 0 : idiv(all * rank, c.split)
    const steps = c.split === 1 ? all : idiv(all * (rank + 1), c.split) - first
    return { steps, column: (step) => first + step }
  }
  // A slice for each warpgroup, which take turns at the stages; the shorter ones end in columns of zeros.
  const begin = (kGroup: i32): i32 => sliceBegin(g, rank * c.kGroups + kGroup, all)
  const lengths = each(c.kGroups, (kGroup) => begin(kGroup + 1) - begin(kGroup))
  return {
    steps: lengths.reduce((most, length) => Math.max(most, length)) * c.kGroups,
    column(step) {
      const kGroup = step % c.kGroups
      const column = begin(kGroup) + idiv(step, c.kGroups)
      return column < begin(kGroup + 1) ? column : all
    },
  }
}

export function makeStages(g: WgmmaProduct): Stages {
  const { a, c, parts, plan } = g
  const shape = [c.stages, plan.slabs, c.tokens, plan.slabColumns]
  const shares = [c.stages, plan.slabs, c.multicast, c.tokens / c.multicast, plan.slabColumns]
  const xs = shared<number>(parts.x, swizzledTile(shape, parts.x))
  const all = c.units < 1 ? a.w.dim('Units') * (1 / c.units) : idiv(a.w.dim('Units') + (c.units - 1), c.units)
  const tiles: ProductTiles = {
    rows: idiv(rowsOf(g) + (plan.rows - 1), plan.rows),
    tokens:
      parts.list !== undefined ? parts.list.tileCount.at(0) : idiv(a.x.dim('M') + (c.tokens - 1), c.tokens),
    cluster: plan.cluster,
    sharers: c.multicast,
    ...(c.band === undefined ? {} : { band: c.band }),
    halves: c.halves === true,
  }
  return {
    xs,
    slab: (stage, slab) => xs.row(stage, slab),
    xShares: overlay<number>(xs, parts.x, swizzledTile(shares, parts.x)),
    ws: shared<u32>('u32', [c.stages, plan.strips, Math.ceil(c.units) * plan.placeWords]),
    ring: makeRing({
      stages: c.stages,
      producers: c.producers,
      consumers: 4 * c.rowGroups,
      sharers: c.multicast,
    }),
    tiles,
    streamed:
      c.pieces === undefined
        ? undefined
        : { rows: tiles.rows, tokens: tiles.tokens, steps: all, pieces: c.pieces },
    list: parts.list,
    tokens: c.tokens,
    isSingle: plan.partial,
    isHalf: false,
    allSteps: all,
    ...stepsOf(g, all),
  }
}

/** A product, and the stages of its ring, as a tile of half the tokens sees them. */
export function halvesOf(
  g: WgmmaProduct,
  o: Stages,
): { readonly half: WgmmaProduct; readonly halfStages: Stages } {
  const { c, parts, plan } = g
  const tokens = c.tokens / 2
  const halfShape = [c.stages, plan.slabs, 2, tokens, plan.slabColumns]
  const shareShape = [c.stages, plan.slabs, 2 * c.multicast, tokens / c.multicast, plan.slabColumns]
  const xs = overlay<number>(o.xs, parts.x, swizzledTile(halfShape, parts.x))
  return {
    half: { ...g, c: { ...c, tokens }, plan: { ...plan, activationBytes: plan.activationBytes / 2 } },
    halfStages: {
      ...o,
      slab: (stage, slab) => xs.row(stage, slab, 0),
      xShares: overlay<number>(o.xs, parts.x, swizzledTile(shareShape, parts.x)),
      tokens,
      isHalf: true,
    },
  }
}

/** The CTA's first tile. */
export function firstOf({ tiles, streamed, list, tokens, isSingle }: Stages): TokenTile {
  if (streamed !== undefined) return firstPiece(streamed)
  if (list === undefined) return isSingle ? ownTile(tiles) : firstTile(tiles)
  return isSingle ? ownGroupTile(list, tiles) : firstGroupTile(list, tiles, tokens)
}

/** Whether the CTA has a tile: a grid for the longest list may be larger than the list. */
export function hasTile({ tiles, isSingle }: Stages): boolean {
  const cluster = idiv(blockIdx.x, tiles.cluster)
  return cluster < (isSingle ? tiles.tokens : rowTurns(tiles) * tiles.tokens)
}

/** Runs `body` for each tile of the CTA. */
export function eachTile(o: Stages, body: (tile: TokenTile) => void): void {
  if (o.isHalf) forHalfTile(o.tiles, body)
  else if (o.isSingle) body(firstOf(o))
  else if (o.streamed !== undefined) forEachPiece(o.streamed, body)
  else if (o.list === undefined) forEachTile(o.tiles, body)
  else eachGroupTile(o.list, o.tiles, o.tokens, body)
}

/** The first step of a tile that the CTA takes, and the end of those. */
export const firstStep = ({ piece }: TokenTile): i32 => piece?.begin ?? 0
export const endStep = ({ steps }: Stages, { piece }: TokenTile): i32 => piece?.end ?? steps

/** Stages of the first tile whose weights come before anything else. */
const ahead = (o: Stages): i32 => Math.min(endStep(o, firstOf(o)) - firstStep(firstOf(o)), o.ring.stages)

/** Starts the copies of the weights of a step into a stage. */
function loadWeights(g: WgmmaProduct, o: Stages, tile: TokenTile, step: i32, stage: i32): void {
  const { a, c, parts, plan } = g
  const weightBytes = plan.strips * Math.ceil(c.units) * plan.placeWords * 4
  expectBytes(o.ring, stage, c.producers === 1 ? weightBytes + plan.activationBytes : weightBytes)
  const w = tile.expert === undefined ? a.w : a.w.row(tile.expert)
  // Beside zeros any weights will do.
  const column = plan.slices > 1 && plan.partial ? Math.min(o.column(step), o.allSteps - 1) : o.column(step)
  const hint = c.keep === undefined ? ({ evict: 'first' } as const) : {}
  for (const s of unroll(plan.strips)) {
    // Row tiles may have strips past the last: what they compute is not stored.
    const strip = Math.min(tile.row * plan.strips + s, a.w.dim('Strips') - 1)
    const copy = (word: number, from: readonly [unit: i32, word: i32], words: number): void => {
      copyBulk(o.ws, [stage, s, word], w, [strip, ...from], words * 4, o.ring.full, stage, hint)
    }
    if (c.units < 1) {
      const unit = idiv(column, 2)
      const half = column & 1
      copy(0, [unit, half * plan.codeWords], plan.codeWords)
      // Both halves of a unit that is one group have its words.
      const words = plan.placeWords - plan.codeWords
      const first = parts.format.group < unitColumns ? half * words : 0
      if (words > 0) copy(plan.codeWords, [unit, 2 * plan.codeWords + first], words)
    } else {
      const unit = column * c.units
      if (c.units === 1 || unit + c.units <= a.w.dim('Units')) copy(0, [unit, 0], c.units * plan.placeWords)
      else {
        // Past the last unit the activations are zeros, and any unit will do.
        for (const u of unroll(c.units)) {
          copy(u * plan.placeWords, [Math.min(unit + u, a.w.dim('Units') - 1), 0], plan.placeWords)
        }
      }
    }
  }
}

/** Starts the copies of the activations of a step into a stage, or of this CTA's share of them into all of the cluster. */
function loadActivations(
  { a, c, plan }: WgmmaProduct,
  o: Stages,
  tile: TokenTile,
  step: i32,
  stage: i32,
): void {
  const column = o.column(step) * (c.units * unitColumns)
  const token = firstToken(tile, c.tokens)
  if (c.multicast === 1 && !o.isHalf) {
    copyTensor(o.xs.row(stage), a.x, [token, column], o.ring.full, stage)
    return
  }
  if (c.multicast === 1) {
    for (const slab of unroll(plan.slabs)) {
      copyTensor(o.slab(stage, slab), a.x, [token, column + slab * plan.slabColumns], o.ring.full, stage)
    }
    return
  }
  const rank = clusterRank % c.multicast
  const options = { multicast: 2 ** c.multicast - 1 }
  for (const slab of unroll(plan.slabs)) {
    const origin = [token + rank * (c.tokens / c.multicast), column + slab * plan.slabColumns] as const
    copyTensor(o.xShares.row(stage, slab, rank), a.x, origin, o.ring.full, stage, options)
  }
}

/**
 * The first copies, by the producer of weights: weights do not depend on the kernel before this one, and those of a whole
 * ring are under way when it ends.
 */
export function fillAhead(g: WgmmaProduct, o: Stages): void {
  const first = firstOf(o)
  for (const stage of range(ahead(o))) loadWeights(g, o, first, firstStep(first) + stage, stage)
  launchDependents()
}

/** The producer of weights, and of activations unless they have their own. */
export function produce(g: WgmmaProduct, o: Stages): void {
  const { producers } = g.c
  const at = producerCursor()
  advance(at, o.ring, ahead(o))
  if (producers === 1) {
    const first = firstOf(o)
    for (const stage of range(ahead(o))) loadActivations(g, o, first, firstStep(first) + stage, stage)
  }
  let started: i32 = ahead(o)
  eachTile(o, (tile) => {
    produceTile(g, o, tile, started, at)
    started = 0
  })
  if (g.c.halves) {
    const { half, halfStages } = halvesOf(g, o)
    eachTile(halfStages, (tile) => produceTile(half, halfStages, tile, 0, at))
  }
}

/** A tile of the producer of weights, of which `started` steps are under way. */
function produceTile(g: WgmmaProduct, o: Stages, tile: TokenTile, started: i32, at: Cursor): void {
  for (const step of range(firstStep(tile) + started, endStep(o, tile))) {
    waitEmpty(o.ring, at)
    loadWeights(g, o, tile, step, at.stage)
    if (g.c.producers === 1) loadActivations(g, o, tile, step, at.stage)
    advance(at, o.ring, 1)
  }
}

/** The producer of activations beside one of weights. */
export function produceActivations(g: WgmmaProduct, o: Stages): void {
  const at = producerCursor()
  const ofTiles = (of: WgmmaProduct, stages: Stages): void =>
    eachTile(stages, (tile) => {
      for (const step of range(firstStep(tile), endStep(stages, tile))) {
        waitEmpty(o.ring, at)
        expectBytes(o.ring, at.stage, of.plan.activationBytes)
        loadActivations(of, stages, tile, step, at.stage)
        advance(at, o.ring, 1)
      }
    })
  ofTiles(g, o)
  if (g.c.halves) {
    const { half, halfStages } = halvesOf(g, o)
    ofTiles(half, halfStages)
  }
}
