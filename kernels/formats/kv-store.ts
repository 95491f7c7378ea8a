import {
  each,
  f16,
  f32,
  type InOut,
  i32,
  idiv,
  laneIdx,
  loadWords,
  type Shared,
  shared,
  shuffle,
  store,
  storeWords,
  syncWarp,
  u8,
  type u32,
  unroll,
  voteAll,
  warpIdx,
} from '../../dsl/index.ts'
import { ceilDiv } from '../../dsl/math.ts'
import { packBytes, transposeBytes, warpMax, warpMin } from '../../dsl/std/index.ts'
import { HEAD_LANES, halfWords, type RunPair } from '../head-share.ts'
import { type KvConfig, kvFormats } from './kv.ts'
import { LARGEST, SMALLEST_SCALE } from './kv-affine.ts'
import { KEYS, quadByte, VALUES, valueByte } from './kv-pages.ts'

/**
 * Device: what a warp does to put vectors of four tokens into pages. Eight lanes have a token's vectors
 * (`kernels/head-share.ts`). Codes pass through shared memory, where each lane picks up the bytes that it stores.
 */

/** Vectors of one key/value head: of the calling lane's token, its runs of columns, two for each of its pairs. */
export interface HeadRuns {
  readonly head: i32
  readonly runs: readonly (readonly [readonly f32[], readonly f32[]])[]
}

/** Where vectors go. */
export interface PageStore {
  readonly kv: InOut<number, string>
  readonly kvParams: InOut<f16, string> | undefined
  readonly c: KvConfig & { readonly D: number; readonly dtype: 'f16' | 'bf16'; readonly kvClip?: number }
  readonly block: typeof KEYS | typeof VALUES
  /** The slot of the calling lane's token; negative where its vectors are not kept. */
  readonly slot: i32
  readonly pairs: readonly RunPair[]
  /** Shared memory of the CTA, from `codeTile`. */
  readonly codes: Shared<number> | undefined
}

/** Bytes between the codes of two tokens in shared memory: in step with the banks, four tokens would meet in one. */
const pitchOf = (D: number): number => D + 8

/** Shared memory for the codes of `heads` heads for each warp; nothing where nothing is coded. */
export const codeTile = (c: KvConfig & { readonly D: number }, warps: number, heads: number) =>
  c.kvParams ? shared<u8>('u8', [warps, heads, 4, pitchOf(c.D)]) : undefined

/** Encodes and stores the vectors of some heads. All lanes of a warp must call it together. */
export function storeVectors(s: PageStore, heads: readonly HeadRuns[]): void {
  const { c, slot } = s
  if (!c.kvParams) {
    for (const { head, runs } of heads) storeFloats(s, head, runs)
    return
  }
  const lane = laneIdx & (HEAD_LANES - 1)
  const token = laneIdx >>> 3
  const levels = 2 ** kvFormats[c.kv].bits - 1
  heads.forEach(({ head, runs }, i) => {
    const { params, encode } = affineCodes(runs.flat(2), levels, c.kvClip)
    if (lane === 0 && slot >= 0)
      store(s.kvParams!, [slot >> 6, head, s.block, slot & 63, 0], [params[0]!, params[1]!])
    s.pairs.forEach(({ columns, owned }, p) => {
      runs[p]!.forEach((run, side) => {
        if (owned) storeWords(s.codes!, [warpIdx, i, token, columns[side]!], packRun(run.map(encode)))
      })
    })
  })
  syncWarp()
  if (s.block === KEYS) storeKeys(s, heads)
  else storeValues(s, heads)
}

/** 16-bit formats: as they are. */
function storeFloats({ kv, c, block, slot, pairs }: PageStore, head: i32, runs: HeadRuns['runs']): void {
  pairs.forEach(({ columns, owned }, p) => {
    runs[p]!.forEach((run, side) => {
      if (owned && slot >= 0)
        storeWords(kv, [slot >> 6, head, block, (slot & 63) * c.D + columns[side]!], halfWords(run, c.dtype))
    })
  })
}

/** Keys: each lane has bytes of its own token's row, eight at a time. */
function storeKeys({ kv, c, slot, codes }: PageStore, heads: readonly HeadRuns[]): void {
  const { bits } = kvFormats[c.kv]
  const rowBytes = (c.D * bits) / 8
  const token = laneIdx >>> 3
  heads.forEach(({ head }, i) => {
    for (const round of unroll(ceilDiv(rowBytes, 8 * HEAD_LANES))) {
      const unit = (laneIdx & (HEAD_LANES - 1)) + round * HEAD_LANES
      if (slot >= 0 && unit * 8 < rowBytes) {
        const column = bits === 4 ? ((unit >> 1) << 5) + ((unit & 1) << 3) : unit * 8
        const low = loadWords(codes!, [warpIdx, i, token, column], 2)
        const high = bits === 4 ? loadWords(codes!, [warpIdx, i, token, column + 16], 2) : undefined
        const words = low.map((word, j) => (high ? word | (high[j]! << 4) : word))
        storeWords(kv, [slot >> 6, head, KEYS, (slot & 63) * rowBytes + unit * 8], words)
      }
    }
  })
}

/**
 * Values: where the warp's four tokens are those of a quad, 16 bytes a lane, four columns of all tokens. Otherwise bytes: a
 * lane has four columns of one token, and what four lanes store of a quad is still a word.
 */
function storeValues({ kv, c, slot, codes }: PageStore, heads: readonly HeadRuns[]): void {
  const { bits } = kvFormats[c.kv]
  const columns = bits === 4 ? c.D / 2 : c.D
  const chunks = columns / 4
  /** Four columns of a token, those of the upper half above them. */
  const wordOf = (i: i32, token: i32, chunk: i32): u32 => {
    const low = loadWords(codes!, [warpIdx, i, token, chunk * 4], 1)[0]!
    return bits === 4 ? low | (loadWords(codes!, [warpIdx, i, token, chunk * 4 + columns], 1)[0]! << 4) : low
  }
  const first = shuffle(slot, 0)
  if (voteAll(first >= 0 && (first & 3) === 0 && slot === first + (laneIdx >>> 3))) {
    const units = heads.length * chunks
    for (const round of unroll(ceilDiv(units, 32))) {
      const unit = laneIdx + 32 * round
      if (unit < units) {
        const [i, chunk] = [idiv(unit, chunks), unit % chunks]
        const [a, b, d, e] = each(4, (token) => wordOf(i, token, chunk))
        const at = quadByte(bits, c.D, (first & 63) >> 2, chunk)
        storeWords(kv, [first >> 6, heads[0]!.head + i, VALUES, at], transposeBytes(a!, b!, d!, e!))
      }
    }
  } else {
    const token = laneIdx & 3
    const own = shuffle(slot, 8 * token)
    heads.forEach(({ head }, i) => {
      for (const round of unroll(ceilDiv(chunks, 8))) {
        const chunk = (laneIdx >>> 2) + 8 * round
        if (own >= 0 && chunk < chunks) {
          const word = wordOf(i, token, chunk)
          const at = valueByte(bits, c.D, own & 63, chunk * 4)
          for (const j of unroll(4)) kv.put(u8(word >>> (8 * j)), own >> 6, head, VALUES, at + 4 * j)
        }
      }
    })
  }
}

/**
 * Scale and minimum of the values that eight lanes have between them, and the function from value to code, as a float whose
 * lowest byte it is.
 *
 * Both are rounded to fp16 before any code is computed, and codes are clamped: rounding the minimum up may push the
 * lowest value below code 0, and a range far below the minimum's precision may push the highest past the last.
 *
 * With `clip`, values are first clamped to that part of their range, which includes 0.
 */
function affineCodes(values: readonly f32[], levels: number, clip?: number) {
  const least = warpMin(
    values.reduce((x, y) => Math.min(x, y)),
    HEAD_LANES,
  )
  const most = warpMax(
    values.reduce((x, y) => Math.max(x, y)),
    HEAD_LANES,
  )
  const clamped = (value: f32): f32 =>
    clip === undefined
      ? value
      : Math.min(Math.max(value, Math.min(least, 0) * clip), Math.max(most, 0) * clip)
  const [low, high] = [clamped(least), clamped(most)]
  const min = Math.max(low, -LARGEST)
  const range = Math.min(high, LARGEST) - min
  const params = [f16(Math.max(range * (1 / levels), SMALLEST_SCALE)), f16(min)]
  const perStep = 1 / f32(params[0]!)
  const offset = f32(params[1]!)
  const levelOf = (value: f32): f32 => (value - offset) * perStep
  const within = (level: f32): f32 => Math.min(Math.max(level, 0), levels)
  // Levels never fall where values rise: to clamp a value to the range is to clamp its level to those of the range's ends.
  const [first, last] = clip === undefined ? [0, levels] : [within(levelOf(low)), within(levelOf(high))]
  const encode = (value: f32): f32 => Math.min(Math.max(levelOf(value), first), last) + WHOLE
  return { params, encode }
}

/** Added to a float in [0, 255], it leaves the nearest even integer in the lowest byte. */
const WHOLE = 2 ** 23

/** The lowest bytes of floats, four to a word. */
const packRun = (codes: readonly f32[]): u32[] =>
  each(codes.length / 4, (i) => {
    const [b0, b1, b2, b3] = codes.slice(4 * i, 4 * i + 4).map((code) => i32.bits(code))
    return packBytes(b0!, b1!, b2!, b3!)
  })
