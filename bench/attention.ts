import { Command, Option } from 'commander'
import type { KvFormatName } from '../kernels/formats/kv.ts'
import { type DecodePoint, measureDecode } from './attention/decode.ts'
import { type MixedPoint, measureMixed } from './attention/mixed.ts'
import { measurePrefill, type PrefillPoint } from './attention/prefill.ts'
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

/** The same with contexts of all lengths up to twice as many tokens. */
const uneven: Readonly<Record<'kv4' | 'kv8', readonly (readonly [batch: number, context: number])[]>> = {
  kv4: [
    [64, 1024],
    [64, 1536],
    [256, 1024],
    [16, 8192],
    [512, 1280],
  ],
  kv8: [
    [64, 1024],
    [256, 1024],
  ],
}

/** Steps of generated tokens and a prompt. */
const mixed: readonly MixedPoint[] = [
  { kv: 'kv4', batch: 64, context: 1024, queries: 1024 },
  { kv: 'kv4', batch: 256, context: 1024, queries: 512 },
  { kv: 'kv4', batch: 1, context: 1024, queries: 2048 },
]

function pointsOf(kv: KvFormatName): DecodePoint[] {
  const points = steps[kv].map(([batch, context]) => ({ kv, batch, context, queries: 1, even: true }))
  if (kv === 'kv16') return points
  return [
    ...points,
    ...uneven[kv].map(([batch, context]) => ({ kv, batch, context, queries: 1, even: false })),
    { kv, batch: 64, context: 1024, queries: 4, even: true },
  ]
}

/** Prompts that are measured: several, one long one, and a piece of one behind the rest. */
const prompts = (kv: 'kv4' | 'kv8'): PrefillPoint[] => [
  { kv, batch: 8, context: 1024, queries: 1024 },
  { kv, batch: 1, context: 16_384, queries: 16_384 },
  { kv, batch: 1, context: 8192, queries: 8192 },
  { kv, batch: 1, context: 8192, queries: 1024 },
]

async function run(options: AttentionOptions): Promise<void> {
  const device = await openGpu('bench:attention', options.device)
  const rows: Row[] = []
  for (const kv of options.kv) {
    for (const point of pointsOf(kv)) {
      const row = await measureDecode(device, point)
      rows.push(row)
      console.log(lineOf(row))
    }
    if (kv === 'kv16' || device.target.name !== 'sm_90a') continue
    for (const point of prompts(kv)) {
      const row = await measurePrefill(device, point)
      rows.push(row)
      console.log(lineOf(row))
    }
    for (const point of mixed.filter((each) => each.kv === kv)) {
      const row = await measureMixed(device, point)
      rows.push(row)
      console.log(mixedLine(row))
    }
  }
  console.log(writeResults(device, 'attention', rows, options))
  await device.close()
}

const lineOf = (row: Row): string => (row.kernel === 'prefill' ? promptLine(row) : stepLine(row))

const promptLine = (row: Row): string =>
  `prefill ${row.kv} ${row.batch} x ${row.context}, the last ${row.queries} tokens: ${Number(row.us).toFixed(1)} µs, ` +
  `${Number(row.tflops).toFixed(0)} TFLOPS`

const mixedLine = (row: Row): string =>
  `append and attention, ${row.kv} ${row.batch} x ${row.context} beside a prompt of ${row.queries}: ${Number(row.us).toFixed(1)} µs`

const stepLine = (row: Row): string =>
  `${row.kernel} ${row.kv} ${row.batch} x ${row.context}${row.even ? '' : ' uneven'}` +
  `${row.queries === 1 ? '' : `, ${row.queries} queries`}: ${Number(row.us).toFixed(1)} µs, ` +
  `${Number(row.ratio).toFixed(2)} times the floor, ${Number(row.tbPerS).toFixed(2)} TB/s`

const command = new Command('bench:attention')
  .description('times attention over the paged cache, and writes bench/results/DEVICE/attention.json')
  .option('--device <name>', 'cuda:N')
  .addOption(new Option('--kv <format...>', 'formats of the cache').choices(formats).default(formats))
  .option('--commit <hash>', 'what the results say of the commit')
  .action(run)

await runBench(command)
