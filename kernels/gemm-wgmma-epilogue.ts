import {
  ceilDiv,
  clusterBarrier,
  clusterRank,
  commitBulk,
  commitCopies,
  copyAsync,
  dtypeBytes,
  each,
  f32,
  fenceAsync,
  type i32,
  idiv,
  laneIdx,
  load,
  loadWords,
  namedBarrier,
  overlay,
  packBf16,
  packF16,
  type Shared,
  shared,
  stmatrix,
  store,
  storeTensor,
  swizzledTile,
  syncWarp,
  threadIdx,
  to,
  u32,
  unroll,
  waitBulk,
  waitCopies,
  warpgroupIdx,
  warpIdx,
} from '../dsl/index.ts'
import type { ProductTile } from '../dsl/std/index.ts'
import type { WgmmaArguments, WgmmaConfig, WgmmaParts } from './gemm-wgmma.ts'
import { partialPitch, type WgmmaPlan } from './gemm-wgmma-plan.ts'

/**
 * What happens to the sums of a tile. A lane of a warpgroup holds two rows by pairs of neighbouring tokens of them, while
 * the output has a token's rows side by side.
 *
 * - Sums of one warpgroup: scaled in registers, transposed by `stmatrix` into a staging tile of [tokens][64 rows], and
 *   stored from there by the copy engine, a few tokens at a time in two tiles that take turns.
 * - Sums of several warpgroups, or CTAs of a cluster: written to shared memory where the ring was, added and scaled by all
 *   consumers, four rows of one token each.
 */
export interface Epilogue {
  /** [strip, turn, token, row]. */
  readonly staging: Shared<number> | undefined
  /** [warpgroup over rows, pair of tokens, tensor × token of the pair]. */
  readonly tokens: Shared<u32> | undefined
  /** [warpgroup along K, token, row]. */
  readonly sums: Shared<i32> | undefined
}

export function makeEpilogue(
  c: WgmmaConfig,
  plan: WgmmaPlan,
  parts: WgmmaParts,
  ring: Shared<number>,
): Epilogue {
  if (plan.partial) {
    const sums = overlay<i32>(ring, 'i32', [c.kGroups, c.tokens, partialPitch(plan)])
    return { staging: undefined, tokens: undefined, sums }
  }
  const count = parts.tokens.length
  return {
    staging:
      dtypeBytes[parts.out] === 2
        ? shared<number>(
            parts.out,
            swizzledTile([plan.strips, plan.stagingTiles, plan.staged, 64], parts.out),
          )
        : undefined,
    tokens: count > 0 ? shared<u32>('u32', [c.rowGroups, c.tokens / 2, 2 * count]) : undefined,
    sums: undefined,
  }
}

/** What a warpgroup fetches before it multiplies: a block's words for the format, and its two rows for the epilogue. */
export interface TileRows {
  readonly words: readonly (readonly u32[])[]
  readonly rows: readonly (readonly [() => unknown, () => unknown])[]
  readonly bias: readonly (readonly [number, number])[]
}

/** The first row of a block of a warpgroup. */
const blockRow = (plan: WgmmaPlan, tile: ProductTile, rowGroup: i32, b: number): i32 =>
  tile.row * plan.rows + rowGroup * plan.blockRows + b * 64

const warpgroupThread = (): i32 => threadIdx.x & 127

/** Fetches what a tile needs besides its operands; the tokens' elements come into shared memory meanwhile. */
export function prepareTile(
  a: WgmmaArguments,
  c: WgmmaConfig,
  parts: WgmmaParts,
  plan: WgmmaPlan,
  epilogue: Epilogue,
  tile: ProductTile,
  rowGroup: i32,
): TileRows {
  const last = a.out.dim('N') - 1
  const ofBlock = <T>(f: (upper: i32, lower: i32) => T): T[] =>
    each(c.blocks, (b) => {
      const upper = blockRow(plan, tile, rowGroup, b) + (warpIdx & 3) * 16 + (laneIdx >>> 2)
      return f(Math.min(upper, last), Math.min(upper + 8, last))
    })
  const words = ofBlock((upper, lower) => parts.rowWords(upper, lower))
  if (plan.partial) return { words, rows: [], bias: [] }

  parts.tokens.forEach((tensor, j) => {
    const elements = overlay<number>(epilogue.tokens!, tensor.dtype, epilogue.tokens!.shape)
    for (const turn of unroll(ceilDiv(c.tokens, 128))) {
      const token = warpgroupThread() + turn * 128
      const m = tile.token * c.tokens + token
      if ((turn + 1) * 128 <= c.tokens || token < c.tokens) {
        const place = [rowGroup, token >>> 1, 2 * j + (token & 1)]
        copyAsync(elements, place, tensor, [m], 4, m < a.x.dim('M'))
      }
    }
  })
  commitCopies()
  return {
    words,
    rows: ofBlock((upper, lower) => [parts.rows(upper, 1)[0]!, parts.rows(lower, 1)[0]!] as const),
    bias: c.bias ? ofBlock((upper, lower) => [a.bias!.at(upper), a.bias!.at(lower)] as const) : [],
  }
}

/** A warpgroup's sums of a tile. */
interface TileSums {
  readonly acc: readonly number[][]
  readonly rows: TileRows
  readonly rowGroup: i32
  readonly kGroup: i32
}

interface ScaledSums extends Omit<TileSums, 'rows'> {
  readonly rows: readonly (readonly unknown[])[]
  readonly bias: readonly (readonly f32[])[]
}

/** Brings a warpgroup's sums on their way; called by its threads once the sums are there. */
export function finishTile(
  a: WgmmaArguments,
  c: WgmmaConfig,
  parts: WgmmaParts,
  plan: WgmmaPlan,
  epilogue: Epilogue,
  tile: ProductTile,
  o: TileSums,
): void {
  if (plan.partial) {
    // The sums overwrite the ring, which all warpgroups must have read.
    namedBarrier(1, plan.consumers)
    storeSums(c, epilogue.sums!, o)
    return
  }
  const isFirst = warpgroupThread() === 0
  const id = 1 + o.rowGroup
  const { staging } = epilogue
  if (staging !== undefined && isFirst) waitBulk(0, { read: true })
  waitCopies(0)
  namedBarrier(id, 128)
  const chunks = c.tokens / plan.staged
  const rows = o.rows.rows.map((pair) => pair.map((row) => row()))
  const bias = o.rows.bias.map((pair) => pair.map((value) => f32(value)))
  const scaled = (b: number, octet: number): f32[][] =>
    scaledOctet(a, c, parts, plan, epilogue, tile, { ...o, rows, bias }, b, octet)
  if (staging === undefined) {
    for (const b of unroll(c.blocks)) {
      for (const octet of unroll(c.tokens / 8))
        storeOctet(a, c, plan, tile, o.rowGroup, b, octet, scaled(b, octet))
    }
    return
  }
  for (const chunk of unroll(chunks)) {
    for (const b of unroll(c.blocks)) {
      for (const octet of unroll(0, plan.staged / 8, 2)) {
        const octets = Math.min(2, plan.staged / 8 - octet)
        const words = each(octets, (e) =>
          scaled(b, chunk * (plan.staged / 8) + octet + e).map(([even, odd]) =>
            u32.bits(parts.out === 'bf16' ? packBf16(even!, odd!) : packF16(even!, odd!)),
          ),
        )
        // Matrices: the rows g, then g + 8 of the first eight tokens, then those of the next.
        const matrix = laneIdx >>> 3
        const token = 8 * (octet + (octets === 2 ? matrix >>> 1 : 0)) + (laneIdx & 7)
        const row = (warpIdx & 3) * 16 + (matrix & 1) * 8
        stmatrix(staging, [o.rowGroup * c.blocks + b, chunk % plan.stagingTiles, token, row], words.flat(), {
          transposed: true,
        })
      }
    }
    fenceAsync()
    // Behind the barrier everybody may write to the next staging tile: its last store has read it.
    if (chunk + 1 >= plan.stagingTiles && chunk + 1 < chunks && isFirst)
      waitBulk(plan.stagingTiles - 2, { read: true })
    namedBarrier(id, 128)
    if (isFirst) {
      const token = tile.token * c.tokens + chunk * plan.staged
      for (const b of unroll(c.blocks)) {
        const row = blockRow(plan, tile, o.rowGroup, b)
        storeTensor(a.out, [token, row], staging.row(o.rowGroup * c.blocks + b, chunk % plan.stagingTiles))
      }
      commitBulk()
    }
  }
}

/** A lane's sums of eight tokens of a block, scaled: two tokens each of row g and of row g + 8. */
function scaledOctet(
  a: WgmmaArguments,
  c: WgmmaConfig,
  parts: WgmmaParts,
  plan: WgmmaPlan,
  epilogue: Epilogue,
  tile: ProductTile,
  o: ScaledSums,
  b: number,
  octet: number,
): f32[][] {
  const pair = octet * 4 + (laneIdx & 3)
  const count = parts.tokens.length
  const words = count > 0 ? loadWords(epilogue.tokens!, [o.rowGroup, pair, 0], 2 * count) : []
  return each(2, (half) =>
    each(2, (i) => {
      const token = parts.tokens.map((_, j) => words[2 * j + i]!)
      let value = parts.finish(o.acc[b]![octet * 4 + half * 2 + i]!, o.rows[b]![half]!, token)
      if (c.bias) value = value + o.bias[b]![half]!
      if (c.residual) {
        // Tokens and rows past the end are not stored: the last ones stand in.
        const { m, n } = placeOf(c, plan, tile, o.rowGroup, b, octet, half, i)
        value = value + f32(a.residual!.at(Math.min(m, a.x.dim('M') - 1), Math.min(n, a.out.dim('N') - 1)))
      }
      return value
    }),
  )
}

/** Token and row of a lane's value of an octet: row g or g + 8 of its warp, token `i` of its pair. */
const placeOf = (
  c: WgmmaConfig,
  plan: WgmmaPlan,
  tile: ProductTile,
  rowGroup: i32,
  b: number,
  octet: number,
  half: number,
  i: number,
): { m: i32; n: i32 } => ({
  m: tile.token * c.tokens + octet * 8 + 2 * (laneIdx & 3) + i,
  n: blockRow(plan, tile, rowGroup, b) + (warpIdx & 3) * 16 + half * 8 + (laneIdx >>> 2),
})

/** Stores 32-bit floats as they are: eight lanes fill a sector. */
function storeOctet(
  a: WgmmaArguments,
  c: WgmmaConfig,
  plan: WgmmaPlan,
  tile: ProductTile,
  rowGroup: i32,
  b: number,
  octet: number,
  values: readonly (readonly f32[])[],
): void {
  for (const half of unroll(2)) {
    for (const i of unroll(2)) {
      const { m, n } = placeOf(c, plan, tile, rowGroup, b, octet, half, i)
      if (m < a.x.dim('M') && n < a.out.dim('N')) a.out.put(values[half]![i]!, m, n)
    }
  }
}

/** A warpgroup's sums in the partial tile of its part of K, token by token. */
function storeSums(c: WgmmaConfig, sums: Shared<i32>, o: TileSums): void {
  const row = o.rowGroup * 64 + (warpIdx & 3) * 16 + (laneIdx >>> 2)
  for (const octet of unroll(c.tokens / 8)) {
    for (const i of unroll(4)) {
      const token = octet * 8 + (laneIdx & 3) * 2 + (i % 2)
      sums.put(o.acc[0]![octet * 4 + i]!, o.kGroup, token, row + (i >= 2 ? 8 : 0))
    }
  }
}

/** What a thread of the last additions needs: four rows, and the tokens of its turns. */
interface PartialShare {
  readonly n: i32
  readonly row: i32
  readonly rows: readonly (() => unknown)[]
  readonly bias: readonly number[]
  /** The words of the token of each turn. */
  readonly words: readonly (readonly u32[])[]
}

/** Fetches, before the multiplication, what `finishPartial` needs. Called by all threads of the CTA. */
export function preparePartial(
  a: WgmmaArguments,
  c: WgmmaConfig,
  parts: WgmmaParts,
  plan: WgmmaPlan,
  tile: ProductTile,
): PartialShare {
  const { n, row } = ownRows(plan, tile)
  const from = Math.min(n, a.out.dim('N') - 4)
  return {
    n,
    row,
    rows: parts.rows(from, 4),
    bias: c.bias ? load(a.bias!, [from], 4) : [],
    words: each(partialTurns(c, plan), (turn) => {
      const m = Math.min(tile.token * c.tokens + turnToken(c, plan, turn).token, a.x.dim('M') - 1)
      return parts.tokens.map((tensor) => loadWords(tensor, [m], 1)[0]!)
    }),
  }
}

/** Threads that take neighbouring quads of rows of one token. */
const quadsOf = (plan: WgmmaPlan): number => plan.rows / 4

/** Turns in which the consumers go through the CTA's share of the tokens. */
const partialTurns = (c: WgmmaConfig, plan: WgmmaPlan): number =>
  ceilDiv((c.tokens / c.split) * quadsOf(plan), plan.consumers)

/** The calling thread's first row, in the tile and in the matrix. */
function ownRows(plan: WgmmaPlan, tile: ProductTile): { row: i32; n: i32 } {
  const row = (threadIdx.x % quadsOf(plan)) * 4
  return { row, n: tile.row * plan.rows + row }
}

/** The calling thread's token of a turn, in the tile, and whether it is in the CTA's share. */
function turnToken(c: WgmmaConfig, plan: WgmmaPlan, turn: number): { token: i32; isOwn: boolean } {
  const share = c.tokens / c.split
  const own = idiv(threadIdx.x, quadsOf(plan)) + turn * (plan.consumers / quadsOf(plan))
  const isFull = (turn + 1) * plan.consumers <= share * quadsOf(plan)
  return { token: c.split === 1 ? own : (clusterRank % c.split) * share + own, isOwn: isFull || own < share }
}

/**
 * Adds the sums of all warpgroups along K and of all CTAs of the cluster, scales and stores them: each CTA finishes its
 * share of the tokens. Called by all threads of the CTA.
 */
export function finishPartial(
  a: WgmmaArguments,
  c: WgmmaConfig,
  parts: WgmmaParts,
  plan: WgmmaPlan,
  epilogue: Epilogue,
  tile: ProductTile,
  { n, row, rows, bias, words }: PartialShare,
): void {
  const isConsumer = warpgroupIdx < plan.consumerGroups
  if (c.split > 1) {
    syncWarp()
    clusterBarrier()
  } else if (isConsumer) namedBarrier(1, plan.consumers)
  for (const turn of unroll(words.length)) {
    const { token, isOwn } = turnToken(c, plan, turn)
    const m = tile.token * c.tokens + token
    if (isConsumer && isOwn && m < a.x.dim('M') && n < a.out.dim('N')) {
      const sums = each(c.split, (cta) => {
        const partial = c.split === 1 ? epilogue.sums! : epilogue.sums!.peer(cta)
        return each(c.kGroups, (k) => load(partial, [k, token, row], 4))
      }).flat()
      const residual = c.residual ? load(a.residual!, [m, n], 4) : []
      const values = each(4, (i) => {
        const sum = sums.map((terms) => terms[i]!).reduce((total, term) => total + term)
        let value = parts.finish(sum, rows[i]!(), words[turn]!)
        if (c.bias) value = value + f32(bias[i]!)
        if (c.residual) value = value + f32(residual[i]!)
        return to(parts.out, value)
      })
      store(a.out, [m, n], values)
    }
  }
}
