import { Command, Option } from 'commander'
import { collect, wholeNumber } from '../cli/options.ts'
import { dtypeBytes } from '../dsl/dtype.ts'
import { f16FromF32 } from '../dsl/half.ts'
import type { LogitType } from '../kernels/sampling/groups.ts'
import { neutral, type SamplingSettings } from '../kernels/sampling/settings.ts'
import type { Device } from '../runtime/device.ts'
import { Tensor } from '../runtime/tensor.ts'
import { Sampler } from '../serve/sampler.ts'
import type { Sampling } from '../serve/sampling.ts'
import { type Rng, rng } from '../test/support/rng.ts'
import { runBench } from './command.ts'
import { launchMicroseconds } from './measure.ts'
import { openGpu } from './open-gpu.ts'
import { type Row, writeResults } from './results.ts'
import { table } from './table.ts'

interface SamplingOptions {
  readonly device?: string
  readonly rows: readonly string[]
  readonly vocabulary: number
  readonly logits: LogitType
  readonly modes: readonly string[]
  readonly commit?: string
}

/** Bytes a second of device memory that floors are counted at. */
const BANDWIDTH = 4.5e12
/** Rows of logits that differ; others repeat them. */
const DISTINCT = 16

/** Ways of setting a slot, and rows of them mixed in turns. */
const modes: Readonly<Record<string, Partial<Sampling>>> = {
  greedy: { temperature: 0 },
  temperature: { temperature: 0.8 },
  'top-k': { temperature: 0.8, topK: 50 },
  'top-p': { temperature: 1, topP: 0.95 },
  'min-p': { temperature: 1, minP: 0.05 },
  'top-k, top-p': { temperature: 0.7, topK: 40, topP: 0.9 },
  penalties: { temperature: 0.8, topP: 0.9, repetitionPenalty: 1.0001, frequencyPenalty: 1e-6 },
  bias: { temperature: 0.6, topK: 100, logitBias: new Map([...Array(100).keys()].map((i) => [i * 97, 0])) },
}

/**
 * Logits whose probabilities fall with a power of their rank, as a language model's do: from a handful of likely tokens to a
 * tail in which thousands make up what top-p keeps.
 */
function languageLogits(random: Rng, V: number): Float32Array {
  const power = 1 + 1.2 * random.uniform()
  const logits = new Float32Array(V)
  // Prime, and no divisor of a vocabulary: all ids come.
  const step = 1_000_003
  for (let rank = 0, id = random.integer(0, V - 1); rank < V; rank++, id = (id + step) % V)
    logits[id] = 12 - power * Math.log(rank + 1) + 0.3 * random.normal()
  return logits
}

const flatLogits = (random: Rng, V: number): Float32Array =>
  Float32Array.from({ length: V }, () => random.normal())

/** A sampler over logits of `rows` rows, their slots set as the modes say in turns. */
async function open(
  device: Device,
  logits: Tensor,
  names: readonly string[],
  { masked = false, topLogProbs }: { readonly masked?: boolean; readonly topLogProbs?: number } = {},
): Promise<Sampler> {
  const [rows, V] = logits.shape as [number, number]
  const sampler = await Sampler.create(device, logits, { slots: rows })
  const random = rng(rows)
  const prompt = Array.from({ length: 500 }, () => random.integer(0, V - 1))
  const words = Uint32Array.from({ length: Math.ceil(V / 32) }, (_, i) => (i % 8 === 0 ? 0xffffffff : 0))
  for (let slot = 0; slot < rows; slot++) {
    const settings: SamplingSettings = { ...neutral, ...modes[names[slot % names.length]!], seed: slot }
    sampler.open(slot, {
      sampling: { ...settings, ...(topLogProbs !== undefined && { topLogProbs }) },
      prompt,
    })
    if (masked) sampler.allow(slot, words)
  }
  sampler.assign(Array.from({ length: rows }, (_, i) => i))
  return sampler
}

async function measure(
  device: Device,
  rows: number,
  { vocabulary: V, logits: dtype, modes: wanted }: SamplingOptions,
): Promise<Row[]> {
  const result: Row[] = []
  const random = rng(V)
  const floorUs = (rows * V * dtypeBytes[dtype]) / BANDWIDTH / 1e-6
  for (const [kind, make] of Object.entries({ language: languageLogits, flat: flatLogits })) {
    const distinct = Array.from({ length: DISTINCT }, () => {
      const values = make(random, V)
      return dtype === 'f32' ? values : f16FromF32(values)
    })
    // Together more than the caches hold, but for single rows, which the product before leaves there anyway.
    const copies = Math.min(8, Math.ceil(600 / rows))
    const tensors = Array.from({ length: copies }, (_, copy) => {
      const tensor = Tensor.allocate(device, dtype, [rows, V])
      for (let row = 0; row < rows; row++) tensor.at(row).write(distinct[(row + copy) % DISTINCT]!)
      return tensor
    })
    const cases: [string, readonly string[], Parameters<typeof open>[3]][] = [
      ...Object.keys(modes).map((name): (typeof cases)[number] => [name, [name], {}]),
      ['mixed', Object.keys(modes), {}],
      ['mixed, top 20', Object.keys(modes), { topLogProbs: 20 }],
      ['top-k, bitmask', ['top-k'], { masked: true }],
    ]
    for (const [mode, names, options] of cases) {
      if (wanted.length > 0 && !wanted.includes(mode)) continue
      // A bitmask leaves its mark on the logits: it comes last.
      const samplers: Sampler[] = []
      for (const logits of tensors) samplers.push(await open(device, logits, names, options))
      const us = await launchMicroseconds(
        device,
        samplers.map((sampler) => ({
          run(stream) {
            for (const { launch } of sampler.launches(rows)) launch.run(stream)
          },
        })),
      )
      result.push({ dtype, logits: kind, rows, mode, us, floorUs, target: 1.5 * floorUs + 10 })
      for (const sampler of samplers) sampler.free()
    }
    for (const tensor of tensors) tensor.free()
  }
  return result
}

await runBench(
  new Command('bench:sampling')
    .description('Choosing tokens from rows of logits, by kinds of settings, on a GPU.')
    .option('--device <name>', 'cuda:0, cuda:1, … (default: the first GPU)')
    .option('--rows <n>', 'rows of logits; may be repeated (default: 1, 64, 512)', collect, [])
    .addOption(new Option('--logits <type>', 'their type').choices(['f16', 'f32']).default('f16'))
    .option('--modes <name>', 'only these settings; may be repeated', collect, [])
    .option('--vocabulary <n>', 'tokens of the vocabulary', wholeNumber(1), 128256)
    .option('--commit <id>', 'the commit, where git is not there (default: QUATTUOR_COMMIT)')
    .action(async (options: SamplingOptions) => {
      const device = await openGpu('bench:sampling', options.device)
      try {
        const counts = options.rows.length > 0 ? options.rows.map(Number) : [1, 64, 512]
        const rows: Row[] = []
        // The most first, and told at once: what takes longest to come about is not lost when someone interrupts.
        for (const count of counts.sort((one, other) => other - one)) {
          const measured = await measure(device, count, options)
          console.log(table(measured))
          rows.unshift(...measured)
          console.log(`wrote ${writeResults(device, 'sampling', rows, options)}`)
        }
      } finally {
        await device.close()
      }
    }),
)
