import {
  arriveExpecting,
  type Barriers,
  barriers,
  ceilDiv,
  commitBulk,
  commitCopies,
  copyAsync,
  copyTensor,
  dtypeBytes,
  each,
  f16x2,
  f32,
  fenceAsync,
  fenceBarrierInit,
  type In,
  i32,
  idiv,
  initBarrier,
  laneIdx,
  ldmatrix,
  loadWords,
  namedBarrier,
  overlay,
  packBf16,
  packF16,
  regs,
  type Shared,
  shared,
  stmatrix,
  storeTensor,
  storeWords,
  swizzledTile,
  threadIdx,
  u32,
  unpack2,
  unroll,
  waitBarrier,
  waitBulk,
  waitCopies,
  warpIdx,
} from '../../dsl/index.ts'
import { endToken, firstToken, ofExpert, type TokenTile } from '../group-tiles.ts'
import { featureRows, featuresOf, outFeatures, rounded, rowsOf } from './epilogue.ts'
import type { WgmmaPlan } from './wgmma-plan.ts'
import type { WgmmaProduct } from './wgmma-product.ts'

/**
 * What happens to the sums of one warpgroup's tile. A lane holds two rows by pairs of neighbouring tokens of them, while the
 * output has a token's rows side by side. So the sums are scaled in registers, transposed by `stmatrix` into staging tiles
 * of [tokens][64 rows], a few tokens at a time, and stored from there by the copy engine. A residual comes the same way
 * back: the copy engine fills the staging tile, `ldmatrix` transposes, and what is stored replaces it.
 */
export interface Epilogue {
  /** [strip, turn, token, feature]; none for 32-bit floats, which go from registers as they are. */
  readonly staging: Shared<number> | undefined
  /** [warpgroup over rows, pair of tokens, tensor × token of the pair]. */
  readonly tokens: Shared<u32> | undefined
  /** Residuals in the staging tiles, by warpgroup and turn, and the parities of the phases to come. */
  readonly residual: Barriers | undefined
  readonly parities: i32[]
}

/** The features of the 64 rows of a block. */
const blockFeatures = ({ parts }: WgmmaProduct): number => 64 / featureRows(parts)

/** What the epilogue wants of a token. */
const tokenTensors = ({ parts }: WgmmaProduct): readonly In<number, 'M'>[] =>
  parts.outScale === undefined ? parts.tokens : [...parts.tokens, parts.outScale]

/** @param held the sums of slices that wait in shared memory (`holdSums`), over which the staging tiles lie. */
export function makeEpilogue(g: WgmmaProduct, held: Shared<number> | undefined): Epilogue | undefined {
  const { a, c, parts, plan } = g
  if (plan.partial) return undefined
  const count = tokenTensors(g).length
  const isStaged = dtypeBytes[parts.out] <= 2
  const strip = [plan.staged, blockFeatures(g)]
  // Those of a warpgroup lie over its own sums: another one may still wait for its own.
  const heldTiles = idiv(plan.held * 2048, plan.staged * 128)
  const stage = (): Shared<number> =>
    held === undefined
      ? shared<number>(parts.out, swizzledTile([plan.strips, plan.stagingTiles, ...strip], parts.out))
      : overlay<number>(held, parts.out, swizzledTile([plan.strips, heldTiles, ...strip], parts.out))
  return {
    staging: isStaged ? stage() : undefined,
    tokens: count > 0 ? shared<u32>('u32', [c.rowGroups, c.tokens / 2, 2 * count]) : undefined,
    residual:
      c.residual && isStaged && a.residual!.dtype === parts.out
        ? barriers(c.rowGroups * plan.stagingTiles)
        : undefined,
    parities: regs(plan.stagingTiles, i32(0)),
  }
}

/** By one thread, before the CTA's first barrier. */
export function initEpilogue(epilogue: Epilogue | undefined): void {
  if (epilogue?.residual === undefined) return
  for (const i of unroll(epilogue.residual.count)) initBarrier(epilogue.residual, i, 1)
  fenceBarrierInit()
}

/** What a warpgroup fetches before it multiplies: a block's words for the format, and its two rows for the epilogue. */
export interface TileRows {
  readonly words: readonly (readonly u32[])[]
  readonly rows: readonly (readonly [() => unknown, () => unknown])[]
  readonly bias: readonly (readonly [number, number])[]
}

/** The first row of a block of a warpgroup. */
const blockRow = (plan: WgmmaPlan, tile: TokenTile, rowGroup: i32, b: number): i32 =>
  tile.row * plan.rows + rowGroup * plan.blockRows + b * 64

/** The first feature of a block. */
const blockFeature = ({ parts, plan }: WgmmaProduct, { tile, rowGroup }: TileSums, b: number): i32 => {
  const row = blockRow(plan, tile, rowGroup, b)
  return featureRows(parts) === 1 ? row : row >>> 1
}

const warpgroupThread = (): i32 => threadIdx.x & 127

/** Fetches what a tile needs besides its operands; the tokens' elements come into shared memory meanwhile. */
export function prepareTile(
  g: WgmmaProduct,
  epilogue: Epilogue | undefined,
  tile: TokenTile,
  rowGroup: i32,
): TileRows {
  const { a, c, parts, plan } = g
  const last = rowsOf(g) - 1
  const ofBlock = <T>(f: (upper: i32, lower: i32) => T): T[] =>
    each(c.blocks, (b) => {
      const upper = blockRow(plan, tile, rowGroup, b) + (warpIdx & 3) * 16 + (laneIdx >>> 2)
      return f(Math.min(upper, last), Math.min(upper + 8, last))
    })
  const words = ofBlock((upper, lower) => parts.rowWords(upper, lower, tile.expert))
  if (epilogue === undefined) return { words, rows: [], bias: [] }

  tokenTensors(g).forEach((tensor, j) => {
    const elements = overlay<number>(epilogue.tokens!, tensor.dtype, epilogue.tokens!.shape)
    for (const turn of unroll(ceilDiv(c.tokens, 128))) {
      const token = warpgroupThread() + turn * 128
      const m = firstToken(tile, c.tokens) + token
      if ((turn + 1) * 128 <= c.tokens || token < c.tokens) {
        const place = [rowGroup, token >>> 1, 2 * j + (token & 1)]
        copyAsync(elements, place, tensor, [m], 4, m < a.x.dim('M'))
      }
    }
  })
  commitCopies()
  return {
    words,
    rows: ofBlock(
      (...pair) => pair.map((n) => parts.rows(n, 1, tile.expert)[0]!) as [() => unknown, () => unknown],
    ),
    bias: c.bias
      ? ofBlock((...pair) => pair.map((n) => ofExpert(a.bias!, tile.expert).at(n)) as [number, number])
      : [],
  }
}

/** A warpgroup's tile on its way out. */
export interface TileSums {
  readonly tile: TokenTile
  readonly rowGroup: i32
  readonly acc: readonly number[][]
}

/** The residual of a chunk of tokens on its way into its staging tiles. By one thread of the warpgroup. */
function fetchResidual({ a, c, plan }: WgmmaProduct, epilogue: Epilogue, o: TileSums, chunk: number): void {
  const turn = chunk % plan.stagingTiles
  const index = o.rowGroup * plan.stagingTiles + turn
  const token = firstToken(o.tile, c.tokens) + chunk * plan.staged
  arriveExpecting(epilogue.residual!, index, c.blocks * plan.staged * 128)
  for (const b of unroll(c.blocks)) {
    const staged = epilogue.staging!.row(o.rowGroup * c.blocks + b, turn)
    const row = blockRow(plan, o.tile, o.rowGroup, b)
    copyTensor(staged, a.residual!, [token, row], epilogue.residual!, index)
  }
}

/** Starts what the epilogue of a tile needs, while the last products are under way. */
export function beginFinish(g: WgmmaProduct, epilogue: Epilogue, o: TileSums): void {
  if (epilogue.staging === undefined || warpgroupThread() !== 0) return
  // The stores of the tile before have left the staging tiles.
  waitBulk(0, { read: true })
  if (epilogue.residual === undefined) return
  const { plan, c } = g
  for (const chunk of unroll(Math.min(plan.stagingTiles, c.tokens / plan.staged))) {
    fetchResidual(g, epilogue, o, chunk)
  }
}

/** Brings a warpgroup's sums on their way; called by its threads once the sums are there. */
export function finishTile(g: WgmmaProduct, epilogue: Epilogue, fetched: TileRows, o: TileSums): void {
  const { c, plan } = g
  const id = 1 + o.rowGroup
  waitCopies(0)
  namedBarrier(id, 128)
  const rows = fetched.rows.map((pair) => pair.map((row) => row()))
  const bias = c.bias ? fetched.bias.map((pair) => pair.map((value) => f32(value))) : undefined
  const features = (b: number, octet: number): readonly (readonly f32[])[] =>
    scaleOctet(g, epilogue, o, rows[b]!, bias?.[b], b, octet)
  if (epilogue.staging === undefined) {
    for (const b of unroll(c.blocks)) {
      for (const octet of unroll(c.tokens / 8)) storeOctet(g, o, b, octet, features(b, octet))
    }
    // The next tile's elements of tokens come where these were read.
    if (epilogue.tokens !== undefined) namedBarrier(id, 128)
    return
  }
  const chunks = c.tokens / plan.staged
  const turns = plan.stagingTiles
  // With a residual a staging tile is filled again so many chunks before it is used.
  const early = Math.min(2, turns - 1)
  const isStoring = warpgroupThread() === 0
  for (const chunk of unroll(chunks)) {
    if (epilogue.residual !== undefined) {
      waitBarrier(epilogue.residual, o.rowGroup * turns + (chunk % turns), epilogue.parities[chunk % turns]!)
      epilogue.parities[chunk % turns] = epilogue.parities[chunk % turns]! ^ 1
    }
    for (const b of unroll(c.blocks)) stageChunk(g, epilogue, o, b, chunk, features)
    fenceAsync()
    // Behind the barrier everybody may write to the next staging tile: its last store has read it.
    const isReused = epilogue.residual === undefined && chunk + 1 >= turns && chunk + 1 < chunks
    if (isReused && isStoring) waitBulk(turns - 2, { read: true })
    namedBarrier(id, 128)
    // The copy engine would overwrite the rows of the next expert's tokens.
    if (o.tile.end !== undefined && chunkToken(g, o, chunk) + plan.staged > o.tile.end) {
      for (const b of unroll(c.blocks)) storeTokens(g, epilogue, o, b, chunk)
      if (isStoring) commitBulk()
    } else if (isStoring) {
      const token = chunkToken(g, o, chunk)
      for (const b of unroll(c.blocks)) {
        const staged = epilogue.staging.row(o.rowGroup * c.blocks + b, chunk % turns)
        storeTensor(
          g.a.out,
          [token, blockFeature(g, o, b)],
          staged,
          c.keep === undefined ? {} : { evict: 'first' },
        )
      }
      commitBulk()
      if (epilogue.residual !== undefined && chunk + early >= turns && chunk + early < chunks) {
        waitBulk(turns - early, { read: true })
        fetchResidual(g, epilogue, o, chunk + early)
      }
    }
  }
}

/** The first token of a chunk of a tile. */
const chunkToken = ({ c, plan }: WgmmaProduct, { tile }: TileSums, chunk: number): i32 =>
  firstToken(tile, c.tokens) + chunk * plan.staged

/** Stores those tokens of a block's staged chunk that lie before the end of the tile's. */
function storeTokens(g: WgmmaProduct, epilogue: Epilogue, o: TileSums, b: number, chunk: number): void {
  const { a, c, parts, plan } = g
  const staged = epilogue.staging!.row(o.rowGroup * c.blocks + b, chunk % plan.stagingTiles)
  const pieceFeatures = 16 / dtypeBytes[parts.out]
  const rowPieces = blockFeatures(g) / pieceFeatures
  const pieces = plan.staged * rowPieces
  for (const turn of unroll(ceilDiv(pieces, 128))) {
    const piece = warpgroupThread() + turn * 128
    const token = idiv(piece, rowPieces)
    const feature = (piece % rowPieces) * pieceFeatures
    const m = chunkToken(g, o, chunk) + token
    const n = blockFeature(g, o, b) + feature
    const isStaged = (turn + 1) * 128 <= pieces || piece < pieces
    if (isStaged && m < o.tile.end! && n < outFeatures(g)) {
      storeWords(a.out, [m, n], loadWords(staged, [token, feature], 4))
    }
  }
}

/** Rounds a block's features of a chunk of tokens and puts them into their staging tile. */
function stageChunk(
  g: WgmmaProduct,
  epilogue: Epilogue,
  o: TileSums,
  b: number,
  chunk: number,
  features: (b: number, octet: number) => readonly (readonly f32[])[],
): void {
  const { c, parts, plan } = g
  const tile = [o.rowGroup * c.blocks + b, chunk % plan.stagingTiles]
  const octets = plan.staged / 8
  if (parts.out === 'i8') {
    for (const octet of unroll(octets)) {
      stageCodes(g, epilogue, o, tile, octet, chunk * octets + octet, features(b, chunk * octets + octet))
    }
    return
  }
  for (const first of unroll(0, octets, 2)) {
    const count = Math.min(2, octets - first) as 1 | 2
    stageFloats(g, epilogue, tile, first, count, (e) => features(b, chunk * octets + first + e))
  }
}

/** Transposes one or two octets of tokens into a staging tile; a residual that it holds is added. */
function stageFloats(
  { parts }: WgmmaProduct,
  epilogue: Epilogue,
  tile: readonly i32[],
  first: number,
  count: 1 | 2,
  features: (octet: number) => readonly (readonly f32[])[],
): void {
  // Matrices: the rows g, then g + 8 of the first eight tokens, then those of the next; or their features.
  const matrix = laneIdx >>> 3
  const isMerged = featureRows(parts) === 2
  const token = 8 * (first + (count === 1 ? 0 : isMerged ? matrix & 1 : matrix >>> 1)) + (laneIdx & 7)
  const row = isMerged ? (warpIdx & 3) * 8 : (warpIdx & 3) * 16 + (matrix & 1) * 8
  const place = [...tile, token, row]
  const values = each(count, features).flat()
  const residual =
    epilogue.residual === undefined
      ? undefined
      : ldmatrix(epilogue.staging!, place, count === 2 ? 4 : 2, { transposed: true })
  const words = values.map(([even, odd], i) => {
    const [onEven, onOdd] = residual === undefined ? [0, 0] : pairOf(parts.out, residual[i]!)
    return residual === undefined
      ? pairWord(parts.out, even!, odd!)
      : pairWord(parts.out, even! + onEven!, odd! + onOdd!)
  })
  stmatrix(epilogue.staging!, place, words, { transposed: true })
}

/** Puts the codes of an octet of tokens into a staging tile: no instruction transposes bytes. */
function stageCodes(
  { parts }: WgmmaProduct,
  epilogue: Epilogue,
  o: TileSums,
  tile: readonly i32[],
  octet: number,
  tileOctet: number,
  values: readonly (readonly f32[])[],
): void {
  const pair = laneIdx & 3
  const place = [o.rowGroup, tileOctet * 4 + pair, 2 * parts.tokens.length]
  const scales = loadWords(epilogue.tokens!, place, 2)
  values.forEach((tokens, half) => {
    const row = (warpIdx & 3) * (16 / featureRows(parts)) + half * 8 + (laneIdx >>> 2)
    tokens.forEach((value, i) => {
      const code = rounded(parts.out, value, f32.bits(scales[i]!))
      epilogue.staging!.put(code, ...tile, octet * 8 + pair * 2 + i, row)
    })
  })
}

const pairWord = (dtype: string, even: f32, odd: f32): u32 =>
  u32.bits(dtype === 'bf16' ? packBf16(even, odd) : packF16(even, odd))

/** The two floats of a word. */
function pairOf(dtype: string, word: u32): [f32, f32] {
  // The upper half of an f32 is a bf16.
  if (dtype === 'bf16') return [f32.bits(word << 16), f32.bits(word & 0xffff0000)]
  const [even, odd] = unpack2(f16x2.bits(word))
  return [f32(even), f32(odd)]
}

/** A lane's features of eight tokens of a block: of two tokens each, those of row g and of row g + 8, or the one of both. */
function scaleOctet(
  g: WgmmaProduct,
  epilogue: Epilogue,
  o: TileSums,
  rows: readonly unknown[],
  bias: readonly f32[] | undefined,
  b: number,
  octet: number,
): readonly (readonly f32[])[] {
  const { parts } = g
  const pair = octet * 4 + (laneIdx & 3)
  const count = parts.tokens.length
  const words =
    count === 0
      ? []
      : tokenTensors(g).length > 2
        ? each(count, (j) => loadWords(epilogue.tokens!, [o.rowGroup, pair, 2 * j], 2)).flat()
        : loadWords(epilogue.tokens!, [o.rowGroup, pair, 0], 2 * count)
  const scaled = each(2, (half) =>
    each(2, (i) => {
      const token = parts.tokens.map((_, j) => words[2 * j + i]!)
      const value = parts.finish(o.acc[b]![octet * 4 + half * 2 + i]!, rows[half]!, token)
      return bias === undefined ? value : value + bias[half]!
    }),
  )
  return featuresOf(parts, scaled)
}

/** Stores 32-bit floats from registers, on which a residual is added: eight lanes fill a sector. */
function storeOctet(
  g: WgmmaProduct,
  o: TileSums,
  b: number,
  octet: number,
  values: readonly (readonly f32[])[],
): void {
  const { a, c, parts } = g
  for (const half of unroll(values.length)) {
    for (const i of unroll(2)) {
      const m = firstToken(o.tile, c.tokens) + octet * 8 + 2 * (laneIdx & 3) + i
      const first = blockFeature(g, o, b) + (warpIdx & 3) * (16 / featureRows(parts))
      const n = first + half * 8 + (laneIdx >>> 2)
      if (m < endToken(o.tile, a.x.dim('M')) && n < outFeatures(g)) {
        const value = values[half]![i]!
        a.out.put(c.residual ? value + f32(a.residual!.at(m, n)) : value, m, n)
      }
    }
  }
}
