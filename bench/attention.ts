import { Command, Option } from 'commander'
import { collect } from '../cli/options.ts'
import type { KvFormatName } from '../kernels/formats/kv.ts'
import { type DecodePoint, measureDecode } from './attention/decode.ts'
import { runBench } from './command.ts'
import { openGpu } from './open-gpu.ts'
import { type Row, writeResults } from './results.ts'

interface AttentionOptions {
  readonly device?: string
  readonly kv: readonly KvFormatName[]
  readonly commit?: string
}

const formats = ['kv4', 'kv8', 'kv16'] as const

/** Sequences and contexts that are measured for each cache format. */
const steps: Readonly<Record<KvFormatName, readonly (readonly [batch: number, context: number])[]>> = {
  kv4: [
    [1, 1024],
    [1, 131_072],
    [16, 1024],
    [64, 1024],
    [64, 1536],
    [256, 1024],
    [256, 1536],
    [16, 8192],
    [512, 1280],
  ],
  kv8: [
    [64, 1024],
    [256, 1024],
    [16, 8192],
  ],
  kv16: [
    [64, 1024],
    [256, 1024],
  ],
}

function pointsOf(kv: KvFormatName): DecodePoint[] {
  const points = steps[kv].map(([batch, context]) => ({ kv, batch, context, queries: 1, even: true }))
  if (kv === 'kv16') return points
  return [
    ...points,
    ...[64, 256].map((batch) => ({ kv, batch, context: 1024, queries: 1, even: false })),
    { kv, batch: 64, context: 1024, queries: 4, even: true },
  ]
}

async function run(options: AttentionOptions): Promise<void> {
  const device = await openGpu('bench:attention', options.device)
  const rows: Row[] = []
  for (const kv of options.kv.length > 0 ? options.kv : formats) {
    for (const point of pointsOf(kv)) {
      const row = await measureDecode(device, point)
      rows.push(row)
      console.log(lineOf(row))
    }
  }
  console.log(writeResults(device, 'attention', rows, options))
  await device.close()
}

const lineOf = (row: Row): string =>
  `${row.kernel} ${row.kv} ${row.batch} x ${row.context}${row.even ? '' : ' uneven'}` +
  `${row.queries === 1 ? '' : `, ${row.queries} queries`}: ${Number(row.us).toFixed(1)} µs, ` +
  `${Number(row.ratio).toFixed(2)} times the floor, ${Number(row.tbPerS).toFixed(2)} TB/s`

const command = new Command('bench:attention')
  .description('times attention over the paged cache, and writes bench/results/DEVICE/attention.json')
  .option('--device <name>', 'cuda:N')
  .addOption(
    new Option('--kv <format>', 'format of the cache, may be repeated')
      .choices(['kv4', 'kv8', 'kv16'])
      .argParser(collect)
      .default([]),
  )
  .option('--commit <hash>', 'what the results say of the commit')
  .action(run)

await runBench(command)
