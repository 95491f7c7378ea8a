import type { ModelConfig } from '../../checkpoint/config.ts'
import type { CheckpointFormat } from '../../checkpoint/quantized.ts'
import { f16FromF32 } from '../../dsl/half.ts'
import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { neutral } from '../../kernels/sampling/settings.ts'
import type { DecodeSampling } from '../../models/decode-graph.ts'
import type { StepLaunch } from '../../models/layer.ts'
import { Model } from '../../models/model.ts'
import { randomCheckpoint } from '../../models/random-weights.ts'
import { type StepInput, type StepPart, stepOf } from '../../models/step.ts'
import { fillRepeatedly } from '../../models/tune/repeated-tensor.ts'
import { uniform } from '../../models/uniform.ts'
import type { Device } from '../../runtime/device.ts'
import type { Tensor } from '../../runtime/tensor.ts'
import { Sampler } from '../../serve/sampler.ts'

/** Lengths of the contexts of a decode step's sequences, the new token included. */
export type Contexts = readonly number[]

/** `batch` contexts evenly spread from mean · (1 − spread) to mean · (1 + spread), in random order. */
export function contextsOf(batch: number, mean: number, spread: number): Contexts {
  const random = uniform(batch)
  const lengths = Array.from({ length: batch }, (_, i) => ({
    length: Math.max(1, Math.round(mean * (1 + (spread * (2 * i + 1 - batch)) / batch))),
    order: random(),
  }))
  return lengths.sort((a, b) => a.order - b.order).map(({ length }) => length)
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

/** Pages of a sequence, and of the token that a last step would be followed by. */
const pageCount = (length: number): number => Math.ceil((length + 1) / PAGE_TOKENS)

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

/**
 * A decode step of sequences that have such contexts some steps later, their pages anywhere in the cache: one a replay of
 * a graph. So that measuring a context does not go past it, behind which attention may have more work to do at once.
 */
export function decodeInput(model: Model, contexts: Contexts, stepsBefore: number): StepInput {
  const { pagesPerSequence } = model.limits
  const random = uniform(contexts.length)
  const order = shuffled(model.cache.pages, random)
  let taken = 0
  const parts = contexts.map((length): StepPart => {
    const first = taken
    taken += pageCount(length)
    const ids = [Math.floor(model.config.vocabSize * random())]
    return {
      ids,
      position: Math.max(0, length - 1 - stepsBefore),
      isPrompt: false,
      pages: [...order.subarray(first, taken)],
      logits: 1,
    }
  })
  return stepOf(parts, pagesPerSequence)
}

/** Sampling of rows whose settings are a mixture: greedy, top-k, top-p, min-p, and temperature alone. */
export async function mixedSampling(model: Model): Promise<DecodeSampling & { free(): void }> {
  const { device, logits } = model
  const rows = logits.shape[0]!
  const mixture = [
    { temperature: 0 },
    { temperature: 0.8, topK: 50, topP: 0.95 },
    { temperature: 1, topP: 0.9 },
    { temperature: 0.7, minP: 0.05 },
    { temperature: 1.2 },
  ]
  const sampler = await Sampler.create(device, logits, { slots: rows })
  for (let slot = 0; slot < rows; slot++)
    sampler.open(slot, {
      sampling: { ...neutral, ...mixture[slot % mixture.length], seed: slot },
      prompt: [],
    })
  sampler.assign(Array.from({ length: rows }, (_, row) => row))
  return {
    launches: (count): StepLaunch[] => sampler.launches(count),
    ids: sampler.ids,
    free() {
      sampler.free()
    },
  }
}
