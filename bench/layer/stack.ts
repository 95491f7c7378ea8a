import type { ModelConfig } from '../../checkpoint/config.ts'
import type { CheckpointFormat } from '../../checkpoint/quantized.ts'
import { f16FromF32 } from '../../dsl/half.ts'
import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { sample } from '../../kernels/sample.ts'
import type { DecodeSampling } from '../../models/decode-graph.ts'
import type { StepLaunch } from '../../models/layer.ts'
import { Model } from '../../models/model.ts'
import { randomCheckpoint } from '../../models/random-weights.ts'
import type { StepInput } from '../../models/step.ts'
import { fillRepeatedly } from '../../models/tune/repeated-tensor.ts'
import { uniform } from '../../models/uniform.ts'
import type { Device } from '../../runtime/device.ts'
import { prepare } from '../../runtime/kernel.ts'
import { Tensor } from '../../runtime/tensor.ts'

/** Lengths of the contexts of a decode step's sequences, the new token included. */
export type Contexts = readonly number[]

/** `batch` contexts of a mean: all alike, or evenly spread from 1 to twice the mean, in random order. */
export function contextsOf(batch: number, mean: number, even: boolean): Contexts {
  if (even) return new Array<number>(batch).fill(mean)
  const random = uniform(batch)
  const spread = Array.from({ length: batch }, (_, i) => ({
    length: Math.max(1, Math.round((2 * mean * (i + 0.5)) / batch)),
    order: random(),
  }))
  return spread.sort((a, b) => a.order - b.order).map(({ length }) => length)
}

/** A random permutation of the numbers below `count`. */
function shuffled(count: number, random: () => number): Int32Array {
  const list = Int32Array.from({ length: count }, (_, i) => i)
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor((i + 1) * random())
    const kept = list[i]!
    list[i] = list[j]!
    list[j] = kept
  }
  return list
}

/** Tokens that a sequence may grow while its step is measured: one a replay. */
const growth = 32

/** Pages of a sequence, with room to grow. */
const pageCount = (length: number): number => Math.ceil((length + growth) / PAGE_TOKENS)

/** What the cache needs for sequences. */
export const cacheRoom = (
  contexts: Contexts,
): { readonly pages: number; readonly pagesPerSequence: number } => ({
  pages: contexts.reduce((sum, length) => sum + pageCount(length), 0),
  pagesPerSequence: pageCount(Math.max(...contexts)),
})

/** A model of random weights, whose cache holds random keys and values. */
export async function loadStack(
  device: Device,
  config: ModelConfig,
  format: CheckpointFormat,
  room: { readonly batch: number; readonly pagesPerSequence: number; readonly pages: number },
): Promise<Model> {
  const { batch, pagesPerSequence, pages } = room
  const limits = { tokens: batch, sequences: batch, pagesPerSequence, logitRows: batch }
  const model = await Model.load(device, randomCheckpoint(config, format), { limits, pages })
  const coded = format.kv.bits < 16
  const random = uniform(1)
  const around = () => random() + random() - 1
  // Primes, so that tokens differ.
  const codes = Uint8Array.from({ length: 1_048_573 }, () => Math.floor(256 * random()))
  const halves = f16FromF32(Float32Array.from({ length: 1_048_573 }, () => 2 * around()))
  const parameters = f16FromF32(
    Float32Array.from({ length: 2 * 65_521 }, (_, i) =>
      i % 2 === 0 ? (0.3 + 0.1 * around()) / (format.kv.bits === 8 ? 17 : 1) : -2.25 + 0.2 * around(),
    ),
  )
  for (const layer of model.cache.layers)
    for (const tensor of Object.values(layer) as (Tensor | undefined)[])
      if (tensor) fillRepeatedly(tensor, tensor.dtype !== 'f16' ? codes : coded ? parameters : halves)
  return model
}

/** A decode step of sequences with such contexts, their pages anywhere in the cache. */
export function decodeInput(model: Model, contexts: Contexts): StepInput {
  const { pagesPerSequence } = model.limits
  const random = uniform(contexts.length)
  const order = shuffled(model.cache.pages, random)
  const pages = new Int32Array(contexts.length * pagesPerSequence)
  let taken = 0
  contexts.forEach((length, b) => {
    const count = pageCount(length)
    pages.set(order.subarray(taken, taken + count), b * pagesPerSequence)
    taken += count
  })
  const positions = Int32Array.from(contexts, (length) => length - 1)
  const rows = Int32Array.from(contexts.keys())
  return {
    ids: Int32Array.from(contexts, () => Math.floor(model.config.vocabSize * random())),
    positions,
    slots: positions.map(
      (at, b) =>
        PAGE_TOKENS * pages[b * pagesPerSequence + Math.floor(at / PAGE_TOKENS)]! + (at % PAGE_TOKENS),
    ),
    sequences: rows,
    queryStart: Int32Array.from([...rows, rows.length]),
    context: Int32Array.from(contexts),
    pages,
    logitRows: rows,
  }
}

/** Sampling of rows whose settings are a mixture: greedy, top-k, top-p, min-p, and temperature alone. */
export async function mixedSampling(model: Model): Promise<DecodeSampling & { free(): void }> {
  const { device, logits } = model
  const [rows, V] = logits.shape as [number, number]
  const each = (dtype: 'f32' | 'i32' | 'u32', values: readonly number[]) =>
    Tensor.from(
      device,
      dtype,
      [rows],
      Array.from({ length: rows }, (_, row) => values[row % values.length]!),
    )
  const tensors = {
    temperature: each('f32', [0, 0.8, 1, 0.7, 1.2]),
    topK: each('i32', [0, 50, 0, 0, 0]),
    topP: each('f32', [1, 0.95, 0.9, 1, 1]),
    minP: each('f32', [0, 0, 0, 0.05, 0]),
    seed: each('u32', [1, 2, 3, 5, 7]),
    step: each('u32', [0]),
    ids: Tensor.allocate(device, 'i32', [rows]),
  }
  const launch = await prepare(device, sample, { V }, { logits, ...tensors })
  return {
    launches: (count): StepLaunch[] => [{ name: 'sample', launch, size: { B: count } }],
    ids: tensors.ids,
    draws: tensors.step,
    free() {
      for (const tensor of Object.values(tensors)) tensor.free()
    },
  }
}
