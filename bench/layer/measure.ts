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
/** Replays that are timed: of a whole step, and of one that lacks a kernel. */
const replays = { whole: 9, partial: 3 } as const
/** Launches of the decoder layers. */
const inside = new Set([
  ...['norm', 'qkv', 'append', 'attention', 'quantize', 'o', 'gate_up', 'silu_mul', 'down'],
])

/** What is measured of a step. */
export interface MeasuredStep extends StepShape {
  readonly contexts: Contexts
  readonly even: boolean
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
  const { batch, contexts } = step
  const input = decodeInput(model, contexts)
  const graph = await DecodeGraph.capture(model, batch, sampling)
  const work = stepWork(step)
  const ceiling = ceilings[deviceSlug(device)]
  const floorOf = (each: Work) => (ceiling ? floorMicroseconds(each, ceiling) : null)
  const common = {
    weights: step.weights,
    head: step.head,
    kv: step.kv,
    batch,
    context: step.contextTokens / batch,
    even: step.even,
  }
  const row = (
    kernel: string,
    launches: number,
    us: number,
    each: Work,
    marginalUs: number | null = null,
  ): LayerRow => ({
    ...{ ...common, kernel, launches, us, marginalUs },
    ...{ bytes: each.bytes, ops: each.ops, floorUs: floorOf(each) },
  })
  try {
    const reset = () => graph.start(input)
    const names = [...new Set(graph.launches.map(({ name }) => name))]
    const of = (name: string) => graph.launches.filter((launch) => launch.name === name)
    const layers = graph.launches.filter(({ name }) => inside.has(name))
    /** What launches take as one graph. */
    const together = async (launches: readonly StepLaunch[], times: number): Promise<number> => {
      const part = captureLaunches(device, launches)
      reset()
      const us = await replayMicroseconds(device, part, times)
      part.destroy()
      return us
    }
    reset()
    const wholeUs = await replayMicroseconds(device, graph, replays.whole)
    const layersUs = await together(layers, replays.whole)

    const rows: LayerRow[] = []
    for (const name of names) {
      const launches = of(name)
      const each = work[name] ?? nothing
      const before = known(name)
      // A step makes sure that what the kernel reads is what a step leaves.
      reset()
      graph.launch()
      const us = before?.us ?? (await launchMicroseconds(device, launches.map(runnable), patience))
      const others = graph.launches.filter((launch) => launch.name !== name)
      const marginal = (wholeUs - (await together(others, replays.partial))) / launches.length
      rows.push(row(name, launches.length, us, each, marginal))
    }
    const sum = (names: readonly StepLaunch[]): Work => ({
      bytes: names.reduce((total, { name }) => total + (work[name]?.bytes ?? 0), 0),
      ops: names.reduce((total, { name }) => total + (work[name]?.ops ?? 0), 0),
      unit: 'int8',
    })
    const floorSum = (list: readonly StepLaunch[]) =>
      ceiling ? list.reduce((total, { name }) => total + (floorOf(work[name] ?? nothing) ?? 0), 0) : null
    return [
      ...rows,
      { ...row(wholeNames.layers, 1, layersUs, sum(layers)), floorUs: floorSum(layers) },
      { ...row(wholeNames.step, 1, wholeUs, sum(graph.launches)), floorUs: floorSum(graph.launches) },
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
 * The median microseconds of replays that follow each other, so that the host is ahead of the device; each is a token
 * further than the one before.
 */
async function replayMicroseconds(device: Device, graph: { launch(): void }, times: number): Promise<number> {
  const events = Array.from({ length: times + 1 }, () => device.createEvent())
  graph.launch()
  for (const [i, event] of events.entries()) {
    if (i > 0) graph.launch()
    event.record()
  }
  await device.synchronize()
  const spans = events.slice(1).map((event, i) => 1000 * event.elapsedSince(events[i]!))
  for (const event of events) event.destroy()
  return median(spans)
}
