import { decodeAttention } from '../../../kernels/attention/decode.ts'
import { type DecodeConfig, decodeConfig } from '../../../kernels/attention/decode-shape.ts'
import { ITEM_WORDS } from '../../../kernels/attention/items.ts'
import { mostItems, planAttention, planConfig } from '../../../kernels/attention/plan.ts'
import {
  attentionReference,
  attentionRowReference,
  type CodedHead,
  codedHead,
} from '../../../kernels/attention/reference.ts'
import { type KvFormatName, kvFormats, PAGE_TOKENS } from '../../../kernels/formats/kv.ts'
import { KEYS, KvPages, VALUES } from '../../../kernels/formats/kv-pages.ts'
import type { Device } from '../../../runtime/device.ts'
import { prepare } from '../../../runtime/kernel.ts'
import { loadProgram } from '../../../runtime/program-cache.ts'
import { Tensor } from '../../../runtime/tensor.ts'
import {
  assertNear,
  type HalfType,
  halfBits,
  halfRounding,
  halfValues,
  randomHalfs,
} from '../../support/halfs.ts'
import { type Rng, rng } from '../../support/rng.ts'
import { assertSame } from '../../support/run-kernel.ts'

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
  /** CTAs of a head that the plan reckons with, if not those of the kernel: few make long items. */
  readonly planCtas?: number
  /** Whether items are attended to in the reverse of the plan's order. */
  readonly reversed?: boolean
  /** Whether the outputs are those of launches that begin before the one before them has ended. */
  readonly ahead?: boolean
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

/** The constants of a case. */
function configOf({ target }: Device, o: DecodeOptions): DecodeConfig {
  const { kv, dtype, D, Hq, Hkv, sequences } = o
  const queries = o.queries ?? Math.max(1, ...sequences.map((sequence) => sequence.queries))
  return decodeConfig({ kv, dtype, D, Hq, Hkv, queries, target, multiprocessors: 5 })
}

/** Compiles the programs of many cases at once, for a device that has threads for it. */
export async function compileDecode(device: Device, cases: readonly DecodeOptions[]): Promise<void> {
  const programs = []
  for (const o of cases) {
    const config = { ...configOf(device, o), ahead: o.ahead ?? false }
    programs.push(await loadProgram(decodeAttention, config, device.target))
  }
  await device.loadAll(programs)
}

/** The outputs' bits, [T, Hq·D], and the plan. */
export async function runDecode(device: Device, o: DecodeStep) {
  const { dtype, D, Hq, sequences, pages, window = NO_WINDOW } = o
  const T = o.queryStart.at(-1)!
  const config = configOf(device, o)
  const B = sequences.length
  const room = mostItems(B, o.maxPages)
  const tensors = {
    queryStart: Tensor.from(device, 'i32', [B + 1], o.queryStart),
    context: Tensor.from(device, 'i32', [B], o.context),
    pages: Tensor.from(device, 'i32', [B, o.maxPages], o.table),
    items: Tensor.from(device, 'i32', [room, ITEM_WORDS], new Int32Array(room * ITEM_WORDS)),
    itemCount: Tensor.allocate(device, 'i32', [1]),
    q: Tensor.from(device, dtype, [T, Hq * D], o.q),
    kv: Tensor.from(device, config.kvElement, pages.shapes.kv, pages.kv),
    partials: Tensor.allocate(device, 'u32', [room, config.PartialRows, config.PartialColumns]),
    arrivals: Tensor.from(device, 'i32', [B, config.Counters], new Int32Array(B * config.Counters)),
    out: Tensor.from(device, dtype, [T, Hq * D], new Uint16Array(T * Hq * D).fill(0x7fff)),
  }
  const { queryStart, context, pages: table, items, itemCount, ...rest } = tensors
  rest.partials.fill(0xff)
  const kvParams = config.kvParams
    ? { kvParams: Tensor.from(device, 'f16', pages.shapes.kvParams, pages.kvParams) }
    : {}
  const plan = await prepare(
    device,
    planAttention,
    { ...planConfig(config), ...(o.planCtas ? { ctas: o.planCtas } : {}) },
    { queryStart, context, pages: table, window, items, itemCount },
  )
  const args = { ...rest, pages: table, ...kvParams, items, itemCount, window, beside: 0, scale: o.scale }
  const decode = await prepare(device, decodeAttention, config, args)
  plan.run()
  if (o.reversed) await reverseItems(items, itemCount)
  decode.run()
  if (o.ahead) {
    // Behind a launch that has waited for the plan, and lets them begin before it ends.
    tensors.out.fill(0)
    const again = await prepare(device, decodeAttention, { ...config, ahead: true }, args)
    decode.run()
    for (let i = 0; i < 3; i++) again.run()
  }
  const out = (await tensors.out.read()) as Uint16Array
  const result = {
    out,
    arrivals: (await tensors.arrivals.read()) as Int32Array,
    partials: (await tensors.partials.read()) as Uint32Array,
    items: (await items.read()) as Int32Array,
    itemCount: ((await itemCount.read()) as Int32Array)[0]!,
  }
  for (const tensor of [...Object.values(tensors), ...Object.values(kvParams)]) tensor.free()
  return result
}

async function reverseItems(items: Tensor, itemCount: Tensor): Promise<void> {
  const [words, [count]] = [(await items.read()) as Int32Array, (await itemCount.read()) as Int32Array]
  const list = Array.from({ length: count! }, (_, i) => [
    ...words.slice(ITEM_WORDS * i, ITEM_WORDS * (i + 1)),
  ])
  words.set(list.reverse().flat())
  items.write(words)
}

/** A row of the outputs: which sequence's, query token and head. */
interface OutputRow {
  readonly sequence: number
  readonly kvHead: number
  readonly name: string
  /** Its first element in `q` and in the outputs. */
  readonly at: number
  readonly position: number
  /** The first token that it sees. */
  readonly from: number
}

function* rowsOf(o: DecodeStep): Generator<OutputRow> {
  const { D, Hq, Hkv, window = NO_WINDOW } = o
  for (const [sequence, { context, queries }] of o.sequences.entries()) {
    for (let i = 0; i < queries; i++) {
      const position = context - queries + i
      for (let head = 0; head < Hq; head++) {
        yield {
          sequence,
          kvHead: Math.floor(head / (Hq / Hkv)),
          name: `sequence ${sequence}, query ${i}, head ${head}`,
          at: ((o.queryStart[sequence]! + i) * Hq + head) * D,
          position,
          from: Math.max(0, position - window + 1),
        }
      }
    }
  }
}

const contextOf = (o: DecodeStep, { sequence }: OutputRow) => o.sequences[sequence]!.context

/** The pages of a sequence. */
const tableOf = (o: DecodeStep, sequence: number): Int32Array =>
  o.table.subarray(sequence * o.maxPages, (sequence + 1) * o.maxPages)

/** Checks the outputs: of coded caches bit for bit, of others as closely as their roundings allow. */
export function checkDecode(o: DecodeStep, out: Uint16Array): void {
  const { D, dtype, scale } = o
  const heads = new Map<string, CodedHead | FloatHead>()
  for (const row of rowsOf(o)) {
    const key = `${row.sequence} ${row.kvHead}`
    const query = halfValues(o.q.subarray(row.at, row.at + D), dtype)
    const actual = out.subarray(row.at, row.at + D)
    if (kvFormats[o.kv].bits < 16) {
      const head = (heads.get(key) ??
        codedHead(o.pages, tableOf(o, row.sequence), row.kvHead, contextOf(o, row))) as CodedHead
      heads.set(key, head)
      const expected = attentionRowReference(query, head, { position: row.position, from: row.from, scale })
      assertSame(actual, Uint16Array.from(expected, halfBits[dtype]), D, row.name)
    } else {
      const head = (heads.get(key) ?? floatHead(o, row.sequence, row.kvHead)) as FloatHead
      heads.set(key, head)
      const [keys, values] = [head.keys, head.values].map((all) => all.slice(row.from, row.position + 1))
      const expected = attentionReference(query, keys!, values!, scale)
      const bound = floatBound(query, keys!, values!, scale, dtype)
      const name = `${row.name}: out`
      assertNear(
        halfValues(actual, dtype),
        expected,
        (i) => halfRounding(dtype, expected[i]!) + bound,
        D,
        name,
      )
    }
  }
}

interface FloatHead {
  readonly keys: readonly Float64Array[]
  readonly values: readonly Float64Array[]
}

/** Vectors of a sequence's head. */
function floatHead(o: DecodeStep, sequence: number, head: number): FloatHead {
  const [keys, values] = ([KEYS, VALUES] as const).map((block) =>
    Array.from({ length: o.sequences[sequence]!.context }, (_, token) => {
      const page = o.table[sequence * o.maxPages + Math.floor(token / PAGE_TOKENS)]!
      return o.pages.get({ page, head, block, token: token % PAGE_TOKENS })
    }),
  )
  return { keys: keys!, values: values! }
}

/**
 * Scores of D products err by D·2⁻²⁴ of the magnitudes summed, and exponents are rounded to 2^-12, which is 2⁻¹³·ln 2 of a
 * probability; probabilities are rounded to the cache's type, and all of it counts twice, above and below.
 */
function floatBound(
  q: Float64Array,
  keys: readonly Float64Array[],
  values: readonly Float64Array[],
  scale: number,
  dtype: HalfType,
): number {
  const largestOf = (vectors: readonly Float64Array[]) =>
    vectors.reduce((m, vector) => vector.reduce((n, x) => Math.max(n, Math.abs(x)), m), 0)
  const magnitude = scale * largestOf(keys) * q.reduce((sum, x) => sum + Math.abs(x), 0)
  const probability = q.length * 2 ** -24 * magnitude + 2 ** -13 + (dtype === 'f16' ? 2 ** -11 : 2 ** -8)
  return 2 * largestOf(values) * probability
}

/** A case's name. */
export const decodeName = (o: DecodeOptions): string =>
  `${o.kv} D=${o.D} heads ${o.Hq}/${o.Hkv} ${o.dtype}: ` +
  `${o.sequences.map(({ context, queries }) => `${queries} of ${context}`).join(', ')}` +
  `${o.window === undefined ? '' : `, window ${o.window}`}${o.ahead ? ', ahead' : ''}${o.reversed ? ', reversed' : ''}`

/** Runs a case and checks its outputs, and that it leaves its counters and parts as they were. */
export async function runDecodeCase(device: Device, o: DecodeOptions): Promise<void> {
  const step = decodeStep(o)
  const { out, arrivals, partials } = await runDecode(device, step)
  checkDecode(step, out)
  if (arrivals.some((count) => count !== 0)) throw new Error('counters of splits are left above zero')
  if (partials.some((word) => word !== 0xffffffff)) throw new Error('parts are left behind')
}

/** The bits of a sequence's outputs. */
export const outputsOf = (o: DecodeStep, out: Uint16Array, sequence: number): Uint16Array =>
  out.slice(o.queryStart[sequence]! * o.Hq * o.D, o.queryStart[sequence + 1]! * o.Hq * o.D)
