import type { ModelConfig } from '../../checkpoint/config.ts'
import { dtypeBytes } from '../../dsl/dtype.ts'
import type { KvFormatName } from '../../kernels/formats/kv.ts'
import type { ProjectionFormat } from '../../models/weights.ts'
import { formatOf, type headFormats, type Recipe } from '../../quantize/recipe.ts'
import type { Device } from '../../runtime/device.ts'
import { measureStep } from './measure.ts'
import { stepText } from './report.ts'
import { type LayerRow, stepsOf } from './rows.ts'
import { type Contexts, cacheRoom, contextsOf, loadStack, mixedSampling } from './stack.ts'

/** A decode step to measure. */
export interface StepPlan {
  readonly batch: number
  /** Mean tokens of a sequence. */
  readonly context: number
  /** How far contexts lie from it at most, by the mean. */
  readonly spread: number
  readonly contexts: Contexts
}

export const stepPlan = (batch: number, context: number, spread = 0): StepPlan => ({
  ...{ batch, context, spread },
  contexts: contextsOf(batch, context, spread),
})

/** In which formats a model has its numbers. */
export interface StackFormat {
  readonly weights: Recipe['weights']
  readonly head: 'w16' | (typeof headFormats)[number]
  readonly kv: 4 | 8 | 16
}

/** What is told while steps are measured. */
export interface StepListener {
  say(text: string): void
  /** Each step's rows as they come. */
  measured?(rows: readonly LayerRow[]): void
}

/** Loads a model of random weights and measures its steps one after the other, telling of each. */
export async function measurePlans(
  device: Device,
  config: ModelConfig,
  { weights, head, kv }: StackFormat,
  plans: readonly StepPlan[],
  listener: StepListener,
): Promise<LayerRow[]> {
  const most = (of: (plan: StepPlan) => number) => Math.max(...plans.map(of))
  const started = performance.now()
  const recipe = { weights, kv } as const
  const model = await loadStack(device, config, formatOf({ ...recipe, ...(head !== 'w16' && { head }) }), {
    batch: most(({ batch }) => batch),
    pages: most(({ contexts }) => cacheRoom(contexts).pages),
    pagesPerSequence: most(({ contexts }) => cacheRoom(contexts).pagesPerSequence),
  })
  await device.synchronize()
  listener.say(`loaded in ${((performance.now() - started) / 1000).toFixed(1)} s`)
  const sampling = await mixedSampling(model)
  const format: ProjectionFormat = weights === 'bf16' || weights === 'f32' ? 'w16' : weights
  const cache: KvFormatName = `kv${kv}`
  const rows: LayerRow[] = []
  for (const { batch, context, contexts, spread } of plans) {
    const contextTokens = contexts.reduce((a, b) => a + b, 0)
    const known = (kernel: string) =>
      ofContexts.has(kernel) ? undefined : rows.find((row) => row.batch === batch && row.kernel === kernel)
    const step = {
      ...{ config, weights: format, head, kv: cache, batch, context, contextTokens, contexts, spread },
      logitBytes: dtypeBytes[model.logits.dtype],
    }
    const measured = await measureStep(model, sampling, step, known)
    rows.push(...measured)
    listener.measured?.(measured)
    listener.say(`\n${stepText(stepsOf(measured)[0]!)}`)
  }
  sampling.free()
  model.free()
  return rows
}

/** Kernels whose time depends on the contexts. */
const ofContexts = new Set(['attention', 'plan'])
