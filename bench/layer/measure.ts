import { captureLaunches, DecodeGraph, type DecodeSampling } from '../../models/decode-graph.ts'
import { runStepLaunch, type StepLaunch } from '../../models/layer.ts'
import type { Model } from '../../models/model.ts'
import type { Device } from '../../runtime/device.ts'
import { deviceSlug } from '../../runtime/device-slug.ts'
import { ceilings, floorMicroseconds, type Work } from '../../runtime/tune/roofline.ts'
import { median } from '../../runtime/tune/statistics.ts'
import { launchMicroseconds, type Patience } from '../measure.ts'
import { type LayerRow, wholeNames } from './rows.ts'
import { type Contexts, decodeInput } from './stack.ts'
import { type StepShape, stepWork } from './work.ts'

const patience: Patience = { replays: 7, leastMicroseconds: 1500, mostMicroseconds: 12_000 }
/** Replays of a whole step that are timed. */
const replays = 9
/** Replays of a step that lacks a kernel: fewer where a step is long. */
const partialReplays = (stepUs: number): number => Math.max(1, Math.min(4, Math.round(30_000 / stepUs)))
/** Launches of the decoder layers. */
const inside = new Set([
  ...['norm', 'qkv', 'append', 'attention', 'quantize', 'o', 'gate_up', 'silu_mul', 'down'],
])

/** What is measured of a step. */
export interface MeasuredStep extends StepShape {
  readonly contexts: Contexts
  /** The mean that was asked for, and how far from it contexts lie at most, by the mean. */
  readonly context: number
  readonly spread: number
}

/**
 * Times a whole decode step, its decoder layers, and each of its kernels: alone, as a graph of the launches of one name,
 * which take turns among the layers, and by what a step without it saves. `known` has rows of kernels whose time alone
 * need not be measured again.
 */
export async function measureStep(
  model: Model,
  sampling: DecodeSampling,
  step: MeasuredStep,
  known: (kernel: string) => LayerRow | undefined = () => undefined,
): Promise<LayerRow[]> {
  const { device } = model
  const input = decodeInput(model, step.contexts, replays + 1)
  const graph = await DecodeGraph.capture(model, step.batch, sampling)
  const { launches } = graph
  const reset = () => graph.start(input)
  const work = stepWork(step)
  const ceiling = ceilings[deviceSlug(device)]
  const row = (kernel: string, parts: readonly StepLaunch[], us: number, marginalUs: number | null) => {
    const total = (of: (each: Work) => number) =>
      parts.reduce((sum, { name }) => sum + of(work[name] ?? nothing), 0)
    const whole = marginalUs === null
    const each = whole ? 1 : parts.length
    return {
      ...{ weights: step.weights, head: step.head, kv: step.kv },
      ...{ batch: step.batch, context: step.context, spread: step.spread },
      ...{ kernel, launches: whole ? 1 : parts.length, us, marginalUs },
      bytes: total(({ bytes }) => bytes) / each,
      ops: total(({ ops }) => ops) / each,
      floorUs: ceiling ? total((one) => floorMicroseconds(one, ceiling)) / each : null,
    }
  }
  /** What a graph takes, and what some launches take as another, in turns, so that both find the GPU equally warm. */
  const besides = async (others: readonly StepLaunch[], times: number): Promise<[number, number]> => {
    const part = captureLaunches(device, others)
    reset()
    const both = await replayMicroseconds(device, [graph, part], times)
    part.destroy()
    return [median(both[0]!), median(both[1]!)]
  }
  try {
    reset()
    const [whole] = await replayMicroseconds(device, [graph], replays)
    const wholeUs = median(whole!)
    const turns = partialReplays(wholeUs)
    const layers = launches.filter(({ name }) => inside.has(name))
    const [, layersUs] = await besides(layers, turns)
    const rows: LayerRow[] = []
    for (const name of new Set(launches.map((launch) => launch.name))) {
      const own = launches.filter((launch) => launch.name === name)
      const [withUs, withoutUs] = await besides(
        launches.filter((launch) => launch.name !== name),
        turns,
      )
      const us = known(name)?.us ?? (await launchMicroseconds(device, own.map(runnable), patience))
      rows.push(row(name, own, us, (withUs - withoutUs) / own.length))
    }
    return [
      ...rows,
      row(wholeNames.layers, layers, layersUs, null),
      row(wholeNames.step, launches, wholeUs, null),
    ]
  } finally {
    graph.destroy()
  }
}

const nothing: Work = { bytes: 0, ops: 0, unit: 'f16' }

const runnable = (launch: StepLaunch) => ({
  run: (stream?: Parameters<typeof runStepLaunch>[1]) => runStepLaunch(launch, stream),
})

/**
 * Microseconds of replays of each of some graphs, which take turns without a pause, so that the host is ahead of the
 * device; the first turn is not timed.
 */
async function replayMicroseconds(
  device: Device,
  graphs: readonly { launch(): void }[],
  times: number,
): Promise<number[][]> {
  const events = Array.from({ length: times * graphs.length + 1 }, () => device.createEvent())
  for (const graph of graphs) graph.launch()
  for (const [i, event] of events.entries()) {
    if (i > 0) graphs[(i - 1) % graphs.length]!.launch()
    event.record()
  }
  await device.synchronize()
  const spans = events.slice(1).map((event, i) => 1000 * event.elapsedSince(events[i]!))
  for (const event of events) event.destroy()
  return graphs.map((_, g) => spans.filter((_, i) => i % graphs.length === g))
}
