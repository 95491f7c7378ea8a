import { type KvFormatName, kvConfig, PAGE_TOKENS } from '../../../kernels/formats/kv.ts'
import { KEYS, KvPages, VALUES } from '../../../kernels/formats/kv-pages.ts'
import { ropeAppend } from '../../../kernels/rope-append.ts'
import { transformHead } from '../../../kernels/rope-append-reference.ts'
import {
  type HalfType,
  halfBits,
  halfValues,
  mixedKinds,
  randomHalfs,
  rowsOfKinds,
} from '../../support/halfs.ts'
import { type Rng, rng } from '../../support/rng.ts'
import { assertSame, type KernelCase } from '../../support/run-kernel.ts'

/** Rotation, what else happens to queries and keys, and what is kept of a step. */
export interface RopeAppendOptions {
  readonly D: number
  /** Rotated columns; all unless given. */
  readonly R?: number
  readonly Hq: number
  readonly Hkv: number
  readonly kv: KvFormatName
  readonly dtype: HalfType
  readonly seed: number
  /** Numbers of neighbouring tokens that stand next to each other in the cache; other than this, slots are random. */
  readonly runs: readonly number[]
  readonly norm?: boolean
  readonly hadamard?: boolean
  readonly keyMean?: boolean
  readonly kvClip?: number
}

const PAGES = 4
const POSITIONS = 200

/**
 * Bit for bit: every step is an IEEE operation on f32. Heads of all kinds are among the tokens; every fifth slot is
 * negative unless it is within a run; what no slot names must stay as it was.
 */
export function ropeAppendCase(o: RopeAppendOptions): KernelCase {
  const { D, R = D, Hq, Hkv, kv, dtype, norm, hadamard, keyMean, kvClip } = o
  const random = rng(o.seed)
  const slots = slotsOf(o.runs, random)
  const T = slots.length
  const heads = Hq + 2 * Hkv
  const kinds = mixedKinds(T * heads)
  const order = shuffled(random, T * heads)
  const qkv = rowsOfKinds(
    random,
    order.map((i) => kinds[i]!),
    D,
    dtype,
  )
  const positions = Int32Array.from({ length: T }, () => random.integer(0, POSITIONS - 1))
  const cosSin = new Float32Array(POSITIONS * R)
  for (let p = 0; p < POSITIONS; p++) {
    for (let i = 0; i < R / 2; i++) {
      const angle = 2 * Math.PI * random.uniform()
      cosSin[p * R + i] = Math.cos(angle)
      cosSin[p * R + R / 2 + i] = Math.sin(angle)
    }
  }
  const weights = [0, 1].map(() => randomHalfs(random, D, dtype))
  const means = Float32Array.from({ length: Hkv * D }, () => random.normal())
  const before = new KvPages(kv, dtype, D, PAGES, Hkv)
  before.kv.forEach((_, i) => {
    before.kv[i] = random.integer(0, 2 ** (8 * before.kv.BYTES_PER_ELEMENT) - 1)
  })
  before.kvParams.fill(0x7fff)
  const config = kvConfig(kv, dtype, D)
  const HqD = Hq * D
  const extras = [
    norm && 'norm',
    hadamard && 'Hadamard',
    keyMean && 'mean',
    kvClip && `clip ${kvClip}`,
  ].filter((name) => name)
  return {
    name: `ropeAppend ${o.runs.join('+')} ${kv} D=${D} R=${R} heads ${Hq}/${Hkv} ${dtype} ${extras.join(' ')}`,
    kernel: ropeAppend,
    config: {
      dtype,
      D,
      R,
      Hq,
      Hkv,
      HqD,
      QKV: heads * D,
      ...config,
      ...(norm && { qNorm: true, kNorm: true, normEpsilon: 1e-6 }),
      ...(hadamard && { hadamard }),
      ...(keyMean && { keyMean }),
      ...(kvClip !== undefined && { kvClip }),
    },
    args: {
      qkv: { dtype, shape: [T, heads * D], data: qkv },
      positions: { dtype: 'i32', shape: [T], data: positions },
      slots: { dtype: 'i32', shape: [T], data: slots },
      cosSin: { dtype: 'f32', shape: [POSITIONS, R], data: cosSin },
      ...(norm && {
        qNorm: { dtype, shape: [D], data: weights[0]! },
        kNorm: { dtype, shape: [D], data: weights[1]! },
      }),
      ...(keyMean && { keyMean: { dtype: 'f32', shape: [Hkv, D], data: means } }),
      q: { dtype, shape: [T, HqD] },
      kv: { dtype: config.kvElement, shape: before.shapes.kv, data: before.kv },
      ...(config.kvParams && {
        kvParams: { dtype: 'f16', shape: before.shapes.kvParams, data: before.kvParams },
      }),
    },
    check(outputs) {
      const expected = before.copy()
      const q = new Uint16Array(T * HqD)
      for (let t = 0; t < T; t++) {
        const angles = cosSin.subarray(positions[t]! * R, (positions[t]! + 1) * R)
        for (let head = 0; head < heads; head++) {
          const x = halfValues(qkv.subarray((t * heads + head) * D, (t * heads + head + 1) * D), dtype)
          const [isQuery, isValue] = [head < Hq, head >= Hq + Hkv]
          const own = (head - Hq) % Hkv
          const y = isValue
            ? x
            : transformHead(x, {
                D,
                R,
                cosSin: angles,
                ...(norm && {
                  norm: { weights: halfValues(weights[isQuery ? 0 : 1]!, dtype), epsilon: 1e-6 },
                }),
                ...(hadamard && { hadamard }),
                ...(keyMean && !isQuery && { mean: means.subarray(own * D, (own + 1) * D) }),
              })
          if (isQuery) q.set(Uint16Array.from(y, halfBits[dtype]), t * HqD + head * D)
          else if (slots[t]! >= 0) {
            const [page, token] = [Math.floor(slots[t]! / PAGE_TOKENS), slots[t]! % PAGE_TOKENS]
            expected.put(
              { page, head: own, block: isValue ? VALUES : KEYS, token },
              config.kvParams ? clipped(y, kvClip) : y,
            )
          }
        }
      }
      assertSame(outputs.q!, q, HqD, 'q')
      if (config.kvParams) assertSame(outputs.kvParams!, expected.kvParams, 2, 'kvParams')
      assertSame(outputs.kv!, expected.kv, config.PB, 'kv')
    },
  }
}

/** Values clamped to a part of their range, which includes 0, in f32. */
function clipped(values: Float64Array, part: number | undefined): Float64Array {
  if (part === undefined) return values
  const ratio = Math.fround(part)
  const low = Math.fround(Math.min(0, ...values) * ratio)
  const high = Math.fround(Math.max(0, ...values) * ratio)
  return values.map((value) => Math.min(Math.max(value, low), high))
}

/** Slots of a step: runs of neighbours that begin anywhere, and single tokens anywhere else. */
function slotsOf(runs: readonly number[], random: Rng): Int32Array {
  const taken = new Set<number>()
  const slots: number[] = []
  const total = PAGES * PAGE_TOKENS
  runs.forEach((count, i) => {
    let first = 0
    do first = random.integer(0, total - count)
    while (Array.from({ length: count }, (_, j) => taken.has(first + j)).some((hit) => hit))
    for (let j = 0; j < count; j++) {
      taken.add(first + j)
      slots.push(count === 1 && i % 5 === 2 ? -1 - random.integer(0, 99) : first + j)
    }
  })
  return Int32Array.from(slots)
}

/** A random order of 0 to n − 1. */
function shuffled(random: Rng, n: number): number[] {
  const order = Array.from({ length: n }, (_, i) => i)
  for (let i = n - 1; i > 0; i--) {
    const j = random.integer(0, i)
    ;[order[i], order[j]] = [order[j]!, order[i]!]
  }
  return order
}
