import {
  columnMultiple,
  groupOffset,
  groupOfLoad,
  loadColumns,
  loadGroups,
  loadOffset,
  mmaOfTypes,
  type OperandType,
  unitGroups,
  type WeightFormat,
  type ZeroHandling,
} from '../../dsl/format.ts'
import {
  barrier,
  blockIdx,
  ceilDiv,
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
} from '../../dsl/index.ts'
import {
  copyTile,
  featurePairs,
  loadFloatPair,
  type PairedRow,
  pairFeatures,
  pairToken,
  pipeline,
  putPair,
} from '../../dsl/std/index.ts'
import { checkFinish, type Finish, featureRows, featuresOf, rounded } from './epilogue.ts'

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
  readonly path: 'mma'
  /** Tokens of a CTA: a multiple of 8. */
  readonly tileM: number
  /** Features of a CTA: a multiple of `16 * warpsN`. */
  readonly tileN: number
  /** Columns of a step of the ring: for each of `warpsK` a multiple of `pieceColumns`, and whole groups or a part of one. */
  readonly tileK: number
  readonly stages: number
  readonly warpsN: number
  readonly warpsK: number
}

export interface GemmConfig extends GemmTiles {
  readonly dtype: 'f16' | 'bf16'
  readonly N: number
  readonly K: number
  /** Units of a strip of the packed weights. */
  readonly Units: number
  readonly bias: boolean
  readonly residual: boolean
  /** Element type of the output, `dtype` unless given; 'i8' with `outScale`. */
  readonly out?: DType
  readonly outScale?: boolean
}

export interface GemmArguments {
  readonly w: In<u32, 'Strips Units Words', string>
  readonly x: In<number, 'M K'>
  readonly bias?: In<number, 'N'>
  readonly residual?: In<number, 'M N'>
  /** [M, N], or [M, I] behind an activation. */
  readonly out: Out<number, string>
}

/** What a kernel adds to the shared body. */
export interface GemmParts<Feature, Token> extends Finish {
  readonly format: WeightFormat
  readonly zero: ZeroHandling
  /** Element type of the activations. */
  readonly x: OperandType
  /** The words that a format without groups takes for features n and n + 8. */
  rowWords(n: i32): readonly u32[]
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

/** Loads that a warp turns into operands at once: whole ones, beside at least 64 bytes of activations. */
const pieceLoads = (format: WeightFormat): number => Math.max(1, (2 * format.loads) / format.steps)

/** The columns of those loads. */
export const pieceColumns = (format: WeightFormat): number => pieceLoads(format) * loadColumns(format)

function checkTiles(c: GemmConfig, format: WeightFormat): void {
  const columns = columnMultiple(format)
  const multiple = pieceColumns(format)
  const warpColumns = c.tileK / c.warpsK
  staticAssert(
    c.K % columns === 0,
    `format ${format.name} needs K to be a multiple of ${columns}, and K is ${c.K}`,
  )
  staticAssert(
    c.tileK % (multiple * c.warpsK) === 0,
    `tileK = ${c.tileK} must be a multiple of ${multiple} for each of ${c.warpsK} warps along K`,
  )
  staticAssert(
    format.group === 0 || warpColumns % format.group === 0 || format.group % warpColumns === 0,
    `tileK = ${c.tileK} must give each of ${c.warpsK} warps whole groups of ${format.group} columns, or a part of one`,
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
  checkFinish(parts, c)
  const types = format.types(parts.x, parts.zero)
  const atom = mmaOfTypes(types)!
  staticAssert(atom !== undefined, `mma.sync has no operands of ${types}; take the path of wgmma, on sm_90a`)
  const xBytes = dtypeBytes[parts.x]
  const strips = c.tileN / 16 / c.warpsN
  const tokenTiles = c.tileM / 8
  const steps = ceilDiv(c.K, c.tileK)

  const loads = pieceLoads(format)
  const pieceSteps = (loads * format.steps) / format.loads
  const unitPieces = format.loads / loads
  const stepPieces = c.tileK / pieceColumns(format)
  const pieces = stepPieces / c.warpsK
  // A warp that takes a part of a group has that group's words for itself.
  const warpColumns = c.tileK / c.warpsK
  const groups = format.group > 0 ? Math.max(1, warpColumns / format.group) : 0

  const M = a.x.dim('M')
  const m0 = blockIdx.x * c.tileM
  const n0 = blockIdx.y * c.tileN
  const warpN = c.warpsN === 1 ? 0 : warpIdx % c.warpsN
  const warpK = c.warpsK === 1 ? 0 : idiv(warpIdx, c.warpsN)
  const firstStrip = warpN * strips
  const firstPiece = warpK * pieces
  const firstGroup = warpK * groups

  const xs = shared<number>(parts.x, [c.stages, (c.tileK * xBytes) / 16, c.tileM, 16 / xBytes])
  const ws = shared<u32>('u32', [c.stages, c.tileN / 16, stepPieces, loads, 128])
  const rowWords = 8 * format.groupWords
  const gs = groups > 0 ? shared<u32>('u32', [c.stages, c.tileN / 16, groups * c.warpsK, rowWords]) : ws
  const acc = each(strips, () => each(tokenTiles, () => regs<number>(4, parts.x === 'i8' ? i32(0) : f32(0))))
  const lanePair = laneIdx >>> 2
  const channelWords =
    format.group === 0 ? each(strips, (s) => parts.rowWords(n0 + (firstStrip + s) * 16 + lanePair)) : []

  /** Whether a strip of 16 rows has any, and a unit any columns. */
  const holds = (strip: i32, unit: i32): boolean =>
    (featureRow(c).covered || strip * 16 < c.N) && (steps * c.tileK <= c.Units * 128 || unit < c.Units)

  const loadWeights = (step: i32, stage: i32): void => {
    for (const s of unroll(strips)) {
      const strip = blockIdx.y * (c.tileN / 16) + firstStrip + s
      for (const u of unroll(pieces)) {
        // Where a warp's columns are whole units, the place in the unit is known while compiling.
        const whole = pieces % unitPieces === 0
        const piece = step * stepPieces + firstPiece + u
        const unit = whole
          ? (step * c.warpsK + warpK) * (pieces / unitPieces) + Math.floor(u / unitPieces)
          : idiv(piece, unitPieces)
        const inUnit = whole ? u % unitPieces : piece % unitPieces
        for (const part of unroll(loads)) {
          const to = [stage, firstStrip + s, firstPiece + u, part, laneIdx * 4]
          const from = loadOffset(inUnit * loads + part, (strip & 3) * 32 + laneIdx)
          copyAsync(ws, to, a.w, [strip >>> 2, unit, from], 16, holds(strip, unit))
        }
      }
    }
  }

  /** Each warp copies the words of its own strips and groups, 16 bytes a lane. */
  const loadGroupWords = (step: i32, stage: i32): void => {
    const chunks = rowWords / 4
    const copies = strips * groups * chunks
    for (const turn of unroll(ceilDiv(copies, 32))) {
      const copy = laneIdx + 32 * turn
      const chunk = copy % chunks
      const inWarp = idiv(copy, chunks) % groups
      const s = firstStrip + idiv(copy, chunks * groups)
      const strip = blockIdx.y * (c.tileN / 16) + s
      const part = step * c.warpsK + warpK
      const group =
        warpColumns < format.group ? idiv(part, format.group / warpColumns) : part * groups + inWarp
      const unit = idiv(group, unitGroups(format))
      if ((turn + 1) * 32 <= copies || copy < copies) {
        const from = groupOffset(format, group % unitGroups(format), (strip & 3) * 8) + chunk * 4
        const to = [stage, s, firstGroup + inWarp, chunk * 4]
        copyAsync(gs, to, a.w, [strip >>> 2, unit, from], 16, holds(strip, unit))
      }
    }
  }

  /** The words of the groups of load `part` of piece `u` (static), for strip `s`. */
  const groupWordsOf = (stage: i32, s: number, u: number, part: number): readonly u32[] => {
    if (format.group === 0) return channelWords[s]!
    const first = firstGroup + (groups > 1 ? groupOfLoad(format, u * loads + part) : 0)
    return each(loadGroups(format), (i) =>
      loadWords(gs, [stage, firstStrip + s, first + i, lanePair * format.groupWords], format.groupWords),
    ).flat()
  }

  pipeline(
    { stages: c.stages, steps },
    {
      load(step, stage) {
        copyTile(xs.row(stage), a.x, {
          row: m0,
          column: step * c.tileK,
          validRows: M,
          ...(steps * c.tileK > c.K ? { validColumns: c.K } : {}),
          rows: c.tileM,
          columns: c.tileK,
          elementBytes: xBytes,
        })
        loadWeights(step, stage)
        if (groups > 0) loadGroupWords(step, stage)
      },
      compute(_step, stage) {
        for (const u of unroll(pieces)) {
          const piece = firstPiece + u
          const weights = each(strips, (s) =>
            each(loads, (part) => {
              const words = loadWords(ws, [stage, firstStrip + s, piece, part, laneIdx * 4], 4)
              return format.fragments(words, groupWordsOf(stage, s, u, part), parts.zero, parts.x)
            }).flat(),
          )
          for (const j of unroll(tokenTiles)) {
            for (const pair of unroll(pieceSteps / 2)) {
              const chunk = (piece * (pieceSteps / 2) + pair) * 4 + (laneIdx >>> 3)
              const tokens = ldmatrix(xs, [stage, chunk, 8 * j + (laneIdx & 7), 0], 4)
              for (const half of unroll(2)) {
                for (const s of unroll(strips)) {
                  mma(atom, acc[s]![j]!, weights[s]![2 * pair + half]!, tokens.slice(2 * half, 2 * half + 2))
                }
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
    // Rows n and n + 8 of W make one feature, or one each.
    const merged = featureRows(parts)
    const outRow = { length: c.N / merged, covered: row.covered }
    const columns = each(strips, (s) =>
      pairFeatures().map((feature) => {
        const n = n0 + (firstStrip + s) * 16 + feature
        return {
          n,
          at: merged === 1 ? n : (n0 >>> 1) + (firstStrip + s) * 8 + feature,
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
        const outScale = parts.outScale?.at(m)
        for (const i of unroll(0, columns.length, merged)) {
          const rows = each(merged, (half) => {
            const { own, bias } = columns[i + half]!
            const [first, second] = parts.finish(sums[i + half]!, own, token)
            return c.bias ? [first + bias[0], second + bias[1]] : [first, second]
          })
          let [first, second] = featuresOf(parts, rows)[0]!
          const { at } = columns[i]!
          if (c.residual) {
            const residual = loadFloatPair(a.residual!, [m], at, row)
            first = first! + residual[0]
            second = second! + residual[1]
          }
          putPair(a.out, [m], at, outRow, [
            rounded(parts.out, first!, outScale),
            rounded(parts.out, second!, outScale),
          ])
        }
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
