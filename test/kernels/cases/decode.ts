import { decodeAttention } from '../../../kernels/attention/decode.ts'
import { decodeConfig } from '../../../kernels/attention/decode-shape.ts'
import { mostRounds, planAttention } from '../../../kernels/attention/plan.ts'
import { attentionRowReference, type CodedHead } from '../../../kernels/attention/reference.ts'
import { type KvFormatName, kvFormats, PAGE_TOKENS } from '../../../kernels/formats/kv.ts'
import { KEYS, KvPages, VALUES } from '../../../kernels/formats/kv-pages.ts'
import type { Device } from '../../../runtime/device.ts'
import { prepare } from '../../../runtime/kernel.ts'
import { Tensor } from '../../../runtime/tensor.ts'
import { type HalfType, halfBits, halfValue, halfValues, randomHalfs } from '../../support/halfs.ts'
import { type Rng, rng } from '../../support/rng.ts'

/** A sequence of a step: tokens in its cache, of which the last `queries` are asked about. */
export interface DecodeSequence {
  readonly context: number
  readonly queries: number
}

export interface DecodeOptions {
  readonly kv: KvFormatName
  readonly dtype: HalfType
  readonly D: number
  readonly Hq: number
  readonly Hkv: number
  readonly sequences: readonly DecodeSequence[]
  /** The constant of that name: the longest sequence's unless given. */
  readonly queries?: number
  readonly window?: number
  readonly seed: number
  /** Multiplies keys: large scores make a softmax that one token wins. */
  readonly keySigma?: number
  /** The vectors of keys and values; normally distributed unless given. */
  readonly vector?: (random: Rng, D: number, token: number) => Float64Array
}

export const NO_WINDOW = 2 ** 30

/** A step's tensors on the host. Pages that no sequence has hold random codes, and NaN as parameters. */
export interface DecodeStep extends DecodeOptions {
  readonly pages: KvPages
  readonly table: Int32Array
  readonly maxPages: number
  readonly queryStart: Int32Array
  readonly context: Int32Array
  readonly q: Uint16Array
  readonly scale: number
}

const shuffled = (random: Rng, n: number): number[] => {
  const order = Array.from({ length: n }, (_, i) => i)
  for (let i = n - 1; i > 0; i--) {
    const j = random.integer(0, i)
    ;[order[i], order[j]] = [order[j]!, order[i]!]
  }
  return order
}

export function decodeStep(o: DecodeOptions): DecodeStep {
  const { kv, dtype, D, Hq, Hkv, sequences, keySigma = 1 } = o
  const random = rng(o.seed)
  const pagesOf = ({ context }: DecodeSequence) => Math.ceil(context / PAGE_TOKENS)
  const used = sequences.reduce((sum, sequence) => sum + pagesOf(sequence), 0)
  const pages = new KvPages(kv, dtype, D, used + 2, Hkv)
  if (kv === 'kv16') pages.kv.fill(0x7fff)
  else for (let i = 0; i < pages.kv.length; i++) pages.kv[i] = random.integer(0, 255)
  pages.kvParams.fill(0x7fff)
  const order = shuffled(random, used + 2)
  const maxPages = Math.max(...sequences.map(pagesOf)) + 1
  const table = new Int32Array(sequences.length * maxPages).fill(2 ** 30)
  const vector = o.vector ?? ((r, n) => Float64Array.from({ length: n }, () => Math.fround(r.normal())))
  const queryStart = new Int32Array(sequences.length + 1)
  sequences.forEach((sequence, s) => {
    queryStart[s + 1] = queryStart[s]! + sequence.queries
    const own = order.splice(0, pagesOf(sequence))
    table.set(own, s * maxPages)
    for (let token = 0; token < sequence.context; token++) {
      for (let head = 0; head < Hkv; head++) {
        for (const block of [KEYS, VALUES] as const) {
          const values = vector(random, D, token).map((x) => Math.fround(block === KEYS ? keySigma * x : x))
          const page = own[Math.floor(token / PAGE_TOKENS)]!
          pages.put({ page, head, block, token: token % PAGE_TOKENS }, values)
        }
      }
    }
  })
  return {
    ...o,
    pages,
    table,
    maxPages,
    queryStart,
    context: Int32Array.from(sequences, ({ context }) => context),
    q: randomHalfs(random, queryStart.at(-1)! * Hq * D, dtype),
    scale: Math.fround(1 / Math.sqrt(D)),
  }
}

/** The outputs' bits, [T, Hq·D], and the plan. */
export async function runDecode(device: Device, o: DecodeStep) {
  const { kv, dtype, D, Hq, Hkv, sequences, pages, window = NO_WINDOW } = o
  const T = o.queryStart.at(-1)!
  const queries = o.queries ?? Math.max(1, ...sequences.map((sequence) => sequence.queries))
  const { target } = device
  const config = decodeConfig({ kv, dtype, D, Hq, Hkv, queries, target, multiprocessors: 5 })
  const B = sequences.length
  const room = mostRounds(B, o.maxPages)
  const tensors = {
    queryStart: Tensor.from(device, 'i32', [B + 1], o.queryStart),
    context: Tensor.from(device, 'i32', [B], o.context),
    pages: Tensor.from(device, 'i32', [B, o.maxPages], o.table),
    rounds: Tensor.allocate(device, 'i32', [room, 8, 12]),
    roundCount: Tensor.allocate(device, 'i32', [1]),
    q: Tensor.from(device, dtype, [T, Hq * D], o.q),
    kv: Tensor.from(device, config.kvElement, pages.shapes.kv, pages.kv),
    partials: Tensor.allocate(device, 'f32', [room, config.PartialRows, config.PartialColumns]),
    arrivals: Tensor.from(device, 'i32', [B, config.Counters], new Int32Array(B * config.Counters)),
    out: Tensor.from(device, dtype, [T, Hq * D], new Uint16Array(T * Hq * D).fill(0x7fff)),
  }
  const { queryStart, context, pages: table, rounds, roundCount, ...rest } = tensors
  const kvParams = config.kvParams
    ? { kvParams: Tensor.from(device, 'f16', pages.shapes.kvParams, pages.kvParams) }
    : {}
  const plan = await prepare(
    device,
    planAttention,
    { queries },
    { queryStart, context, pages: table, window, rounds, roundCount },
  )
  const decode = await prepare(device, decodeAttention, config, {
    ...rest,
    ...kvParams,
    rounds,
    roundCount,
    window,
    scale: o.scale,
  })
  plan.run()
  decode.run()
  const out = (await tensors.out.read()) as Uint16Array
  const result = {
    out,
    arrivals: (await tensors.arrivals.read()) as Int32Array,
    rounds: (await rounds.read()) as Int32Array,
    roundCount: ((await roundCount.read()) as Int32Array)[0]!,
  }
  for (const tensor of [...Object.values(tensors), ...Object.values(kvParams)]) tensor.free()
  return result
}

/** Codes and parameters of a sequence's head. */
export function codedHead(o: DecodeStep, sequence: number, head: number): CodedHead {
  const { context } = o.sequences[sequence]!
  const { D } = o
  const blocks = [KEYS, VALUES].map((block) => {
    const codes = new Uint8Array(context * D)
    const params = new Float32Array(context * 2)
    for (let token = 0; token < context; token++) {
      const page = o.table[sequence * o.maxPages + Math.floor(token / PAGE_TOKENS)]!
      const row = o.pages.read({ page, head, block: block as 0 | 1, token: token % PAGE_TOKENS })
      codes.set(row.codes as Uint8Array, token * D)
      params.set(row.params.map(halfValue.f16), token * 2)
    }
    return { codes, params }
  })
  return {
    keys: blocks[0]!.codes,
    values: blocks[1]!.codes,
    keyParams: blocks[0]!.params,
    valueParams: blocks[1]!.params,
  }
}

/** Checks every output of a coded cache against the reference, bit for bit. */
export function checkDecode(o: DecodeStep, out: Uint16Array): void {
  const { D, Hq, Hkv, dtype, window = NO_WINDOW } = o
  const group = Hq / Hkv
  o.sequences.forEach(({ context, queries }, s) => {
    for (let kvHead = 0; kvHead < Hkv && queries > 0; kvHead++) {
      const coded = codedHead(o, s, kvHead)
      for (let i = 0; i < queries; i++) {
        const position = context - queries + i
        for (let h = kvHead * group; h < (kvHead + 1) * group; h++) {
          const at = (o.queryStart[s]! + i) * Hq * D + h * D
          const query = halfValues(o.q.subarray(at, at + D), dtype)
          const from = Math.max(0, position - window + 1)
          const row = attentionRowReference(query, coded, { position, from, scale: o.scale })
          row.forEach((value, d) => {
            const expected = halfBits[dtype](value)
            if (out[at + d] !== expected)
              throw new Error(
                `sequence ${s} query ${i} head ${h} column ${d}: ${halfValue[dtype](out[at + d]!)}, expected ${halfValue[dtype](expected)}`,
              )
          })
        }
      }
    }
  })
}

/** A case's name. */
export const decodeName = (o: DecodeOptions): string =>
  `${o.kv} D=${o.D} heads ${o.Hq}/${o.Hkv} ${o.dtype} ` +
  `${o.sequences.map(({ context, queries }) => `${queries} of ${context}`).join(', ')}` +
  `${o.window === undefined ? '' : ` window ${o.window}`}`

export const kvBits = (kv: KvFormatName): number => kvFormats[kv].bits
