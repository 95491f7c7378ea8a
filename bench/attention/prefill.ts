import { halves } from '../../dsl/half.ts'
import { LOG2E } from '../../dsl/math.ts'
import { prefillAttention } from '../../kernels/attention/prefill.ts'
import { mostPrefillTiles, planPrefill } from '../../kernels/attention/prefill-plan.ts'
import { prefillRowReference } from '../../kernels/attention/prefill-reference.ts'
import { prefillConfig, tileTokens } from '../../kernels/attention/prefill-shape.ts'
import { TILE_WORDS } from '../../kernels/attention/prefill-tiles.ts'
import { codedHead } from '../../kernels/attention/reference.ts'
import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { KvPages } from '../../kernels/formats/kv-pages.ts'
import type { Device } from '../../runtime/device.ts'
import { prepare } from '../../runtime/kernel.ts'
import { Tensor } from '../../runtime/tensor.ts'
import { WrongResult } from '../../runtime/tune/bench.ts'
import { launchMicroseconds } from '../measure.ts'
import { randomTensor } from '../random-tensors.ts'
import type { Row } from '../results.ts'
import { dtype, heads, NO_WINDOW } from './heads.ts'

/** Places that launches take turns with: queries and outputs of one alone are more than a cache holds. */
const copies = 3

/** A step of prompts, all alike: the last `queries` tokens of `context`. */
export interface PrefillPoint {
  readonly kv: 'kv4' | 'kv8'
  readonly batch: number
  readonly context: number
  readonly queries: number
}

/** Operations of causal attention, as they are usually counted: half of the last queries' square. */
const operations = ({ batch, context, queries }: PrefillPoint): number =>
  4 * heads.Hq * heads.D * batch * queries * (context - queries / 2)

/** Checks some rows of a step of prompts, and measures it. */
export async function measurePrefill(device: Device, point: PrefillPoint): Promise<Row> {
  const { kv, batch, context, queries } = point
  const { Hq, Hkv, D } = heads
  const config = prefillConfig({ kv, dtype, ...heads, multiprocessors: device.properties.multiprocessors })
  const pagesEach = Math.ceil(context / PAGE_TOKENS)
  const tokens = batch * queries
  const room = mostPrefillTiles(tokens, batch, tileTokens(heads))
  const tensors: Tensor<string>[] = []
  const keep = <T extends Tensor<string>>(tensor: T): T => {
    tensors.push(tensor)
    return tensor
  }
  const ints = (values: readonly number[]) =>
    keep(Tensor.from(device, 'i32', [values.length], Int32Array.from(values)))
  try {
    const blocks = [batch * pagesEach, Hkv, 2]
    const list = {
      tiles: keep(Tensor.allocate(device, 'i32', [room, TILE_WORDS])),
      tileCount: keep(Tensor.allocate(device, 'i32', [1])),
      taken: keep(Tensor.allocate(device, 'i32', [1])),
      window: NO_WINDOW,
    }
    const step = {
      queryStart: ints(Array.from({ length: batch + 1 }, (_, i) => i * queries)),
      context: ints(Array.from({ length: batch }, () => context)),
      prompts: ints(Array.from({ length: batch }, () => 1)),
    }
    const constants = { tileTokens: tileTokens(heads) }
    const plan = await prepare(device, planPrefill, constants, { ...step, ...list })
    plan.run()
    // Pages of sequences take turns.
    const table = Int32Array.from(
      { length: batch * pagesEach },
      (_, i) => (i % pagesEach) * batch + Math.floor(i / pagesEach),
    )
    const pages = keep(Tensor.from(device, 'i32', [batch, pagesEach], table))
    const places = Array.from({ length: copies }, () => ({
      kv: keep(randomTensor(device, 'u8', [...blocks, config.PB], 'bits')),
      kvParams: keep(randomTensor(device, 'f16', [...blocks, PAGE_TOKENS, 2], 'halfScales')),
      q: keep(randomTensor(device, dtype, [tokens, Hq * D], 'halves')),
      out: keep(Tensor.allocate(device, dtype, [tokens, Hq * D])),
    }))
    const scale = 1 / Math.sqrt(D)
    const launches = []
    for (const place of places)
      launches.push(
        await prepare(device, prefillAttention, config, { ...place, ...list, pages, scale: scale * LOG2E }),
      )
    launches[0]!.run()
    await device.synchronize()
    await checkRows(point, places[0]!, table.subarray(0, pagesEach), scale)
    const us = await launchMicroseconds(device, launches)
    return {
      kernel: 'prefill',
      path: 'wgmma',
      ...point,
      even: true,
      us,
      usChained: null,
      floorUs: null,
      ratio: null,
      tbPerS: null,
      tflops: operations(point) / us / 1e6,
      registers: launches[0]!.fn.resources?.registers ?? null,
    }
  } finally {
    for (const tensor of tensors) tensor.free()
  }
}

/** Some rows of the first sequence. Throws `WrongResult`. */
async function checkRows(
  { kv, context, queries }: PrefillPoint,
  o: { readonly kv: Tensor; readonly kvParams: Tensor; readonly q: Tensor; readonly out: Tensor },
  table: Int32Array,
  scale: number,
): Promise<void> {
  const { Hq, Hkv, D } = heads
  const { value } = halves[dtype]
  const pages = new KvPages(kv, dtype, D, table.length, Hkv)
  for (const [i, page] of table.entries()) {
    const codes = (await o.kv.slice(page, page + 1).read()) as Uint8Array
    pages.kv.set(codes, i * codes.length)
    const params = (await o.kvParams.slice(page, page + 1).read()) as Uint16Array
    pages.kvParams.set(params, i * params.length)
  }
  const own = Array.from({ length: table.length }, (_, i) => i)
  for (const [token, head] of [
    [0, 0],
    [queries >> 1, 17],
    [queries - 1, 31],
  ] as const) {
    const position = context - queries + token
    const [q, out] = await Promise.all(
      [o.q, o.out].map(async (tensor) => (await tensor.slice(token, token + 1).read()) as Uint16Array),
    )
    const coded = codedHead(pages, own, Math.floor(head / (Hq / Hkv)), position + 1)
    const query = Float64Array.from(q!.subarray(head * D, (head + 1) * D), value)
    const { values, bounds } = prefillRowReference(query, coded, { position, from: 0, scale })
    values.forEach((expected, d) => {
      const got = value(out![head * D + d]!)
      const bound = bounds[d]! + Math.abs(expected) * 2 ** -11 + 2 ** -25
      if (!(Math.abs(got - expected) <= bound))
        throw new WrongResult(`out[${token}, ${head * D + d}] is ${got} and must be ${expected} ± ${bound}`)
    })
  }
}
