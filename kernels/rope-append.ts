import {
  blockIdx,
  ceilDiv,
  type Elem,
  each,
  type f16,
  f32,
  fma,
  type In,
  type InOut,
  type i32,
  kernel,
  laneIdx,
  load,
  type Out,
  regs,
  shuffleXor,
  staticAssert,
  storeWords,
  unroll,
  warpIdx,
} from '../dsl/index.ts'
import { rsqrtExact, warpSum } from '../dsl/std/index.ts'
import type { KvConfig } from './formats/kv.ts'
import { KEYS, VALUES } from './formats/kv-pages.ts'
import { codeTile, type PageStore, storeVectors } from './formats/kv-store.ts'
import { overlapLaunches } from './half-rows.ts'
import { HEAD_LANES, hadamardBits, halfWords, laneRuns, type RunPair, runColumns } from './head-share.ts'

export interface RopeAppendConfig extends KvConfig {
  readonly dtype: 'f16' | 'bf16'
  /** Head dimension, a multiple of 32. */
  readonly D: number
  /** Leading columns of a head that are rotated, a multiple of 16; the others pass. */
  readonly R: number
  /** Query heads and key/value heads. */
  readonly Hq: number
  readonly Hkv: number
  /** Columns of `qkv`: (Hq + 2·Hkv)·D. */
  readonly QKV: number
  /** Columns of `q`: Hq·D. */
  readonly HqD: number
  /** Queries and keys are normalized, head by head, before they are rotated: the mean square plus this becomes 1. */
  readonly normEpsilon?: number
  /** Whether there is `qNorm` or `kNorm`, which is where `normEpsilon` is. */
  readonly qNorm?: boolean
  readonly kNorm?: boolean
  /** Queries and keys go through a Hadamard transform over the head. */
  readonly hadamard?: boolean
  /** A mean per channel is subtracted from keys. */
  readonly keyMean?: boolean
  /** Of coded keys and values, the part of a vector's range that codes cover; what lies beyond saturates. */
  readonly kvClip?: number
}

const WARPS = 2
/** Tokens of a warp. */
const TOKENS = 4

/**
 * Heads that a warp takes, all loaded before the first is used. One alone would load its cosines for too little; of four the
 * registers leave room for too few warps.
 */
const headsPerWarp = (heads: number, D: number): number =>
  [4, 3, 2].find((n) => heads % n === 0 && n * D <= 256) ?? 1

/** Warps that share the heads of four tokens. */
const jobsOf = (c: RopeAppendConfig) => ({
  q: c.Hq / headsPerWarp(c.Hq, c.D),
  kv: c.Hkv / headsPerWarp(c.Hkv, c.D),
})
const blocksOf = (c: RopeAppendConfig): number => ceilDiv(jobsOf(c).q + 2 * jobsOf(c).kv, WARPS)

/**
 * CTAs that should fit a multiprocessor beside each other: of 64 registers a thread, where what a lane has of a head, and the
 * weights of its norm, fit in so many.
 */
const residentBlocks = (c: RopeAppendConfig): number => {
  const hasNorm = c.qNorm || c.kNorm
  const warps = c.D > 128 ? (hasNorm ? 16 : 24) : hasNorm ? 20 : 32
  return warps / WARPS
}

/** A head of one token: per pair of a lane's runs, the values. */
type Runs = [f32[], f32[]][]

/**
 * Makes queries and keys ready for attention, and appends keys and values to the paged cache in the cache's format, in one
 * pass over the product's output. In this order:
 *
 *   queries   normalize → rotate → Hadamard → round to `dtype`
 *   keys      normalize → rotate → Hadamard → subtract the mean → encode
 *   values    encode
 *
 * so that the mean is that of the keys as they would be encoded without it. Rotation is Hugging Face's rotate-half, and
 * every step is a correctly rounded operation on f32: the bits are the same on every device.
 *
 * A warp takes up to four heads of four neighbouring tokens, eight lanes each. Each vector has one owner. Four tokens whose
 * slots are a quad, as within prompts that begin where quads do, store values in words.
 *
 * `slots` says where a token's key and value go, page · 64 + offset; those of a negative slot are not kept (padding).
 * `cosSin` holds, per position, the cosines of the R/2 angles and then their sines. `positions`, `slots` and `cosSin` are
 * read before the previous kernel has ended: it may not write them.
 */
export const ropeAppend = kernel(
  import.meta.url,
  {
    grid: (d, c: RopeAppendConfig) => [blocksOf(c), ceilDiv(d.T!, TOKENS)],
    block: [32 * WARPS],
    blocksPerMultiprocessor: residentBlocks,
  },
  function ropeAppend(
    a: {
      qkv: In<Elem<'dtype'>, 'T QKV'>
      positions: In<i32, 'T'>
      slots: In<i32, 'T'>
      cosSin: In<f32, 'P R'>
      qNorm?: In<Elem<'dtype'>, 'D'>
      kNorm?: In<Elem<'dtype'>, 'D'>
      keyMean?: In<f32, 'Hkv D'>
      q: Out<Elem<'dtype'>, 'T HqD'>
      kv: InOut<Elem<'kvElement'>, 'Pages Hkv 2 PB'>
      kvParams?: InOut<f16, 'Pages Hkv 2 64 2'>
    },
    c: RopeAppendConfig,
  ) {
    const { D, R, Hq, Hkv } = c
    const run = runColumns(D)
    staticAssert(D % 32 === 0, 'the head dimension must be a multiple of 32')
    staticAssert(
      R % 16 === 0 && R <= D && R >= 2 * run,
      'the rotated columns must be a multiple of 16 within the head',
    )
    const tokens = a.qkv.dim('T')
    const own = blockIdx.y * TOKENS + (laneIdx >>> 3)
    const isToken = own < tokens
    const token = Math.min(own, tokens - 1)
    const pairs = laneRuns(c)
    const job = blockIdx.x * WARPS + warpIdx
    const jobs = jobsOf(c)
    const kvHeads = headsPerWarp(Hkv, D)
    const codes = codeTile(c, WARPS, kvHeads)

    const load4 = (first: i32, heads: number): Runs[] => {
      const raw = each(heads, (i) =>
        pairs.map(({ columns }) =>
          columns.map((column) => load(a.qkv, [token, (first + i) * D + column], run)),
        ),
      )
      return raw.map((head) =>
        head.map((sides) => sides.map((side) => side.map((value) => f32(value))) as [f32[], f32[]]),
      )
    }
    const pages = (block: typeof KEYS | typeof VALUES, slot: i32): PageStore => ({
      kv: a.kv,
      kvParams: a.kvParams,
      c,
      block,
      // A select behind the load, and no load of some lanes alone: what is written next would wait for it.
      slot: isToken ? slot : -1,
      pairs,
      codes,
    })

    if (job < jobs.q + jobs.kv) {
      const angles = loadAngles(a.cosSin, a.positions.at(token), R, pairs, run)
      if (job < jobs.q) {
        const weights = a.qNorm ? loadWeights(a.qNorm, pairs, run) : undefined
        overlapLaunches({ rows: tokens })
        const heads = headsPerWarp(Hq, D)
        const first = job * heads
        load4(first, heads).forEach((vector, i) => {
          const normal = weights ? normalized(vector, weights, c, pairs) : vector
          const rotated = rotate(normal, angles, pairs)
          const ready = c.hadamard ? hadamard(rotated, c) : rotated
          pairs.forEach(({ columns, owned }, p) => {
            ready[p]!.forEach((values, side) => {
              if (isToken && owned)
                storeWords(a.q, [token, (first + i) * D + columns[side]!], halfWords(values, c.dtype))
            })
          })
        })
      } else {
        const slot = a.slots.at(token)
        const weights = a.kNorm ? loadWeights(a.kNorm, pairs, run) : undefined
        overlapLaunches({ rows: tokens })
        const first = (job - jobs.q) * kvHeads
        const keys = load4(Hq + first, kvHeads).map((vector, i) => {
          const normal = weights ? normalized(vector, weights, c, pairs) : vector
          const rotated = rotate(normal, angles, pairs)
          const turned = c.hadamard ? hadamard(rotated, c) : rotated
          return { head: first + i, runs: a.keyMean ? centred(turned, a.keyMean, first + i, pairs) : turned }
        })
        storeVectors(pages(KEYS, slot), keys)
      }
    } else {
      const slot = a.slots.at(token)
      overlapLaunches({ rows: tokens })
      if (job < jobs.q + 2 * jobs.kv) {
        const first = (job - jobs.q - jobs.kv) * kvHeads
        const values = load4(Hq + Hkv + first, kvHeads)
        storeVectors(
          pages(VALUES, slot),
          values.map((runs, i) => ({ head: first + i, runs })),
        )
      }
    }
  },
)

interface Angles {
  readonly cos: readonly f32[]
  readonly sin: readonly f32[]
}

/** Cosines and sines of each pair's runs; whatever where nothing is rotated. */
function loadAngles(
  cosSin: In<f32, string>,
  position: i32,
  R: number,
  pairs: readonly RunPair[],
  run: number,
): Angles[] {
  return pairs.map(({ angle }) => {
    const at = Math.min(angle, R / 2 - run)
    return { cos: load(cosSin, [position, at], run), sin: load(cosSin, [position, R / 2 + at], run) }
  })
}

function rotate(vector: Runs, angles: readonly Angles[], pairs: readonly RunPair[]): Runs {
  return vector.map(([x, y], p) => {
    const { cos, sin } = angles[p]!
    const low = x.map((value, i) => value * cos[i]! - y[i]! * sin[i]!)
    const high = y.map((value, i) => value * cos[i]! + x[i]! * sin[i]!)
    const { rotated } = pairs[p]!
    return [
      low.map((value, i) => (rotated ? value : x[i]!)),
      high.map((value, i) => (rotated ? value : y[i]!)),
    ]
  })
}

/** x · (1 / √(mean(x²) + ε)) · weight, each product rounded; squares are summed run after run, then over the lanes. */
function normalized(
  vector: Runs,
  weights: Runs,
  { D, normEpsilon }: RopeAppendConfig,
  pairs: readonly RunPair[],
): Runs {
  const squares = vector.map((sides, p) => {
    const sum = sides.flat().reduce((total: f32, value) => fma(value, value, total), f32(0))
    return pairs[p]!.owned ? sum : f32(0)
  })
  const sum = warpSum(
    squares.reduce((x, y) => x + y),
    HEAD_LANES,
  )
  const factor = rsqrtExact(sum * (1 / D) + normEpsilon!)
  return vector.map((sides, p) =>
    sides.map((values, side) => values.map((value, i) => value * factor * weights[p]![side]![i]!)),
  ) as Runs
}

/** The weights of the calling lane's columns. */
const loadWeights = (weight: In<number, string>, pairs: readonly RunPair[], run: number): Runs =>
  pairs.map(({ columns }) =>
    columns.map((column) => load(weight, [column], run).map((value) => f32(value))),
  ) as Runs

/** The normalised Hadamard transform over the head, one bit of the columns' numbers after the other. */
function hadamard(vector: Runs, c: RopeAppendConfig): Runs {
  const { D, R } = c
  staticAssert(
    D >= 64 && Math.log2(D) % 1 === 0 && D % R === 0,
    'a Hadamard transform needs a power of two for a head, of which a power of two is rotated',
  )
  const run = runColumns(D)
  const inRun = Math.log2(run)
  const between = Math.log2(R / 2)
  const bits = hadamardBits(c)
  const lanes = bits.slice(-3)
  /** In the order of registers: run columns, sides, pairs. */
  const x = regs(vector.length * 2 * run, f32(0))
  vector.flat(2).forEach((value, i) => {
    x[i] = value
  })
  for (const bit of bits.slice(0, -3)) {
    const stride =
      bit < inRun ? 2 ** bit : bit === between ? run : 2 * run * 2 ** (bits.indexOf(bit) - inRun - 1)
    for (const i of unroll(x.length)) {
      if (Math.floor(i / stride) % 2 === 0) {
        const [low, high] = [x[i]!, x[i + stride]!]
        x[i] = low + high
        x[i + stride] = low - high
      }
    }
  }
  lanes.forEach((_, step) => {
    const sign = (laneIdx & (1 << step)) === 0 ? f32(1) : f32(-1)
    for (const i of unroll(x.length)) x[i] = fma(x[i]!, sign, shuffleXor(x[i]!, 1 << step))
  })
  const norm = Math.fround(1 / Math.sqrt(D))
  return vector.map((_, p) =>
    [0, 1].map((side) => each(run, (i) => x[(2 * p + side) * run + i]! * norm)),
  ) as Runs
}

function centred(vector: Runs, mean: In<f32, string>, head: i32, pairs: readonly RunPair[]): Runs {
  return vector.map((sides, p) =>
    sides.map((values, side) => {
      const means = load(mean, [head, pairs[p]!.columns[side]!], values.length)
      return values.map((value, i) => value - means[i]!)
    }),
  ) as Runs
}
