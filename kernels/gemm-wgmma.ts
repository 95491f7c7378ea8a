import {
  groupOffset,
  groupOfLoad,
  loadGroups,
  loadOffset,
  type OperandType,
  unitColumns,
  unitRows,
  unitWords,
  type WeightFormat,
  type ZeroHandling,
} from '../dsl/format.ts'
import {
  clusterBarrier,
  clusterRank,
  copyBulk,
  copyTensor,
  type DType,
  decreaseRegisters,
  each,
  f32,
  type In,
  i32,
  idiv,
  increaseRegisters,
  launchDependents,
  loadWords,
  matrixOperand,
  namedArrive,
  namedBarrier,
  type Out,
  overlay,
  range,
  regs,
  type Shared,
  shared,
  swizzledTile,
  syncWarp,
  threadIdx,
  type u32,
  unroll,
  waitBulk,
  waitForPrevious,
  warpgroupIdx,
  warpIdx,
  wgmma,
  wgmmaAtom,
  wgmmaCommit,
  wgmmaFence,
  wgmmaWait,
} from '../dsl/index.ts'
import {
  advance,
  consumerCursor,
  expectBytes,
  firstTile,
  forEachTile,
  initRing,
  makeRing,
  ownTile,
  type ProductTile,
  type ProductTiles,
  producerCursor,
  type Ring,
  release,
  waitEmpty,
  waitFull,
} from '../dsl/std/index.ts'
import {
  type Epilogue,
  finishPartial,
  finishTile,
  makeEpilogue,
  preparePartial,
  prepareTile,
} from './gemm-wgmma-epilogue.ts'
import {
  checkWgmmaTiles,
  consumerRegisters,
  producerRegisters,
  type WgmmaPlan,
  type WgmmaTiles,
  wgmmaCluster,
  wgmmaPlan,
  wgmmaThreads,
} from './gemm-wgmma-plan.ts'

/**
 * out[m, n] = finish(Σₖ W[n, k] · X[m, k]) on `wgmma`, for shapes known at launch.
 *
 * Weights are the A operand and come from registers, where the format turns a 16-byte load into the fragments of its
 * k-steps; tokens are the columns of the product and come from shared memory. Producer warps fill a ring of stages with
 * asynchronous copies; consumer warpgroups unpack and multiply, with one `wgmma` group in flight while the fragments of the
 * next are made. Sums of one warpgroup leave through staging tiles and bulk stores while the next tile's copies are under
 * way; sums of several are added in the memory of the ring.
 */
export interface WgmmaConfig extends WgmmaTiles {
  readonly dtype: DType
  readonly bias: boolean
  readonly residual: boolean
}

export interface WgmmaArguments {
  readonly w: In<u32, 'Strips Units Words', string>
  readonly x: In<number, 'M K'>
  readonly bias?: In<number, 'N'>
  readonly residual?: In<number, 'M N'>
  readonly out: Out<number, 'M N'>
}

/** What a kernel adds to the shared body. */
export interface WgmmaParts<Row = unknown> {
  readonly format: WeightFormat
  readonly zero: ZeroHandling
  /** Element type of the activations. */
  readonly x: OperandType
  readonly out: DType
  /** The words that a format without groups takes for rows n and n + 8 instead of the groups'. */
  rowWords(upper: i32, lower: i32): readonly u32[]
  /**
   * What the epilogue needs of `count` rows from n on: loaded at once, and converted when called, so that nobody waits for
   * the loads before then.
   */
  rows(n: i32, count: number): readonly (() => Row)[]
  /** What it needs of a token: elements of 32 bits. */
  readonly tokens: readonly In<number, 'M'>[]
  /** The sum of a row and a token, scaled. */
  finish(sum: number, row: Row, token: readonly u32[]): f32
}

/** CTAs of a launch: those of tiles that add sums by token and row tiles, others along x. */
export function wgmmaGrid(d: { readonly M?: number; readonly N?: number }, t: WgmmaTiles): [number, number] {
  const rows = Math.ceil(d.N! / (unitRows * t.rowGroups * t.blocks) / t.multicast)
  const tokens = Math.ceil(d.M! / t.tokens)
  const cluster = wgmmaCluster(t)
  if (t.kGroups * t.split > 1) return [tokens * cluster, rows]
  return [Math.min(rows * tokens, Math.max(1, Math.floor(t.ctas / cluster))) * cluster, 1]
}

/** Barriers of parts of a CTA; 1 to 4 are the warpgroups' own. */
const lagBarrier = 5
const startBarrier = 6

/** The parts of a CTA's shared memory, its ring and its tiles. */
interface Context {
  readonly plan: WgmmaPlan
  readonly ring: Ring
  /** Activations of a stage, [stage, slab, token, column], and the same by the shares of a multicast. */
  readonly xs: Shared<number>
  readonly xShares: Shared<number>
  /** Weights of a stage, [stage, strip, word]. */
  readonly ws: Shared<u32>
  readonly tiles: ProductTiles
  /** Stages that this CTA takes of a tile, from `firstStep` on. */
  readonly firstStep: i32
  readonly steps: i32
}

/** The body of a kernel with `path: 'wgmma'`. */
export function gemmWgmma(a: WgmmaArguments, c: WgmmaConfig, parts: WgmmaParts): void {
  checkWgmmaTiles(c, parts.format, parts.x, parts.out)
  const plan = wgmmaPlan(c, parts.format, parts.x)
  const xs = shared<number>(
    parts.x,
    swizzledTile([c.stages, plan.slabs, c.tokens, plan.slabColumns], parts.x),
  )
  const context: Context = {
    plan,
    xs,
    xShares: overlay<number>(
      xs,
      parts.x,
      swizzledTile([c.stages, plan.slabs, c.multicast, c.tokens / c.multicast, plan.slabColumns], parts.x),
    ),
    ws: shared<u32>('u32', [c.stages, plan.strips, c.units * plan.unitWords]),
    ring: makeRing({
      stages: c.stages,
      producers: c.producers,
      consumers: 4 * c.rowGroups,
      sharers: c.multicast,
    }),
    ...share(a, c, plan),
  }
  const epilogue = makeEpilogue(c, plan, parts, xs)
  const isFilling = threadIdx.x === plan.consumers
  if (isFilling) initRing(context.ring)
  if (c.multicast > 1) clusterBarrier()
  else if (warpIdx === 4 * plan.consumerGroups) {
    // This warp makes the barriers ready and does not wait for the others.
    syncWarp()
    namedArrive(startBarrier, wgmmaThreads(c))
  } else namedBarrier(startBarrier, wgmmaThreads(c))
  if (isFilling) {
    // Weights do not depend on the kernel before this one: those of a whole ring are under way when it ends.
    for (const step of range(ahead(context))) loadWeights(a, c, context, first(context), step, step)
    launchDependents()
  }
  waitForPrevious()
  const prepared = plan.partial ? preparePartial(a, c, parts, plan, first(context)) : undefined

  if (warpgroupIdx < plan.consumerGroups) {
    if (plan.rebalance) increaseRegisters(consumerRegisters)
    consume(a, c, parts, context, epilogue)
  } else {
    if (plan.rebalance) decreaseRegisters(producerRegisters)
    if (isFilling) produce(a, c, context)
    if (c.producers === 2 && threadIdx.x === plan.consumers + 32) produceActivations(a, c, context)
    syncWarp()
  }
  if (plan.partial) finishPartial(a, c, parts, plan, epilogue, first(context), prepared!)
  // No CTA may leave while another of its cluster reads its sums, arrives at its barriers or copies into its stages.
  if (plan.cluster > 1) {
    syncWarp()
    clusterBarrier()
  }
}

/** The CTA's first tile, and the stages of it that are filled ahead. */
const first = (o: Context): ProductTile => (o.plan.partial ? ownTile(o.tiles) : firstTile(o.tiles))
const ahead = (o: Context): i32 => Math.min(o.steps, o.ring.stages)

/** The tiles of the product, and which stages of a tile this CTA takes. */
function share(a: WgmmaArguments, c: WgmmaConfig, plan: WgmmaPlan) {
  const tiles: ProductTiles = {
    rows: idiv(a.out.dim('N') + (plan.rows - 1), plan.rows),
    tokens: idiv(a.x.dim('M') + (c.tokens - 1), c.tokens),
    cluster: plan.cluster,
    sharers: c.multicast,
  }
  const steps = idiv(a.w.dim('Units') + (c.units - 1), c.units)
  if (c.split === 1) return { tiles, firstStep: 0, steps }
  const rank = clusterRank % c.split
  const firstStep = idiv(steps * rank, c.split)
  return { tiles, firstStep, steps: idiv(steps * (rank + 1), c.split) - firstStep }
}

/** Runs `body` for each tile of the CTA. Those whose sums are added in the memory of the ring have a CTA each. */
function eachTile(o: Context, body: (tile: ProductTile) => void): void {
  if (o.plan.partial) body(ownTile(o.tiles))
  else forEachTile(o.tiles, body)
}

// ---- producers ------------------------------------------------------------------------------------------------------

/** Starts the copies of the weights of a step into a stage: one for each strip, whose units are neighbours. */
function loadWeights(
  a: WgmmaArguments,
  c: WgmmaConfig,
  o: Context,
  tile: ProductTile,
  step: i32,
  stage: i32,
) {
  const unit = (o.firstStep + step) * c.units
  const unitBytes = o.plan.unitWords * 4
  const bytes = c.units * unitBytes
  expectBytes(o.ring, stage, bytes * o.plan.strips + (c.producers === 1 ? activationBytes(c, o) : 0))
  for (const s of unroll(o.plan.strips)) {
    // Row tiles may have strips past the last: what they compute is not stored.
    const strip = Math.min(tile.row * o.plan.strips + s, a.w.dim('Strips') - 1)
    const copy = (place: number, from: i32, count: number): void =>
      copyBulk(
        o.ws,
        [stage, s, place * o.plan.unitWords],
        a.w,
        [strip, from, 0],
        count * unitBytes,
        o.ring.full,
        stage,
        { evict: 'first' },
      )
    if (c.units === 1 || unit + c.units <= a.w.dim('Units')) copy(0, unit, c.units)
    else {
      // Past the last unit the activations are zeros, and any unit will do.
      for (const u of unroll(c.units)) copy(u, Math.min(unit + u, a.w.dim('Units') - 1), 1)
    }
  }
}

const activationBytes = (c: WgmmaConfig, o: Context): number => o.plan.slabs * c.tokens * 128

/** Starts the copies of the activations of a step into a stage, or of this CTA's share of them into all of the cluster. */
function loadActivations(
  a: WgmmaArguments,
  c: WgmmaConfig,
  o: Context,
  tile: ProductTile,
  step: i32,
  stage: i32,
) {
  const column = (o.firstStep + step) * (c.units * unitColumns)
  const token = tile.token * c.tokens
  if (c.multicast === 1) {
    copyTensor(o.xs.row(stage), a.x, [token, column], o.ring.full, stage)
    return
  }
  const rank = clusterRank % c.multicast
  const options = { multicast: 2 ** c.multicast - 1 }
  for (const slab of unroll(o.plan.slabs)) {
    const origin = [token + rank * (c.tokens / c.multicast), column + slab * o.plan.slabColumns] as const
    copyTensor(o.xShares.row(stage, slab, rank), a.x, origin, o.ring.full, stage, options)
  }
}

/** The producer of weights, and of activations unless they have their own. */
function produce(a: WgmmaArguments, c: WgmmaConfig, o: Context): void {
  const at = producerCursor()
  advance(at, o.ring, ahead(o))
  if (c.producers === 1) {
    for (const step of range(ahead(o))) loadActivations(a, c, o, first(o), step, step)
  }
  let begin: i32 = ahead(o)
  eachTile(o, (tile) => {
    for (const step of range(begin, o.steps)) {
      waitEmpty(o.ring, at)
      loadWeights(a, c, o, tile, step, at.stage)
      if (c.producers === 1) loadActivations(a, c, o, tile, step, at.stage)
      advance(at, o.ring, 1)
    }
    begin = 0
  })
}

function produceActivations(a: WgmmaArguments, c: WgmmaConfig, o: Context): void {
  const at = producerCursor()
  eachTile(o, (tile) => {
    for (const step of range(o.steps)) {
      waitEmpty(o.ring, at)
      expectBytes(o.ring, at.stage, activationBytes(c, o))
      loadActivations(a, c, o, tile, step, at.stage)
      advance(at, o.ring, 1)
    }
  })
}

// ---- consumers ------------------------------------------------------------------------------------------------------

/** A warpgroup: the products of its rows, tile by tile. */
function consume(a: WgmmaArguments, c: WgmmaConfig, parts: WgmmaParts, o: Context, epilogue: Epilogue): void {
  const { plan, ring } = o
  const kGroup = c.kGroups === 1 ? 0 : warpgroupIdx % c.kGroups
  const rowGroup = c.kGroups === 1 ? warpgroupIdx : idiv(warpgroupIdx, c.kGroups)
  const zero = parts.x === 'i8' ? i32(0) : f32(0)
  const acc = each(c.blocks, () => regs<number>(c.tokens / 2, zero))
  const at = consumerCursor(kGroup)
  let previous: i32 = 0

  eachTile(o, (tile) => {
    const rows = prepareTile(a, c, parts, plan, epilogue, tile, rowGroup)
    /** Groups of k-steps of a stage, from a unit of it on. `isFirst`: of the tile. */
    const multiplyGroups = (firstUnit: i32, groups: number, isFirst: boolean, releases: boolean): void => {
      for (const group of unroll(groups)) {
        const fragments = each(c.blocks, (b) =>
          unpack(c, parts, o.ws.row(at.stage, rowGroup * c.blocks + b), firstUnit, group, rows.words[b]!),
        )
        wgmmaFence()
        for (const s of unroll(c.steps)) {
          const column = (group * c.steps + s) * (plan.slabColumns / 4)
          const slab = firstUnit * (unitColumns / plan.slabColumns) + Math.floor(column / plan.slabColumns)
          const tokens = matrixOperand(o.xs.row(at.stage, slab), [0, column % plan.slabColumns])
          const atom = wgmmaAtom(c.tokens, parts.format.types(parts.x, parts.zero))
          // The first product of a tile overwrites the sums, unless a warpgroup may have none.
          const accumulates = plan.partial || group + s > 0 || !isFirst
          for (const b of unroll(c.blocks)) wgmma(atom, acc[b]!, fragments[b]![s]!, tokens, accumulates)
        }
        wgmmaCommit()
        // All but the group just issued are done, so the stage before this one is free.
        wgmmaWait(1)
        if (group === 0 && releases) release(ring, previous)
      }
    }
    const multiply = (step: i32, isFirst: boolean): void => {
      waitFull(ring, at)
      if (plan.pairs === 1) multiplyGroups(0, c.units * plan.unitGroups, isFirst, !isFirst)
      else {
        for (const pair of range(plan.pairs)) {
          multiplyGroups(pair * plan.pairUnits, 2, isFirst && pair === 0, !isFirst && pair === 0)
        }
      }
      previous = at.stage
      advance(at, ring, c.kGroups)
      if (c.lag > 0 && rowGroup === 0 && step === lead) namedArrive(lagBarrier, 256)
    }
    const lead = Math.min(c.lag, o.steps) - 1
    if (c.lag > 0 && rowGroup === 1) namedBarrier(lagBarrier, 256)
    // The body holds an even number of groups, so that two sets of A registers take turns; unrolled no further, or ptxas
    // would put the groups one after the other.
    if (plan.turn === 1) {
      for (const step of range(kGroup, o.steps, c.kGroups)) multiply(step, step === kGroup)
    } else {
      let step: i32 = kGroup
      for (; step + c.kGroups < o.steps; step += 2 * c.kGroups) {
        multiply(step, step === kGroup)
        multiply(step + c.kGroups, false)
      }
      if (step < o.steps) multiply(step, step === kGroup)
    }
    wgmmaWait(0)
    if (!plan.partial) release(ring, previous)
    finishTile(a, c, parts, plan, epilogue, tile, { acc, rows, rowGroup, kGroup })
  })
  // The copy engine reads the staging tiles until then.
  if (!plan.partial && (threadIdx.x & 127) === 0) waitBulk(0, { read: true })
}

/** The A registers of a group of k-steps, from a strip's words in a stage. */
function unpack(
  c: WgmmaConfig,
  { format, zero, x }: WgmmaParts,
  strip: Shared<u32>,
  firstUnit: i32,
  group: number,
  rowWords: readonly u32[],
): (readonly u32[])[] {
  const thread = threadIdx.x & 127
  const loads = c.steps / (format.steps / format.loads)
  return each(loads, (i) => {
    const load = (group * loads + i) % format.loads
    const unit = (firstUnit + Math.floor((group * loads + i) / format.loads)) * unitWords(format)
    const packed = loadWords(strip, [unit + loadOffset(load, thread)], 4)
    const parameters = each(loadGroups(format), (g) => {
      const first = unit + groupOffset(format, groupOfLoad(format, load) + g, idiv(thread, 4))
      return loadWords(strip, [first], format.groupWords)
    }).flat()
    return format.fragments(packed, format.group > 0 ? parameters : rowWords, zero, x)
  }).flat()
}
