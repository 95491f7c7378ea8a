import benny from 'benny'
import { Command } from 'commander'
import { deviceOption } from '../cli/options.ts'
import { type f32, kernel, type Out } from '../dsl/index.ts'
import type { Device } from '../runtime/device.ts'
import { type Launch, prepare } from '../runtime/kernel.ts'
import { openDevice } from '../runtime/open-device.ts'
import { Tensor } from '../runtime/tensor.ts'
import { median } from '../runtime/tune/statistics.ts'
import { runBench } from './command.ts'
import { launchMicroseconds } from './measure.ts'
import { type Row, writeResults } from './results.ts'
import { table } from './table.ts'

/** A kernel that does nothing. */
const empty = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function empty(_a: { out: Out<f32, 'N'> }) {},
)

/** Launches that are enqueued at once: fewer than the driver lets wait. */
const batch = 500
/** Launches of a graph, as many as a step of a small model has. */
const graphLaunches = 100
const samples = 21

/**
 * Microseconds of the host for one call of `enqueue`: the median over batches, each waited for where it does not count.
 */
async function hostMicroseconds(device: Device, enqueue: (i: number) => void): Promise<number> {
  const times: number[] = []
  for (let sample = 0; sample <= samples; sample++) {
    const started = performance.now()
    for (let i = 0; i < batch; i++) enqueue(i)
    times.push((1000 * (performance.now() - started)) / batch)
    await device.synchronize()
  }
  // The first one also warms up what is compiled while it runs.
  return median(times.slice(1))
}

/** From the call to its end as seen by the host. */
async function waitedMicroseconds(device: Device, launch: Launch): Promise<number> {
  const wait = () => {
    launch.run()
    return device.synchronize()
  }
  const { results } = await benny.suite(
    'launches',
    benny.add('wait', wait, { minSamples: 10, maxTime: 1 }),
    benny.configure({ minDisplayPrecision: 2 }),
  )
  return 1e6 * results[0]!.details.median
}

async function measureLaunches(device: Device): Promise<Row[]> {
  const out = Tensor.allocate(device, 'f32', [32])
  const [long, short] = [out.slice(0, 32), out.slice(0, 16)]
  const launch = await prepare(device, empty, {}, { out })
  const graph = device.capture((stream) => {
    for (let i = 0; i < graphLaunches; i++) launch.run(stream)
  })
  const enqueue = () => launch.run()
  const replay = async () => {
    const started = performance.now()
    graph.launch()
    const us = 1000 * (performance.now() - started)
    await device.synchronize()
    return us
  }
  await replay()
  const replays: number[] = []
  for (let i = 0; i < samples; i++) replays.push(await replay())
  const changed = (i: number) => {
    launch.set({ out: i % 2 === 0 ? short : long })
    launch.run()
  }
  const rows: Row[] = [
    { measured: 'launch, time of the host', us: await hostMicroseconds(device, enqueue) },
    {
      measured: 'launch after an argument has changed, time of the host',
      us: await hostMicroseconds(device, changed),
    },
    { measured: 'launch, waited for', us: await waitedMicroseconds(device, launch) },
    { measured: `graph of ${graphLaunches} launches, time of the host`, us: median(replays) },
    { measured: 'launch in a graph, time of the device', us: await launchMicroseconds(device, [launch]) },
  ]
  graph.destroy()
  out.free()
  return rows
}

await runBench(
  new Command('bench:launch')
    .description('What it costs to launch a kernel that does nothing.')
    .addOption(deviceOption())
    .option('--commit <id>', 'the commit, where git is not there (default: QUATTUOR_COMMIT)')
    .action(async (options: { readonly device?: string; readonly commit?: string }) => {
      const device = await openDevice(options.device)
      try {
        const rows = await measureLaunches(device)
        console.log(table(rows))
        console.log(`wrote ${writeResults(device, 'launch', rows, options)}`)
      } finally {
        await device.close()
      }
    }),
)
