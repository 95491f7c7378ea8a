import { halves } from '../../dsl/half.ts'
import { decodeAttention } from '../../kernels/attention/decode.ts'
import { decodeConfig } from '../../kernels/attention/decode-shape.ts'
import { ITEM_WORDS } from '../../kernels/attention/items.ts'
import { mostItems, planAttention, planConfig } from '../../kernels/attention/plan.ts'
import { attentionRowReference, codedHead } from '../../kernels/attention/reference.ts'
import { type KvFormatName, kvFormats, PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { KvPages } from '../../kernels/formats/kv-pages.ts'
import type { Device } from '../../runtime/device.ts'
import { prepare } from '../../runtime/kernel.ts'
import { Tensor } from '../../runtime/tensor.ts'
import { WrongResult } from '../../runtime/tune/bench.ts'
import { rng } from '../../test/support/rng.ts'
import { launchMicroseconds } from '../measure.ts'
import { randomTensor } from '../random-tensors.ts'
import type { Row } from '../results.ts'

/** The heads of Llama 3 8B. */
const heads = { Hq: 32, Hkv: 8, D: 128 } as const
const dtype = 'f16'
const NO_WINDOW = 2 ** 30

/** Keys and values of a measurement in bytes: more than any cache holds. */
const rotationBytes = 320e6

/** What reads from memory at best on an H200, in bytes a microsecond. */
const readRate = 4.5e6

/** Contexts longer than this are not checked: the host would take too long. */
const checkedContext = 20_000

/** A step of decoding: one query token of each sequence, or several. */
export interface DecodePoint {
  readonly kv: KvFormatName
  readonly batch: number
  /** Tokens of each sequence, or their mean. */
  readonly context: number
  readonly queries: number
  /** All contexts alike, or uniform from 1 (at least `queries`) to twice the mean, with the same sum. */
  readonly even: boolean
}

/** Contexts of the sequences of a step. */
export function contextsOf({ batch, context, even, queries }: DecodePoint): number[] {
  if (even) return Array.from({ length: batch }, () => context)
  const random = rng(batch)
  const drawn = Array.from({ length: batch }, () => random.integer(queries, 2 * context))
  // The same sum as that of even contexts: what is missing is added a token at a time.
  let missing = batch * context - drawn.reduce((x, y) => x + y)
  for (let i = 0; missing !== 0; i = (i + 1) % batch) {
    const next = drawn[i]! + Math.sign(missing)
    if (next < queries || next > 2 * context) continue
    drawn[i] = next
    missing -= Math.sign(missing)
  }
  return drawn
}

/** Checks some rows of a step, and measures it. */
export async function measureDecode(device: Device, point: DecodePoint): Promise<Row> {
  const { kv, batch, queries } = point
  const { Hq, Hkv, D } = heads
  const contexts = contextsOf(point)
  const config = decodeConfig({
    ...{ kv, dtype, D, Hq, Hkv, queries, target: device.target },
    multiprocessors: device.properties.multiprocessors,
    // As in a step, whose lists are long there, and where the launch before is another kernel than attention.
    ahead: true,
  })
  const { bits } = kvFormats[kv]
  const tokenBytes = 2 * Hkv * ((D * bits) / 8 + (config.kvParams ? 4 : 0))
  const pagesOf = contexts.map((context) => Math.ceil(context / PAGE_TOKENS))
  const pagesEach = pagesOf.reduce((x, y) => x + y)
  const copies = Math.max(2, Math.ceil(rotationBytes / (pagesEach * PAGE_TOKENS * tokenBytes)))
  const maxPages = Math.max(...pagesOf)
  const room = mostItems(batch, maxPages)
  const tensors: Tensor<string>[] = []
  const keep = <T extends Tensor<string>>(tensor: T): T => {
    tensors.push(tensor)
    return tensor
  }
  const ints = (shape: number[], values: Int32Array) => keep(Tensor.from(device, 'i32', shape, values))
  const step = {
    queryStart: ints(
      [batch + 1],
      Int32Array.from({ length: batch + 1 }, (_, i) => i * queries),
    ),
    context: ints([batch], Int32Array.from(contexts)),
    window: NO_WINDOW,
  }
  const blocks = [copies * pagesEach, Hkv, 2]
  const tokens = batch * queries
  const cache = {
    kv: keep(randomTensor(device, config.kvElement, [...blocks, config.PB], bits === 16 ? 'halves' : 'bits')),
    ...(config.kvParams
      ? { kvParams: keep(randomTensor(device, 'f16', [...blocks, PAGE_TOKENS, 2], 'halfScales')) }
      : {}),
  }
  const shared = {
    ...cache,
    q: keep(randomTensor(device, dtype, [tokens, Hq * D], 'halves')),
    partials: keep(Tensor.allocate(device, 'u32', [room, config.PartialRows, config.PartialColumns])),
    arrivals: ints([batch, config.Counters], new Int32Array(batch * config.Counters)),
    out: keep(Tensor.allocate(device, dtype, [tokens, Hq * D])),
    window: NO_WINDOW,
    scale: 1 / Math.sqrt(D),
    beside: 0,
  }
  shared.partials.fill(0xff)
  const order = shuffled(copies * pagesEach)
  const tables = Array.from({ length: copies }, () => {
    const table = new Int32Array(batch * maxPages)
    for (const [b, count] of pagesOf.entries()) table.set(order.splice(0, count), b * maxPages)
    return table
  })
  const launches = []
  for (const table of tables) {
    const list = {
      items: ints([room, ITEM_WORDS], new Int32Array(room * ITEM_WORDS)),
      itemCount: keep(Tensor.allocate(device, 'i32', [1])),
    }
    const pages = ints([batch, maxPages], table)
    const plan = await prepare(device, planAttention, planConfig(config), { ...step, ...list, pages })
    plan.run()
    launches.push(await prepare(device, decodeAttention, config, { ...shared, ...list, pages }))
  }
  try {
    await device.synchronize()
    launches[0]!.run()
    await device.synchronize()
    if (bits < 16) await checkRows(point, contexts, { ...shared, table: tables[0]!, maxPages })
    const us = await launchMicroseconds(device, launches)
    const bytes = contexts.reduce((x, y) => x + y) * tokenBytes
    const floorUs = bytes / readRate
    return {
      kernel: 'decode',
      path: 'mma',
      ...point,
      us,
      usChained: null,
      floorUs,
      ratio: us / floorUs,
      tbPerS: bytes / us / 1e6,
      tflops: null,
      registers: launches[0]!.fn.resources?.registers ?? null,
    }
  } finally {
    for (const tensor of tensors) tensor.free()
  }
}

function shuffled(n: number): number[] {
  const random = rng(n)
  const order = Array.from({ length: n }, (_, i) => i)
  for (let i = n - 1; i > 0; i--) {
    const j = random.integer(0, i)
    ;[order[i], order[j]] = [order[j]!, order[i]!]
  }
  return order
}

/** Some rows of the outputs, bit for bit. Throws `WrongResult`. */
async function checkRows(
  { kv, queries }: DecodePoint,
  contexts: readonly number[],
  o: {
    readonly kv: Tensor
    readonly kvParams?: Tensor
    readonly q: Tensor
    readonly out: Tensor
    readonly scale: number
    readonly table: Int32Array
    readonly maxPages: number
  },
): Promise<void> {
  const { Hq, Hkv, D } = heads
  const { bits, value } = halves[dtype]
  for (const b of [0, contexts.length >> 1, contexts.length - 1]) {
    const context = contexts[b]!
    if (context > checkedContext) continue
    const count = Math.ceil(context / PAGE_TOKENS)
    const pages = new KvPages(kv, dtype, D, count, Hkv)
    for (let i = 0; i < count; i++) {
      const page = o.table[b * o.maxPages + i]!
      const codes = (await o.kv.slice(page, page + 1).read()) as Uint8Array
      pages.kv.set(codes, i * codes.length)
      const params = (await o.kvParams!.slice(page, page + 1).read()) as Uint16Array
      pages.kvParams.set(params, i * params.length)
    }
    const own = Array.from({ length: count }, (_, i) => i)
    const token = b * queries + queries - 1
    const [q, out] = await Promise.all(
      [o.q, o.out].map(async (tensor) => (await tensor.slice(token, token + 1).read()) as Uint16Array),
    )
    for (const head of [b % Hq, (b + 17) % Hq]) {
      const coded = codedHead(pages, own, Math.floor(head / (Hq / Hkv)), context)
      const place = { position: context - 1, from: 0, scale: Math.fround(o.scale) }
      const query = Float64Array.from(q!.subarray(head * D, (head + 1) * D), value)
      attentionRowReference(query, coded, place).forEach((expected, d) => {
        const got = out![head * D + d]!
        if (got !== bits(expected))
          throw new WrongResult(
            `out[${token}, ${head * D + d}] is ${value(got)} and must be ${value(bits(expected))}`,
          )
      })
    }
  }
}
