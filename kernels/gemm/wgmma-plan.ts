import {
  type OperandType,
  unitCodeWords,
  unitColumns,
  unitGroupWords,
  unitRows,
  type WeightFormat,
} from '../../dsl/format.ts'
import { dtypeBytes, staticAssert } from '../../dsl/index.ts'

/**
 * How a GEMM is shared among the warpgroups and CTAs of a Hopper GPU. A warpgroup computes `64 * blocks` rows of W by
 * `tokens` tokens; a stage of the ring holds `units` units of 128 columns for all rows of the CTA, and their activations.
 */
export interface WgmmaTiles {
  readonly path: 'wgmma'
  /** Tokens of a tile: the columns of a `wgmma`. */
  readonly tokens: number
  /** Warpgroups side by side over rows. */
  readonly rowGroups: number
  /** 64-row blocks of a warpgroup. */
  readonly blocks: number
  /** Warpgroups that share K: each takes every `kGroups`-th stage, and of floating-point sums a slice. */
  readonly kGroups: number
  /** CTAs of a cluster that split K and add their sums through distributed shared memory. */
  readonly split: number
  /**
   * Slices of K of which floating-point sums consist (`sumSlices`): one unless given. Each is summed from zero, and their
   * sums are added in ascending order, by warpgroups and CTAs that have one each or by one warpgroup that has all.
   */
  readonly slices?: number
  /**
   * Of the quads of sums of a slice that do not fit the registers (`parksSums`): how many of a thread's wait in shared
   * memory, an even number. None unless given; the others wait in `scratch`.
   */
  readonly held?: number
  /** CTAs of a cluster with neighbouring row tiles, each of which loads its share of the activations for all. */
  readonly multicast: number
  /** Token tiles of a band (`ProductTiles`): all unless given. */
  readonly band?: number
  /**
   * What stays in the L2 cache: weights, for the token tiles that come later, while outputs leave first. Unless given,
   * weights leave first.
   */
  readonly keep?: 'weights'
  /**
   * CTAs that share a tile of the last wave of integer sums (`StreamedTiles`), which then takes `scratch`: none unless given.
   */
  readonly pieces?: number
  /** Whether the tiles of a last wave that would leave half of the CTAs idle or more are cut in two along the tokens. */
  readonly halves?: true
  /** Units of a stage: whole ones, or ½. */
  readonly units: number
  readonly stages: number
  /** k-steps of a `wgmma` group. */
  readonly steps: number
  /** Tiles of up to 32 tokens in which a block's rows are staged on their way out. */
  readonly staging: number
  /** Producer warps: one for both operands, or one each. */
  readonly producers: 1 | 2
  /** CTAs of the persistent grid at most; tiles that sum over CTAs or warpgroups have a CTA each. */
  readonly ctas: number
  /** CTAs that should fit a multiprocessor. */
  readonly ctasPerMultiprocessor: number
}

/** What follows from tiles and format: counts, all static. */
export interface WgmmaPlan {
  readonly blockRows: number
  /** Rows of a CTA's tile. */
  readonly rows: number
  /** 64-row strips of a CTA's tile. */
  readonly strips: number
  readonly consumerGroups: number
  readonly consumers: number
  /** Words of a unit of weights as a stage holds it: of a half unit those of half the codes and of their groups. */
  readonly placeWords: number
  /** Words of codes of such a unit, behind which those of its groups lie. */
  readonly codeWords: number
  /** Rows of 128 bytes of activations: their columns, and how many of them a stage has for each token. */
  readonly slabColumns: number
  readonly slabs: number
  /** Bytes of a stage's activations. */
  readonly activationBytes: number
  /** `wgmma` groups of a unit, and stages of a turn of the main loop, in which an even number of groups fall. */
  readonly unitGroups: number
  readonly turn: number
  /**
   * Pairs of groups of a stage that a loop goes through, and units of a pair: ptxas 13.0 puts groups one after the other
   * (C7513) where more than two follow each other without a branch.
   */
  readonly pairs: number
  readonly pairUnits: number
  /** Whether sums of several warpgroups or CTAs are added. */
  readonly partial: boolean
  /** Whether scales and what else the last additions need are fetched behind the products instead of before them. */
  readonly fetchesLate: boolean
  /** Slices of K that have sums of their own, and whether one warpgroup adds them up. */
  readonly slices: number
  readonly sliced: boolean
  /** Whether the sums of slices wait in memory for those of the next, and how many quads of a thread's in shared memory. */
  readonly parked: boolean
  readonly held: number
  /** CTAs of a cluster. */
  readonly cluster: number
  /** Whether the producers are a warpgroup that gives its registers to the consumers. */
  readonly rebalance: boolean
  /** Whether a group's words are loaded before those of the group before are unpacked. */
  readonly loadsAhead: boolean
  /** 16-byte loads of a warpgroup for a group, and parts in which its products are issued, each of whole loads. */
  readonly groupLoads: number
  readonly parts: number
  /** Tokens that a warpgroup stages at once on their way out. */
  readonly staged: number
  /** Staging tiles of a block: no more than its tokens fill. */
  readonly stagingTiles: number
}

/** Registers of producers and consumers: 2 · 128 · 232 + 128 · 40 of a multiprocessor's 65536. */
export const producerRegisters = 40
export const consumerRegisters = 232

/** Columns from which on sums of 4-bit weights beside 16-bit floats consist of slices, and how many. */
const LONG_COLUMNS = 8192
const LONG_SLICES = 2

/**
 * The slices of K of which the sums of a format consist: a rule of the format and of K, never of the tokens or the tiles,
 * so that a token's result does not depend on those. One where the order of additions does not matter, where one warpgroup
 * keeps up with the memory, or where there are so few columns that slices would only cost.
 */
export const sumSlices = (format: WeightFormat, K: number): number =>
  format.bits === 4 && format.activations.includes('f16') && K >= LONG_COLUMNS ? LONG_SLICES : 1

/** Sums of a slice and of those before it that a thread can hold beside its operands. */
const MOST_SUMS = 128

/** Slices of K begin at multiples of so many units, whatever the stages. */
export const SLICE_UNITS = 2

const stagedTokens = [32, 24, 16, 8]

const consumerGroupsOf = (t: WgmmaTiles): number => t.rowGroups * t.kGroups

/** Whether a warpgroup adds up the sums of several slices of K. */
const isSliced = (t: WgmmaTiles): boolean => (t.slices ?? 1) > 1 && t.kGroups * t.split === 1

/** Sums of a slice that a thread has. */
const ownSums = (t: WgmmaTiles): number => (t.blocks * t.tokens) / 2

/** Whether the sums of a slice leave no room in the registers for those before it, which then wait in `scratch`. */
export const parksSums = (t: WgmmaTiles): boolean => isSliced(t) && 2 * ownSums(t) > MOST_SUMS

/** Sums that a thread holds. */
const heldSums = (t: WgmmaTiles): number => ownSums(t) * (isSliced(t) && !parksSums(t) ? 2 : 1)

// From 96 accumulators on, the 168 registers of an even share are too few for the main loop.
const rebalances = (t: WgmmaTiles): boolean =>
  consumerGroupsOf(t) === 2 && heldSums(t) >= 96 && t.ctasPerMultiprocessor === 1

/**
 * Whether the next words fit the registers beside sums and operands: three warpgroups have few. Words of eight bits would
 * be operands themselves, which the product before still reads.
 */
const hasRoomAhead = (t: WgmmaTiles): boolean => consumerGroupsOf(t) !== 3 || heldSums(t) + 8 * t.steps <= 80

/**
 * Whether the products of a load are issued before the words of the next are unpacked, or have come. Where four warpgroups
 * take turns, or two have nothing to unpack, one of them always has products to issue.
 */
const issuesByLoad = (t: WgmmaTiles, format: WeightFormat): boolean =>
  consumerGroupsOf(t) < (format.bits === 4 ? 4 : 2)

/** Tokens of a tile up to which loads before the products hold up the first of them for longer than they spare the end. */
const FEW_TOKENS = 64

/** Each part is a group of `wgmma`s of its own, of which seven at most may be pending. */
const MOST_PARTS = 4

/** Threads of a CTA. */
export const wgmmaThreads = (t: WgmmaTiles): number =>
  consumerGroupsOf(t) * 128 + (rebalances(t) ? 128 : 32 * t.producers)

/** CTAs of a cluster. */
export const wgmmaCluster = (t: WgmmaTiles): number => t.split * t.multicast

export function wgmmaPlan(t: WgmmaTiles, format: WeightFormat, x: OperandType): WgmmaPlan {
  const strips = t.rowGroups * t.blocks
  const consumerGroups = consumerGroupsOf(t)
  const slabColumns = 128 / dtypeBytes[x]
  const slabs = (t.units * unitColumns) / slabColumns
  const staged = stagedTokens.find((n) => t.tokens % n === 0)!
  const unitGroups = format.steps / t.steps
  const groups = t.units * unitGroups
  const groupLoads = t.steps / (format.steps / format.loads)
  const codeWords = unitCodeWords(format) * Math.min(1, t.units)
  const groupWords = unitGroupWords(format) * (t.units < 1 && format.group < unitColumns ? t.units : 1)
  return {
    blockRows: t.blocks * unitRows,
    rows: strips * unitRows,
    strips,
    consumerGroups,
    consumers: consumerGroups * 128,
    placeWords: codeWords + groupWords,
    codeWords,
    slabColumns,
    slabs,
    activationBytes: slabs * t.tokens * 128,
    unitGroups,
    turn: groups % 2 === 0 ? 1 : 2,
    pairs: groups % 2 === 0 ? groups / 2 : 1,
    pairUnits: 2 / unitGroups,
    partial: t.kGroups * t.split > 1,
    fetchesLate: t.kGroups * t.split > 1 && t.tokens <= FEW_TOKENS,
    slices: t.slices ?? 1,
    sliced: isSliced(t),
    parked: parksSums(t),
    held: t.held ?? 0,
    cluster: wgmmaCluster(t),
    rebalance: rebalances(t),
    loadsAhead: format.bits === 4 && hasRoomAhead(t),
    groupLoads,
    parts: issuesByLoad(t, format) ? Math.min(groupLoads, MOST_PARTS) : 1,
    staged,
    stagingTiles: Math.min(t.staging, t.tokens / staged),
  }
}

/** Bytes of a stage of the ring. */
const stageBytes = (t: WgmmaTiles, plan: WgmmaPlan): number =>
  plan.activationBytes + plan.strips * Math.ceil(t.units) * plan.placeWords * 4

/** Quads of words of `scratch` before the sums: what warpgroups of CTAs say of theirs. */
const FLAG_QUADS = 1024

/** Quads of sums of a piece: those of a tile. */
const pieceQuads = (t: WgmmaTiles): number => (t.rowGroups * t.blocks * unitRows * t.tokens) / 4

/**
 * Extents of the `scratch` of tiles whose last wave is shared, or that `parksSums`: a tile's sums for each CTA. Zeros before
 * the first launch, and then for launches of any tiles, one after the other.
 */
export const scratchShape = (t: WgmmaTiles): readonly [number, number] => [
  FLAG_QUADS + t.ctas * pieceQuads(t),
  4,
]

/** Extents of a `scratch` for any tiles: 17 MB. */
export const largestScratch: readonly [number, number] = [FLAG_QUADS + 132 * ((256 * 128) / 4), 4]

/** Where the sums of a warpgroup's piece begin in `scratch`. */
export const pieceQuad = (t: WgmmaTiles, cta: number, rowGroup: number): number =>
  FLAG_QUADS + cta * pieceQuads(t) + rowGroup * (pieceQuads(t) / t.rowGroups)

/** Rows of one token in a partial tile, padded so that neighbouring tokens lie in other banks. */
export const partialPitch = (plan: WgmmaPlan): number => plan.rows + 4

/** Bytes of the partial tiles of a CTA. */
export const partialBytes = (t: WgmmaTiles, plan: WgmmaPlan): number =>
  plan.partial ? t.kGroups * t.tokens * partialPitch(plan) * 4 : 0

/** Bytes of the sums of slices that wait in shared memory. */
const heldBytes = (plan: WgmmaPlan): number => plan.held * plan.consumers * 16

/** Bytes of shared memory that a GEMM takes, the alignment of its tiles included. */
export function wgmmaSharedBytes(t: WgmmaTiles, format: WeightFormat, x: OperandType): number {
  const plan = wgmmaPlan(t, format, x)
  const ring = t.stages * stageBytes(t, plan)
  // Staging tiles lie over the sums that are held.
  const staged = Math.max(heldBytes(plan), plan.strips * plan.stagingTiles * plan.staged * 128)
  const staging = plan.partial ? 0 : staged + plan.consumerGroups * t.tokens * 8
  return Math.ceil(ring / 1024) * 1024 + staging + 16 * t.stages
}

/** Refuses tiles that the kernel has no way to compute. */
export function checkWgmmaTiles(t: WgmmaTiles, format: WeightFormat, x: OperandType): void {
  const plan = wgmmaPlan(t, format, x)
  staticAssert(
    format.activations.includes(x),
    `format ${format.name} does not stand beside activations of type ${x}`,
  )
  staticAssert(
    format.steps % t.steps === 0 && t.steps % (format.steps / format.loads) === 0,
    `steps = ${t.steps} must divide the ${format.steps} k-steps of a unit and hold whole 16-byte loads`,
  )
  staticAssert(
    t.stages % t.kGroups === 0,
    `stages = ${t.stages} must be a multiple of kGroups = ${t.kGroups}`,
  )
  // A warpgroup releases a stage once it has issued the first group of its next one.
  staticAssert(
    t.stages >= 2 * t.kGroups,
    `stages = ${t.stages} must be at least twice kGroups = ${t.kGroups}`,
  )
  staticAssert(
    Number.isInteger(plan.slabs),
    `units = ${t.units} of a stage must be rows of 128 bytes of activations`,
  )
  staticAssert(t.tokens % (8 * t.multicast) === 0, 'each sharer of a multicast loads a multiple of 8 tokens')
  staticAssert(
    plan.slices === 1 || x !== 'i8',
    'integer sums have no slices: their order does not matter, so leave out `slices`',
  )
  staticAssert(
    !plan.partial || x === 'i8' || t.kGroups * t.split === plan.slices,
    `f32 sums must keep their order: of slices = ${plan.slices} each of kGroups = ${t.kGroups} times split = ` +
      `${t.split} takes one, or one warpgroup takes all`,
  )
  staticAssert(
    plan.slices === 1 || SLICE_UNITS % t.units === 0,
    `slices of K begin at multiples of ${SLICE_UNITS} units, and units = ${t.units} of a stage must divide that`,
  )
  staticAssert(
    !plan.partial || t.tokens % t.split === 0,
    'CTAs that split K finish equal shares of the tokens',
  )
  staticAssert(
    t.split === 1 || t.multicast === 1,
    `a cluster splits K or shares activations, and not both: split = ${t.split}, multicast = ${t.multicast}`,
  )
  staticAssert(
    t.pieces === undefined || (x === 'i8' && !plan.partial && plan.cluster === 1 && t.pieces > 1),
    'the last wave is shared by two CTAs or more of integer products, without clusters and warpgroups along K',
  )
  staticAssert(
    t.pieces === undefined || t.ctas * t.rowGroups <= FLAG_QUADS,
    `there is room for what ${FLAG_QUADS} warpgroups say of their pieces`,
  )
  staticAssert(
    (t.pieces === undefined && !plan.parked) || scratchShape(t)[0] <= largestScratch[0],
    `the sums of ctas = ${t.ctas} with tiles of this size do not fit the largest scratch`,
  )
  staticAssert(
    t.halves === undefined ||
      (t.tokens % (2 * 32) === 0 && !plan.partial && plan.slices === 1 && (t.pieces ?? t.band) === undefined),
    'tiles of multiples of 64 tokens are cut in halves, where one warpgroup has all of a sum and there are no slices, bands ' +
      'and pieces',
  )
  staticAssert(
    plan.held === 0 || (plan.parked && t.blocks === 1 && plan.held % 2 === 0 && plan.held <= ownSums(t) / 4),
    'of sums of slices that do not fit the registers an even number of quads may be held, where warpgroups have one block each',
  )
  staticAssert(
    plan.held === 0 || plan.held * 2048 >= plan.stagingTiles * plan.staged * 128,
    `staging = ${t.staging} tiles lie over the sums that are held: hold more, or take fewer tiles`,
  )
  staticAssert(!plan.partial || t.blocks === 1, 'warpgroups whose sums are added have one block each')
  staticAssert(plan.partial || t.staging >= 2, 'staging takes at least two tiles that take turns')
  staticAssert(
    partialBytes(t, plan) <= t.stages * plan.activationBytes,
    'the sums of all warpgroups along K must fit the activations of the ring; take more stages or units',
  )
}
