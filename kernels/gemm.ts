import type { MmaAtom } from '../dsl/atoms/index.ts'
import { columnMultiple, type RowParameters, type WeightFormat, type ZeroHandling } from '../dsl/format.ts'
import {
  barrier,
  blockIdx,
  copyAsync,
  type DType,
  dtypeBytes,
  each,
  f32,
  type In,
  i32,
  idiv,
  laneIdx,
  ldmatrix,
  load,
  loadWords,
  mma,
  type Out,
  regs,
  shared,
  staticAssert,
  store,
  type u32,
  unroll,
  warpIdx,
} from '../dsl/index.ts'
import {
  copyTile,
  featurePairs,
  loadFloatPair,
  type PairedRow,
  pairFeatures,
  pairToken,
  pipeline,
  storePair,
} from '../dsl/std/index.ts'

/**
 * What the GEMM kernels share: out[m, n] = finish(Σₖ W[n, k] · X[m, k]), on `mma.sync`.
 *
 * Weights are the A operand (D = W·Xᵀ: features on the MMA's M side, tokens on N), so that a few tokens waste little.
 * Both operands come through one `cp.async` ring. Activations are shared by the warps and read with `ldmatrix`;
 * weights lie in fragment order, so a lane reads back the very 16 bytes that it copied. A CTA computes `tileM` tokens
 * by `tileN` features; `warpsN` warps split the features and `warpsK` warps the columns of each step, which only
 * integer kernels may do: their sums do not depend on the order.
 */
export interface GemmTiles {
  /** Tokens of a CTA: a multiple of 8. */
  readonly tileM: number
  /** Features of a CTA: a multiple of `16 * warpsN`. */
  readonly tileN: number
  /** Columns of a step of the ring: a multiple of the format's unit and group for each of `warpsK`. */
  readonly tileK: number
  readonly stages: number
  readonly warpsN: number
  readonly warpsK: number
}

export interface GemmConfig extends GemmTiles {
  readonly dtype: 'f16' | 'bf16'
  readonly N: number
  readonly K: number
  readonly bias: boolean
  readonly residual: boolean
}

export interface GemmArguments {
  readonly w: In<u32, 'NTiles KUnits 128', string> | In<u32, 'NTiles KUnits 256', string>
  readonly x: In<number, 'M K'>
  readonly bias?: In<number, 'N'>
  readonly residual?: In<number, 'M N'>
  readonly out: Out<number, 'M N'>
}

/** What a kernel adds to the shared body. */
export interface GemmParts<Feature, Token> {
  readonly format: WeightFormat
  readonly zero: ZeroHandling
  /** Element type of the activations. */
  readonly x: 'i8' | 'f16' | 'bf16'
  readonly out: DType
  /** Starts the copies of a step's group parameters; `tile` is the first feature of the CTA. */
  loadGroups(step: i32, stage: i32, feature: i32): void
  /** The parameters of a feature of the CTA's tile, for the group `group` of the step in `stage`. */
  rowParameters(feature: i32, group: i32, stage: i32): RowParameters
  /** What the epilogue needs of features n and n + 1, and of a token. */
  feature(n: i32): Feature
  token(m: i32): Token
  finish(sums: readonly [number, number], feature: Feature, token: Token): readonly [f32, f32]
}

/** CTAs along tokens and along features. */
export const gemmGrid = (d: { readonly M?: number; readonly N?: number }, c: GemmTiles): [number, number] => [
  Math.ceil(d.M! / c.tileM),
  Math.ceil(d.N! / c.tileN),
]

/** The rows of everything that has one element a feature. */
export const featureRow = (c: { readonly N: number; readonly tileN: number }): PairedRow => ({
  length: c.N,
  covered: c.N % c.tileN === 0,
})

/** Threads of a CTA. */
export const gemmBlock = (c: GemmTiles): [number] => [32 * c.warpsN * c.warpsK]

function checkTiles(c: GemmConfig, format: WeightFormat): void {
  const multiple = columnMultiple(format)
  staticAssert(
    c.K % multiple === 0,
    `format ${format.name} needs K to be a multiple of ${multiple}, and K is ${c.K}`,
  )
  staticAssert(c.K % c.tileK === 0, `tileK = ${c.tileK} must divide K = ${c.K}`)
  staticAssert(
    c.tileK % (multiple * c.warpsK) === 0,
    `tileK = ${c.tileK} must be a multiple of ${multiple} for each of ${c.warpsK} warps along K`,
  )
  staticAssert(c.tileM % 8 === 0, `tileM = ${c.tileM} must be a multiple of 8 tokens`)
  staticAssert(
    c.tileN % (16 * c.warpsN) === 0,
    `tileN = ${c.tileN} must be a multiple of 16 features for each of ${c.warpsN} warps`,
  )
  staticAssert(c.stages >= 2, 'the ring needs at least 2 stages')
}

/**
 * The body of a GEMM kernel: the constants and arguments that all have, and the parts in which they differ.
 *
 * The order of the additions along K is that of the columns (within each of `warpsK` slices), whatever the tile: a
 * token's result does not depend on how many others there are.
 */
export function gemm<F, T>(a: GemmArguments, c: GemmConfig, parts: GemmParts<F, T>): void {
  const { format } = parts
  checkTiles(c, format)
  const atom: MmaAtom = format.atom(parts.x, parts.zero)
  const xBytes = dtypeBytes[parts.x]
  const strips = c.tileN / 16 / c.warpsN
  const tokenTiles = c.tileM / 8
  const stepUnits = c.tileK / format.columns
  const units = stepUnits / c.warpsK
  const groupUnits = format.group / format.columns

  const M = a.x.dim('M')
  const m0 = blockIdx.x * c.tileM
  const n0 = blockIdx.y * c.tileN
  const warpN = c.warpsN === 1 ? 0 : warpIdx % c.warpsN
  const warpK = c.warpsK === 1 ? 0 : idiv(warpIdx, c.warpsN)
  const firstStrip = warpN * strips
  const firstUnit = warpK * units

  const xs = shared<number>(parts.x, [c.stages, (c.tileK * xBytes) / 16, c.tileM, 16 / xBytes])
  const ws = shared<u32>('u32', [c.stages, c.tileN / 16, stepUnits, format.loads, 128])
  const acc = each(strips, () => each(tokenTiles, () => regs<number>(4, parts.x === 'i8' ? i32(0) : f32(0))))

  /** The parameters of the lane's two rows of each strip. */
  const rowsOf = (group: i32, stage: i32): RowParameters[][] =>
    each(strips, (s) =>
      [0, 8].map((half) => parts.rowParameters((firstStrip + s) * 16 + half + (laneIdx >>> 2), group, stage)),
    )
  const channelRows = format.group === 0 ? rowsOf(0, 0) : []

  pipeline(
    { stages: c.stages, steps: c.K / c.tileK },
    {
      load(step, stage) {
        copyTile(xs.row(stage), a.x, {
          row: m0,
          column: step * c.tileK,
          validRows: M,
          rows: c.tileM,
          columns: c.tileK,
          elementBytes: xBytes,
        })
        for (const s of unroll(strips)) {
          const strip = blockIdx.y * (c.tileN / 16) + firstStrip + s
          const valid = featureRow(c).covered || strip * 16 < c.N
          for (const u of unroll(units)) {
            const unit = firstUnit + u
            for (const part of unroll(format.loads)) {
              const to = [stage, firstStrip + s, unit, part, laneIdx * 4]
              const from = [strip, step * stepUnits + unit, part * 128 + laneIdx * 4]
              copyAsync(ws, to, a.w, from, 16, valid)
            }
          }
        }
        parts.loadGroups(step, stage, n0)
      },
      compute(_step, stage) {
        let rows = channelRows
        for (const u of unroll(units)) {
          const unit = firstUnit + u
          if (format.group > 0 && u % groupUnits === 0) rows = rowsOf(idiv(unit, groupUnits), stage)
          const weights = each(strips, (s) => {
            const words = each(format.loads, (part) =>
              loadWords(ws, [stage, firstStrip + s, unit, part, laneIdx * 4], 4),
            ).flat()
            return format.fragments(words, rows[s]!, parts.zero)
          })
          for (const j of unroll(tokenTiles)) {
            const tokens = ldmatrix(xs, [stage, unit * 4 + (laneIdx >>> 3), 8 * j + (laneIdx & 7), 0], 4)
            for (const half of unroll(2)) {
              for (const s of unroll(strips)) {
                mma(atom, acc[s]![j]!, weights[s]![half]!, tokens.slice(2 * half, 2 * half + 2))
              }
            }
          }
        }
      },
    },
  )

  if (c.warpsK > 1) sumSlices(acc.flat(), c, parts.x === 'i8' ? 'i32' : 'f32', warpN, warpK)
  if (warpK === 0) {
    const row = featureRow(c)
    const columns = each(strips, (s) =>
      pairFeatures().map((feature) => {
        const n = n0 + (firstStrip + s) * 16 + feature
        return {
          n,
          own: parts.feature(n),
          bias: c.bias ? loadFloatPair(a.bias!, [], n, row) : ([0, 0] as const),
        }
      }),
    ).flat()
    for (const j of unroll(tokenTiles)) {
      const m = m0 + 8 * j + pairToken()
      const sums = each(strips, (s) => featurePairs(acc[s]![j]!)).flat()
      if (m < M) {
        const token = parts.token(m)
        columns.forEach(({ n, own, bias }, i) => {
          let [first, second] = parts.finish(sums[i]!, own, token)
          if (c.bias) {
            first = first + bias[0]
            second = second + bias[1]
          }
          if (c.residual) {
            const residual = loadFloatPair(a.residual!, [m], n, row)
            first = first + residual[0]
            second = second + residual[1]
          }
          storePair(a.out, [m], n, row, parts.out, [first, second])
        })
      }
    }
  }
}

/** Adds the accumulators of the warps along K into those of the first, in order. */
function sumSlices(
  acc: readonly number[][],
  c: GemmTiles,
  dtype: 'i32' | 'f32',
  warpN: i32,
  warpK: i32,
): void {
  const slices = shared<number>(dtype, [c.warpsK - 1, c.warpsN, acc.length, 32, 4])
  if (warpK > 0) {
    acc.forEach((values, i) => {
      store(slices, [warpK - 1, warpN, i, laneIdx, 0], values)
    })
  }
  barrier()
  if (warpK === 0) {
    for (const slice of unroll(c.warpsK - 1)) {
      acc.forEach((values, i) => {
        const others = load(slices, [slice, warpN, i, laneIdx, 0], 4)
        for (const r of unroll(4)) values[r] = values[r]! + others[r]!
      })
    }
  }
}
