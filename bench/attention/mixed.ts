import { LOG2E } from '../../dsl/math.ts'
import { decodeAttention } from '../../kernels/attention/decode.ts'
import { decodeConfig } from '../../kernels/attention/decode-shape.ts'
import { ITEM_WORDS } from '../../kernels/attention/items.ts'
import { mostItems, planAttention, planConfig } from '../../kernels/attention/plan.ts'
import { prefillAttention } from '../../kernels/attention/prefill.ts'
import { mostPrefillTiles, planPrefill } from '../../kernels/attention/prefill-plan.ts'
import { prefillConfig, tileTokens } from '../../kernels/attention/prefill-shape.ts'
import { TILE_WORDS } from '../../kernels/attention/prefill-tiles.ts'
import { kvConfig, PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { ropeAppend } from '../../kernels/rope-append.ts'
import { type StepPart, stepOf } from '../../models/step.ts'
import type { Device } from '../../runtime/device.ts'
import { prepare } from '../../runtime/kernel.ts'
import { Tensor } from '../../runtime/tensor.ts'
import { WrongResult } from '../../runtime/tune/bench.ts'
import { launchMicroseconds, type Runnable } from '../measure.ts'
import { randomTensor } from '../random-tensors.ts'
import type { Row } from '../results.ts'
import { dtype, heads, NO_WINDOW } from './heads.ts'

/** Caches that launches take turns with: more than the GPU's own hold. */
const copies = 5

/** A step in which sequences generate a token each, the last of `context`, and one begins with a prompt of `queries`. */
export interface MixedPoint {
  readonly kv: 'kv4' | 'kv8'
  readonly batch: number
  readonly context: number
  readonly queries: number
}

/**
 * Measures what a layer of such a step does from the product that makes queries, keys and values to attention's output: append, prefill
 * attention, and decode attention beside it. Throws `WrongResult` where its bits are not those of one launch after the other.
 */
export async function measureMixed(device: Device, point: MixedPoint): Promise<Row> {
  const { kv, batch, context, queries } = point
  const { Hq, Hkv, D } = heads
  const { multiprocessors } = device.properties
  const shape = { kv, dtype, D, Hq, Hkv, multiprocessors } as const
  const decode = decodeConfig({ ...shape, queries: 1, target: device.target, ahead: true })
  const prefill = prefillConfig(shape)
  const sequences = batch + 1
  const maxPages = Math.ceil(Math.max(context, queries) / PAGE_TOKENS)
  const tokens = batch + queries
  const QKV = (Hq + 2 * Hkv) * D
  const tensors: Tensor<string>[] = []
  const keep = <T extends Tensor<string>>(tensor: T): T => {
    tensors.push(tensor)
    return tensor
  }
  const ints = (rows: number, values: Int32Array) =>
    keep(Tensor.from(device, 'i32', rows === 1 ? [values.length] : [rows, values.length / rows], values))
  const room = mostItems(sequences, maxPages)
  const tiles = mostPrefillTiles(tokens, sequences, tileTokens(heads))
  const q = keep(Tensor.allocate(device, dtype, [tokens, Hq * D]))
  const out = keep(Tensor.allocate(device, dtype, [tokens, Hq * D]))
  const qkv = keep(randomTensor(device, dtype, [tokens, QKV], 'halves'))
  const cosSin = keep(randomTensor(device, 'f32', [Math.max(context, queries), D], 'normals'))
  const partials = keep(Tensor.allocate(device, 'u32', [room, decode.PartialRows, decode.PartialColumns]))
  partials.fill(0xff)
  const arrivals = ints(sequences, new Int32Array(sequences * decode.Counters))
  const scale = 1 / Math.sqrt(D)
  try {
    const launches: Runnable[] = []
    let apart: Runnable[] = []
    for (let copy = 0; copy < copies; copy++) {
      // Pages of sequences take turns.
      const part = (i: number, end: number, count: number): StepPart => ({
        ids: Array<number>(count).fill(1),
        position: end - count,
        isPrompt: i === batch,
        pages: Array.from({ length: maxPages }, (_, page) => page * sequences + i),
        logits: 0,
      })
      const parts = Array.from({ length: batch }, (_, i) => part(i, context, 1))
      const host = stepOf([...parts, part(batch, queries, queries)], maxPages)
      const step = {
        queryStart: ints(1, host.queryStart),
        context: ints(1, host.context),
        prompts: ints(1, host.prompts),
        window: NO_WINDOW,
      }
      const blocks = [maxPages * sequences, Hkv, 2]
      const cache = {
        kv: keep(randomTensor(device, decode.kvElement, [...blocks, decode.PB], 'bits')),
        kvParams: keep(randomTensor(device, 'f16', [...blocks, PAGE_TOKENS, 2], 'halfScales')),
      }
      const pages = ints(sequences, host.pages)
      const items = {
        items: ints(room, new Int32Array(room * ITEM_WORDS)),
        itemCount: keep(Tensor.allocate(device, 'i32', [1])),
      }
      const list = {
        tiles: keep(Tensor.allocate(device, 'i32', [tiles, TILE_WORDS])),
        tileCount: keep(Tensor.allocate(device, 'i32', [1])),
        taken: keep(Tensor.allocate(device, 'i32', [1])),
      }
      const constants = { ...planConfig(decode), prompts: true }
      const plans = [
        await prepare(device, planAttention, constants, { ...step, ...items, pages }),
        await prepare(device, planPrefill, { tileTokens: tileTokens(heads) }, { ...step, ...list }),
      ]
      for (const plan of plans) plan.run()
      const append = await prepare(
        device,
        ropeAppend,
        { ...kvConfig(kv, dtype, D), dtype, ...heads, R: D, HqD: Hq * D, QKV },
        { qkv, positions: ints(1, host.positions), slots: ints(1, host.slots), cosSin, q, ...cache },
      )
      const attend = await prepare(device, prefillAttention, prefill, {
        ...{ q, ...cache, ...list, pages, scale: scale * LOG2E, window: NO_WINDOW, out },
      })
      const decodeWith = (beside: number) =>
        prepare(device, decodeAttention, decode, {
          ...{ q, ...cache, ...items, pages, window: NO_WINDOW, beside, scale, partials, arrivals, out },
        })
      launches.push(append, attend, await decodeWith(1))
      if (copy === 0) apart = [append, attend, await decodeWith(0)]
    }
    const resultOf = async (all: readonly Runnable[]) => {
      out.fill(0xff)
      for (const launch of all) launch.run()
      await device.synchronize()
      return out.read()
    }
    const expected = await resultOf(apart)
    const got = await resultOf(launches.slice(0, 3))
    const wrong = got.findIndex((bits, i) => bits !== expected[i])
    if (wrong >= 0)
      throw new WrongResult(`element ${wrong} of a mixed step is not what it is without overlap`)
    const us = 3 * (await launchMicroseconds(device, launches))
    return {
      kernel: 'mixed',
      path: 'append, wgmma, mma',
      ...point,
      even: true,
      us,
      usChained: null,
      floorUs: null,
      ratio: null,
      tbPerS: null,
      tflops: null,
      registers: null,
    }
  } finally {
    for (const tensor of tensors) tensor.free()
  }
}
