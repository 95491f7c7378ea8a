import {
  type EncodedRow,
  type KvFormatName,
  kvConfig,
  kvFormats,
  PAGE_TOKENS,
} from '../../../kernels/formats/kv.ts'
import { attentionReference, pagedAttention } from '../../../kernels/paged-attention.ts'
import { ropeAppend, ropeReference } from '../../../kernels/rope-append.ts'
import {
  assertNear,
  type HalfType,
  halfBits,
  halfRounding,
  halfValues,
  mixedKinds,
  randomHalfs,
  rowsOfKinds,
} from '../../support/halfs.ts'
import { type Rng, rng } from '../../support/rng.ts'
import { assertSame, type HostTensor, type KernelCase } from '../../support/run-kernel.ts'

/** The kernels around the key/value cache. */
export interface KvOptions {
  readonly D: number
  readonly Hq: number
  readonly Hkv: number
  readonly kv: KvFormatName
  readonly dtype: HalfType
  readonly seed: number
}

const shapeName = ({ D, Hq, Hkv, kv, dtype }: KvOptions) => `${kv} D=${D} heads ${Hq}/${Hkv} ${dtype}`

/** The pool of keys or of values on the host. */
class HostPool {
  readonly codes: Uint8Array | Uint16Array
  readonly params: Uint16Array
  readonly #o: KvOptions

  constructor(o: KvOptions, codes: Uint8Array | Uint16Array, params: Uint16Array) {
    this.codes = codes
    this.params = params
    this.#o = o
  }

  /** Codes are random, and parameters and floats NaN: whoever reads what is not a sequence's own shows it. */
  static unused(o: KvOptions, pages: number, random: Rng): HostPool {
    const { kvElement, DC, kParams } = kvConfig(o.kv, o.dtype, o.D)
    const rows = pages * o.Hkv * PAGE_TOKENS
    const codes =
      kvElement === 'u8'
        ? Uint8Array.from({ length: rows * DC }, () => random.integer(0, 255))
        : new Uint16Array(rows * DC).fill(0x7fff)
    return new HostPool(o, codes, new Uint16Array(kParams ? rows * 2 : 0).fill(0x7fff))
  }

  copy(): HostPool {
    return new HostPool(this.#o, this.codes.slice(), this.params.slice())
  }

  /** Elements of a row. */
  get width(): number {
    return kvConfig(this.#o.kv, this.#o.dtype, this.#o.D).DC
  }

  put({ codes, params }: EncodedRow, slot: number, head: number): void {
    const page = Math.floor(slot / PAGE_TOKENS)
    const row = (page * this.#o.Hkv + head) * PAGE_TOKENS + (slot % PAGE_TOKENS)
    const packed =
      this.#o.kv === 'kv4'
        ? codes.filter((_, i) => i % 2 === 0).map((code, i) => code | (codes[2 * i + 1]! << 4))
        : codes
    this.codes.set(packed, row * this.width)
    if (params.length > 0) this.params.set(params, row * 2)
  }

  tensors(name: 'k' | 'v'): Record<string, HostTensor> {
    const { codes, params, width } = this
    const { Hkv, kv, dtype, D } = this.#o
    const shape = [codes.length / (Hkv * PAGE_TOKENS * width), Hkv, PAGE_TOKENS]
    const pool = { dtype: kvConfig(kv, dtype, D).kvElement, shape: [...shape, width], data: codes }
    if (params.length === 0) return { [name]: pool }
    return { [name]: pool, [`${name}Params`]: { dtype: 'f16', shape: [...shape, 2], data: params } }
  }
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

/**
 * Rotation and append, bit for bit: every step is an IEEE operation on f32. Heads of all kinds are among the tokens; every
 * fifth slot is negative; what no slot names must stay as it was.
 */
export function ropeAppendCase(o: KvOptions & { readonly T: number }): KernelCase {
  const { D, Hq, Hkv, kv, dtype, T } = o
  const random = rng(o.seed)
  const P = 200
  const pages = 3
  const heads = Hq + 2 * Hkv
  const qkv = rowsOfKinds(
    random,
    shuffled(random, T * heads).map((i) => mixedKinds(T * heads)[i]!),
    D,
    dtype,
  )
  const positions = Int32Array.from({ length: T }, () => random.integer(0, P - 1))
  const free = shuffled(random, pages * PAGE_TOKENS)
  const slots = Int32Array.from({ length: T }, (_, t) =>
    t % 5 === 2 ? -1 - random.integer(0, 99) : free[t]!,
  )
  const cosSin = new Float32Array(P * D)
  for (let p = 0; p < P; p++) {
    for (let i = 0; i < D / 2; i++) {
      const angle = 2 * Math.PI * random.uniform()
      cosSin[p * D + i] = Math.cos(angle)
      cosSin[p * D + D / 2 + i] = Math.sin(angle)
    }
  }
  const pools = { k: HostPool.unused(o, pages, random), v: HostPool.unused(o, pages, random) }
  const HqD = Hq * D
  return {
    name: `ropeAppend T=${T} ${shapeName(o)}`,
    kernel: ropeAppend,
    config: { dtype, D, Hq, Hkv, HqD, QKV: heads * D, ...kvConfig(kv, dtype, D) },
    args: {
      qkv: { dtype, shape: [T, heads * D], data: qkv },
      positions: { dtype: 'i32', shape: [T], data: positions },
      slots: { dtype: 'i32', shape: [T], data: slots },
      cosSin: { dtype: 'f32', shape: [P, D], data: cosSin },
      q: { dtype, shape: [T, HqD] },
      ...pools.k.tensors('k'),
      ...pools.v.tensors('v'),
    },
    check(outputs) {
      const expected = { k: pools.k.copy(), v: pools.v.copy() }
      const q = new Uint16Array(T * HqD)
      for (let t = 0; t < T; t++) {
        for (let head = 0; head < heads; head++) {
          const x = halfValues(qkv.subarray((t * heads + head) * D, (t * heads + head + 1) * D), dtype)
          const angles = cosSin.subarray(positions[t]! * D, (positions[t]! + 1) * D)
          const y = head < Hq + Hkv ? ropeReference(x, angles) : x
          if (head < Hq) q.set(Uint16Array.from(y, halfBits[dtype]), t * HqD + head * D)
          else if (slots[t]! >= 0) {
            const pool = head < Hq + Hkv ? expected.k : expected.v
            pool.put(kvFormats[kv].encode(y, dtype), slots[t]!, (head - Hq) % Hkv)
          }
        }
      }
      assertSame(outputs.q!, q, HqD, 'q')
      for (const name of ['k', 'v'] as const) {
        const { codes, params, width } = expected[name]
        assertSame(outputs[name]!, codes, width, name)
        if (params.length > 0) assertSame(outputs[`${name}Params`]!, params, 2, `${name}Params`)
      }
    },
  }
}

/** A sequence of a step: tokens in the cache, of which the last `queries` are asked about in this launch. */
export interface AttendedSequence {
  readonly context: number
  readonly queries: number
}

export interface AttentionOptions extends KvOptions {
  readonly sequences: readonly AttendedSequence[]
  /** Multiplies keys: large scores make a softmax that one token wins. */
  readonly keySigma?: number
}

/** Attention against float64 over the vectors that the cache returns. Page tables end in pages that do not exist. */
export function pagedAttentionCase(o: AttentionOptions): KernelCase {
  const { D, Hq, Hkv, kv, dtype, sequences, keySigma = 1 } = o
  const random = rng(o.seed)
  const format = kvFormats[kv]
  const pagesOf = ({ context }: AttendedSequence) => Math.ceil(context / PAGE_TOKENS)
  const used = sequences.reduce((sum, sequence) => sum + pagesOf(sequence), 0)
  const order = shuffled(random, used + 2)
  const maxPages = Math.max(...sequences.map(pagesOf)) + 1
  const pools = { k: HostPool.unused(o, used + 2, random), v: HostPool.unused(o, used + 2, random) }
  const pages = new Int32Array(sequences.length * maxPages).fill(2 ** 30)
  const [sequence, positions]: [number[], number[]] = [[], []]
  /** Per sequence and head, the vectors that the cache returns. */
  const cached = sequences.map(({ context, queries }, s) => {
    const own = order.splice(0, Math.ceil(context / PAGE_TOKENS))
    pages.set(own, s * maxPages)
    for (let i = context - queries; i < context; i++) {
      sequence.push(s)
      positions.push(i)
    }
    const fill = (pool: HostPool, sigma: number) =>
      Array.from({ length: Hkv }, (_, head) =>
        Array.from({ length: context }, (_, position) => {
          const values = Float64Array.from({ length: D }, () => Math.fround(sigma * random.normal()))
          const row = format.encode(values, dtype)
          pool.put(
            row,
            own[Math.floor(position / PAGE_TOKENS)]! * PAGE_TOKENS + (position % PAGE_TOKENS),
            head,
          )
          return format.decode(row, dtype)
        }),
      )
    return { k: fill(pools.k, keySigma), v: fill(pools.v, 1) }
  })
  const T = positions.length
  const HqD = Hq * D
  const q = randomHalfs(random, T * HqD, dtype)
  const scale = Math.fround(1 / Math.sqrt(D))
  return {
    name:
      `pagedAttention ${sequences.map(({ context, queries }) => `${queries} of ${context}`).join(', ')} ` +
      shapeName(o),
    kernel: pagedAttention,
    config: { dtype, D, Hq, Hkv, HqD, ...kvConfig(kv, dtype, D) },
    args: {
      q: { dtype, shape: [T, HqD], data: q },
      sequence: { dtype: 'i32', shape: [T], data: Int32Array.from(sequence) },
      positions: { dtype: 'i32', shape: [T], data: Int32Array.from(positions) },
      pages: { dtype: 'i32', shape: [sequences.length, maxPages], data: pages },
      ...pools.k.tensors('k'),
      ...pools.v.tensors('v'),
      scale,
      out: { dtype, shape: [T, HqD] },
    },
    check({ out }) {
      const actual = halfValues(out!, dtype)
      for (let t = 0; t < T; t++) {
        for (let head = 0; head < Hq; head++) {
          const { k, v } = cached[sequence[t]!]!
          const own = Math.floor(head / (Hq / Hkv))
          const seen = positions[t]! + 1
          const [keys, values] = [k[own]!.slice(0, seen), v[own]!.slice(0, seen)]
          const at = t * HqD + head * D
          const query = halfValues(q.subarray(at, at + D), dtype)
          const expected = attentionReference(query, keys, values, scale)
          const bound = attentionBound(query, keys, values, scale, o.kv)
          assertNear(
            actual.subarray(at, at + D),
            expected,
            (i) => halfRounding(dtype, expected[i]!) + bound,
            D,
            `token ${t}, head ${head}: out`,
          )
        }
      }
    },
  }
}

/**
 * A score of D products errs by at most D·2⁻²⁴ of the magnitudes summed, which for coded keys are up to three times those
 * of the vectors (scale · code and minimum apart); weights err by as much, relatively, plus the exponential's and the sum's
 * 2⁻¹⁸, and an output by twice that of the largest value.
 *
 * Beside coded keys, queries and weights are rounded to 15 bits: each element of a query by up to max|q| / 32512, of which
 * the products with a key add up as a random walk does; five standard deviations are allowed, and 2⁻¹² for the weights.
 */
function attentionBound(
  q: Float64Array,
  keys: readonly Float64Array[],
  values: readonly Float64Array[],
  scale: number,
  kv: KvFormatName,
): number {
  const maximum = (numbers: readonly number[]) => numbers.reduce((m, x) => Math.max(m, x), 0)
  const largestOf = (vector: Float64Array) => vector.reduce((m, x) => Math.max(m, Math.abs(x)), 0)
  const largestKey = maximum(keys.map(largestOf))
  const magnitude = scale * largestKey * q.reduce((sum, x) => sum + Math.abs(x), 0)
  const coded = kv !== 'kv16'
  const longestKey = maximum(keys.map((key) => Math.hypot(...key)))
  const deviation = (scale * longestKey * largestOf(q)) / (16256 * Math.sqrt(12))
  const rounding = coded ? 5 * deviation + 2 ** -12 : 0
  const inF32 = (coded ? 3 : 1) * q.length * 2 ** -24 * magnitude + 2 ** -18
  return 2 * maximum(values.map(largestOf)) * (inF32 + rounding)
}
