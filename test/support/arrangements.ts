import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type Checkpoint, openCheckpoint } from '../../checkpoint/open.ts'
import { Model } from '../../models/model.ts'
import type { Device } from '../../runtime/device.ts'
import { packageRoot } from '../../runtime/package-root.ts'
import type { EngineStats } from '../../serve/engine/engine.ts'
import { type Completion, complete, startOnModel } from '../../serve/engine/local-engine.ts'
import type { EngineRequest } from '../../serve/engine/request.ts'
import { greedy } from '../../serve/sampling.ts'
import { rng } from './rng.ts'

const nanoFolder = join(packageRoot(), 'examples/models/nano-w4a8kv4')

/** Room that an engine has, and how requests come. */
export interface Arrangement {
  readonly tokens: number
  readonly sequences: number
  readonly pages: number
  /** Requests are added `stride` places apart; without a common factor with their number. Default 1. */
  readonly stride?: number
  /** Requests come with the tokens of those before, so many with each. Default: all at once. */
  readonly perToken?: number
  /** Every request runs twice, so that the second finds all of its prompt in the cache. */
  readonly twice?: boolean
  readonly graphs?: boolean
  /** Some go before others, and take their places. */
  readonly priorities?: boolean
}

const roomy = { tokens: 512, sequences: 64, pages: 512 }
export const arrangements: Readonly<Record<string, Arrangement>> = {
  'all at once': roomy,
  'all at once, launch by launch': { ...roomy, graphs: false },
  'in another order': { ...roomy, stride: 37 },
  'one with each token of another': { ...roomy, perToken: 1 },
  'three with each token of another, backwards': { ...roomy, stride: 63, perToken: 3 },
  'one by one': { ...roomy, sequences: 1, pages: 64 },
  'prompts cut into short pieces': { tokens: 40, sequences: 32, pages: 512, stride: 5 },
  'prompts found in the cache': { ...roomy, twice: true },
  'so few pages that some wait again': { tokens: 100, sequences: 16, pages: 24, stride: 3 },
  'some before others, with few pages': {
    tokens: 100,
    sequences: 16,
    pages: 24,
    perToken: 1,
    priorities: true,
  },
}

/**
 * Requests of prompts that may begin alike in up to `longest` tokens, and of up to `output` tokens; half of them greedy, a quarter
 * with penalties.
 */
export function arrangedRequests(count: number, output: number, longest = 200): EngineRequest[] {
  const random = rng(count)
  const ids = (length: number) => Array.from({ length }, () => random.integer(10, 4000))
  const shared = ids(300)
  return Array.from({ length: count }, (_, i) => ({
    prompt: [
      ...shared.slice(0, random.integer(0, longest)),
      ...ids(random.integer(1, Math.ceil(longest / 3))),
    ],
    maxTokens: random.integer(Math.ceil(output / 4), output),
    stopIds: [5],
    sampling:
      i % 2 === 0
        ? greedy
        : { ...greedy, temperature: 0.8, topK: 40, repetitionPenalty: i % 4 === 1 ? 1.1 : 1, seed: i },
  }))
}

/** A model that requests run on. */
export interface ArrangedModel {
  open(): Checkpoint
  readonly pagesPerSequence: number
}

const nano: ArrangedModel = { open: () => openCheckpoint(nanoFolder), pagesPerSequence: 8 }

/** Runs requests on a model, the nano one unless given; returns what became of each, and what the engine counted. */
export async function runArranged(
  device: Device,
  requests: readonly EngineRequest[],
  arrangement: Arrangement,
  { open, pagesPerSequence }: ArrangedModel = nano,
): Promise<{ readonly outcomes: readonly Completion[]; readonly stats: EngineStats }> {
  const { tokens, sequences, pages, stride = 1, perToken, twice, graphs = true, priorities } = arrangement
  const checkpoint = open()
  const limits = { tokens, sequences, pagesPerSequence, logitRows: sequences }
  const model = await Model.load(device, checkpoint, { limits, pages })
  checkpoint.close()
  const engine = await startOnModel(model, { graphs })
  const completions: Promise<Completion>[] = []
  let added = 0
  const addNext = (): void => {
    if (added === requests.length) return
    const i = (added++ * stride) % requests.length
    const request = { ...requests[i]!, ...(priorities && { priority: i % 3 }) }
    completions[i] = complete(engine, request, () => {
      for (let n = 0; n < (perToken ?? 0); n++) addNext()
    }).then(async (first) => {
      if (!twice) return first
      const second = await complete(engine, request)
      assert.equal(second, first, `request ${i} once more`)
      return second
    })
  }
  addNext()
  if (perToken === undefined) while (added < requests.length) addNext()
  while (added < requests.length) await new Promise((resolve) => setTimeout(resolve, 1))
  const outcomes = await Promise.all(completions)
  const { stats } = engine
  await engine.close()
  model.free()
  return { outcomes, stats }
}
