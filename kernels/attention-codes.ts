import {
  atoms,
  barrier,
  blockIdx,
  ceilDiv,
  each,
  f32,
  i32,
  idiv,
  LOG2E,
  laneIdx,
  load,
  loadWords,
  mma,
  range,
  regs,
  shared,
  shuffle,
  shuffleXor,
  store,
  syncWarp,
  threadIdx,
  to,
  u32,
  unroll,
  warpIdx,
} from '../dsl/index.ts'
import { exp2Exact, packBytes, transposeBytes, warpMax, warpSum } from '../dsl/std/index.ts'
import { kvFormats } from './formats/kv.ts'
import { loadAffine } from './formats/kv-affine.ts'
import type { AttentionArguments, PagedAttentionConfig } from './paged-attention.ts'

export const ATTENTION_THREADS = 128
const WARPS = ATTENTION_THREADS / 32

/** Tokens that a warp takes at a time: the k of the MMA that sums values. */
const TOKENS = 32

/** Query heads beside each other: the n of the MMA. */
const HEADS = 8

/** Queries and probabilities are integers up to this, two bytes of seven bits: 128 · high + low. */
const LEVELS = 127 * 128

/** Words of a row of probabilities, eight and four to keep rows in different banks. */
const PITCH = 12

/**
 * Attention over coded keys and values, with integer tensor-core products of codes: exact sums, the same on every device.
 *
 * Queries are scaled per head to 15-bit integers, probabilities (times the tokens' value scales) per head and 32 tokens;
 * each is two bytes, so two MMAs. What is lost is below the rounding of the 16-bit types around it. The codes' scales and
 * minima come after the products:
 *
 *   score = step_q · (scale_k · Σ q·code + min_k · Σ q)         out = Σ step_p · Σ p·code + Σ p · min_v
 *
 * Codes are the A operand: in the first product a row is a token and k runs along the head, in the second a row is a column
 * of the head and k runs along tokens, for which bytes of four tokens are transposed in registers. Neither order matters
 * to a sum as long as both operands have the same, so every lane loads neighbouring words of a token and takes what they
 * hold in the order in which it comes. Lane (g, t) = (lane / 4, lane % 4) has, of
 *
 *   keys            tokens g + 8j, the t-th quarter of their columns
 *   queries         head g, the same quarter of the columns
 *   scores          tokens g + 8j, heads 2t and 2t + 1
 *   probabilities   head g, tokens t + 4j
 *   values          tokens t + 4j, the g-th eighth of their columns
 *   sums            heads 2t and 2t + 1, the same columns
 *
 * Each warp takes every fourth 32 tokens of the context, with a softmax of its own; the four meet at the end.
 */
export function attendCodes(a: AttentionArguments, c: PagedAttentionConfig, heads: number): void {
  const format = kvFormats[c.kv]
  const bytesOf = format.bytes!
  const atom = atoms.m16n8k32.u8s8
  const token = blockIdx.x
  const firstHead = blockIdx.y * heads
  const kvHead = idiv(firstHead, c.Hq / c.Hkv)
  const position = a.positions.at(token)
  const sequence = a.sequence.at(token)
  const [g, t] = [laneIdx >>> 2, laneIdx & 3]
  const mine = [2 * t, 2 * t + 1]

  const wordCodes = 32 / format.bits
  const rowWords = c.D / wordCodes
  const keyWords = rowWords / 4
  const valueWords = ceilDiv(rowWords, 8)
  /** Where a row's words do not fill eight lanes, the last lanes have nothing of their own. */
  const isMember = g * valueWords < rowWords
  const valueWord = Math.min(g * valueWords, rowWords - valueWords)
  const laneColumns = valueWords * wordCodes

  const query = regs(c.D / 4, f32(0))
  let largest = f32(0)
  if (g < heads) {
    load(a.q, [token, (firstHead + g) * c.D + t * (c.D / 4)], c.D / 4).forEach((value, i) => {
      query[i] = f32(value) * a.scale * LOG2E
      largest = Math.max(largest, Math.abs(query[i]!))
    })
  }
  const queryStep = stepOf(warpMax(largest, 4))
  const queryBytes = each(2, () => regs(c.D / 16, u32(0)))
  let querySum: i32 = 0
  if (g < heads) {
    const codes = quantize(query, queryStep)
    querySum = codes.all.reduce((x, y) => x + y)
    ;[codes.high, codes.low].forEach((part, i) => {
      orderBytes(part, wordCodes).forEach((word, j) => {
        queryBytes[i]![j] = word
      })
    })
  }
  querySum = warpSum(querySum, 4)
  const querySteps = mine.map((head) => shuffle(queryStep, 4 * head))
  const querySums = mine.map((head) => f32(shuffle(querySum, 4 * head)))

  const maxima = regs(2, f32(f32.lowest))
  const totals = regs(2, f32(0))
  const offsets = regs(2, f32(0))
  /** Of each pair of columns: the first for both heads, then the second. */
  const sums = each(laneColumns / 2, () => regs(4, f32(0)))
  const exchange = shared<u32>('u32', [WARPS, 2, HEADS, PITCH])

  for (const unit of range(warpIdx, idiv(position, TOKENS) + 1, WARPS)) {
    const page = a.pages.at(sequence, unit >>> 1)
    const first = (unit & 1) * TOKENS
    const live = position + 1 - unit * TOKENS
    // Past the context's end the last token stands in, with a weight of zero.
    const rowOf = (at: i32) => [page, kvHead, first + Math.min(at, live - 1)] as const

    const tokens = each(4, (j) => g + 8 * j)
    const keys = tokens.map((at) =>
      loadWords(a.k, [...rowOf(at), 4 * t * keyWords], keyWords).flatMap(bytesOf),
    )
    const values = each(8, (j) => loadWords(a.v, [...rowOf(t + 4 * j), 4 * valueWord], valueWords))
    const keyParams = tokens.map((at) => loadAffine(a.kParams!, rowOf(at)))
    const valueParams = tokens.map((at) => loadAffine(a.vParams!, rowOf(at)))

    const products = [0, 2].map((j) => {
      const [upper, lower] = [keys[j]!, keys[j + 1]!]
      return sumOfParts(queryBytes, (acc, bytes) => {
        for (const step of unroll(c.D / 32)) {
          const [near, far] = [2 * step, 2 * step + 1]
          mma(atom, acc, [upper[near]!, lower[near]!, upper[far]!, lower[far]!], [bytes[near]!, bytes[far]!])
        }
      })
    })

    const steps = [f32(0), f32(0)]
    const keeps = [f32(0), f32(0)]
    for (const h of unroll(2)) {
      const scores = tokens.map((at, j) => {
        const product = f32(products[j >> 1]![2 * (j & 1) + h]!)
        const [scale, min] = keyParams[j]!
        const score = querySteps[h]! * (scale! * product + min! * querySums[h]!)
        return at < live ? score : f32(f32.lowest)
      })
      const max = Math.max(maxima[h]!, rowMax(scores.reduce((x, y) => Math.max(x, y))))
      const keep = exp2Exact(maxima[h]! - max)
      const weights = scores.map((score) => exp2Exact(score - max))
      maxima[h] = max
      keeps[h] = keep
      totals[h] = totals[h]! * keep + weights.reduce((x, y) => x + y)
      const offset = weights.map((weight, j) => weight * valueParams[j]![1]!).reduce((x, y) => x + y)
      offsets[h] = offsets[h]! * keep + offset
      const scaled = weights.map((weight, j) => weight * valueParams[j]![0]!)
      const step = stepOf(rowMax(scaled.reduce((x, y) => Math.max(x, y))))
      const { high, low } = quantize(scaled, step)
      steps[h] = step
      ;[high, low].forEach((bytes, part) => {
        exchange.put(packBytes(bytes[0]!, bytes[1]!, bytes[2]!, bytes[3]!), warpIdx, part, mine[h]!, g)
      })
    }
    syncWarp()
    const weightBytes = each(2, (part) => [0, 4].map((far) => exchange.at(warpIdx, part, g, t + far)))
    syncWarp()

    for (const word of unroll(valueWords)) {
      const [near, far] = [0, 1].map((odd) => {
        const rows = [0, 2, 4, 6].map((j) => values[j + odd]![word]!)
        return transposeBytes(rows[0]!, rows[1]!, rows[2]!, rows[3]!).flatMap(bytesOf)
      })
      for (const pair of unroll(wordCodes / 2)) {
        const [upper, lower] = [2 * pair, 2 * pair + 1]
        const columns = [near![upper]!, near![lower]!, far![upper]!, far![lower]!]
        const acc = sumOfParts(weightBytes, (dst, bytes) => mma(atom, dst, columns, bytes))
        const sum = sums[(word * wordCodes) / 2 + pair]!
        for (const i of unroll(4)) sum[i] = sum[i]! * keeps[i & 1]! + steps[i & 1]! * f32(acc[i]!)
      }
    }
  }

  const parts = shared<f32>('f32', [WARPS, heads, c.D])
  /** Maximum, sum of probabilities and sum of their minima. */
  const states = shared<f32>('f32', [WARPS, HEADS, 4])
  for (const h of unroll(2)) {
    const state = [maxima[h]!, rowSum(totals[h]!), rowSum(offsets[h]!), f32(0)]
    if (g === 0) store(states, [warpIdx, mine[h]!, 0], state)
    if (isMember && mine[h]! < heads) {
      const columns = sums.flatMap((sum) => [sum[h]!, sum[2 + h]!])
      store(parts, [warpIdx, mine[h]!, g * laneColumns], columns)
    }
  }
  barrier()
  /** Each warp's factor, and the offset, of the result. */
  const shares = shared<f32>('f32', [HEADS, WARPS + 1])
  if (threadIdx.x < heads) {
    const own = each(WARPS, (warp) => load(states, [warp, threadIdx.x, 0], 4))
    const max = own.map((state) => state[0]!).reduce((x, y) => Math.max(x, y))
    const factors = own.map((state) => exp2Exact(state[0]! - max))
    const sumOf = (field: number) =>
      own.map((state, i) => state[field]! * factors[i]!).reduce((x, y) => x + y)
    const norm = 1 / sumOf(1)
    factors.forEach((factor, warp) => {
      shares.put(factor * norm, threadIdx.x, warp)
    })
    shares.put(sumOf(2) * norm, threadIdx.x, WARPS)
  }
  barrier()
  for (const i of unroll(ceilDiv((heads * c.D) / 2, ATTENTION_THREADS))) {
    const element = 2 * (threadIdx.x + i * ATTENTION_THREADS)
    if (element < heads * c.D) {
      const head = idiv(element, c.D)
      const pair = regs(2, shares.at(head, WARPS))
      for (const warp of unroll(WARPS)) {
        const share = shares.at(head, warp)
        load(parts, [warp, head, element % c.D], 2).forEach((value, j) => {
          pair[j] = pair[j]! + value * share
        })
      }
      store(
        a.out,
        [token, firstHead * c.D + element],
        pair.map((value) => to(c.dtype, value)),
      )
    }
  }
}

/** The step of integers up to LEVELS, for values up to `largest`; the bound keeps quotients of zeros numbers. */
const stepOf = (largest: f32): f32 => Math.max(largest, 2 ** -100) / LEVELS

/** Values as integers, and those as 128 · high + low. */
function quantize(values: readonly f32[], step: f32) {
  const perStep = 1 / step
  const all = values.map((value) => i32.round(value * perStep))
  const high = all.map((code) => (code + 64) >> 7)
  return { all, high, low: all.map((code, i) => code - (high[i]! << 7)) }
}

/** Integers of neighbouring columns as words of bytes, in the order in which `bytes` of a KV format gives codes. */
function orderBytes(codes: readonly i32[], wordCodes: number): u32[] {
  const apart = wordCodes / 4
  return each(codes.length / 4, (i) => {
    const first = Math.floor(i / apart) * wordCodes + (i % apart)
    const [b0, b1, b2, b3] = each(4, (byte) => codes[first + byte * apart]!)
    return packBytes(b0!, b1!, b2!, b3!)
  })
}

/** 128 times the product with the first bytes, plus that with the second. */
function sumOfParts(
  parts: readonly (readonly u32[])[],
  multiply: (acc: i32[], bytes: readonly u32[]) => void,
): i32[] {
  const acc = regs(4, i32(0))
  multiply(acc, parts[0]!)
  for (const i of unroll(4)) acc[i] = acc[i]! * 128
  multiply(acc, parts[1]!)
  return acc
}

/** The maximum over the lanes of equal t. */
function rowMax(value: f32): f32 {
  let top = value
  for (const mask of [4, 8, 16]) top = Math.max(top, shuffleXor(top, mask))
  return top
}

/** The sum over the lanes of equal t. */
function rowSum(value: f32): f32 {
  let total = value
  for (const mask of [4, 8, 16]) total = total + shuffleXor(total, mask)
  return total
}
