import { existsSync } from 'node:fs'
import { Command } from 'commander'
import { targets } from '../../codegen/target.ts'
import type { WeightFormatName } from '../../kernels/formats/index.ts'
import type { GemmShape } from '../../kernels/gemm/mma-tiles.ts'
import { gemmKernel } from '../../kernels/gemm/operands.ts'
import { gemmSpace } from '../../kernels/gemm/space.ts'
import { gemmTask } from '../../models/tune/gemm-task.ts'
import type { DeviceFacts } from '../../runtime/tune/bench.ts'
import { CompilePool } from '../../runtime/tune/compile-pool.ts'
import { gpuState } from '../../runtime/tune/gpu-state.ts'
import { Measurer } from '../../runtime/tune/measurer.ts'
import { RecordFile } from '../../runtime/tune/record-file.ts'
import type { RunFacts, TuneRecord } from '../../runtime/tune/records.ts'
import { type TuneOutcome, tune } from '../../runtime/tune/tune.ts'
import { recordPath, recordsFolder } from '../../runtime/tune/tuned.ts'
import { Reported, UsageError } from '../failure.ts'
import { targetOption } from '../kernel-files.ts'
import { deviceOption, jsonOption } from '../options.ts'
import { progressBar } from '../progress.ts'
import { writeWhole } from '../write-whole.ts'
import {
  formatOption,
  modelOption,
  type Product,
  shapeOption,
  shapesOf,
  tokensOption,
  usualTokens,
} from './choices.ts'
import { compileOnly } from './compile-only.ts'
import { failureLines, unfitLines } from './failure-lines.ts'
import { readRivals } from './rivals.ts'
import { winnersOf, winnersTable } from './winners.ts'

interface GemmOptions {
  readonly format: readonly WeightFormatName[]
  readonly model: readonly Product[]
  readonly shape: readonly Product[]
  readonly tokens: readonly number[]
  readonly device?: string
  readonly out?: string
  readonly resume: boolean
  readonly compileOnly?: boolean
  readonly target?: string
  readonly report?: string
  readonly rivals?: string
  readonly json?: boolean
}

export const tuneGemmCommand = (): Command =>
  new Command('gemm')
    .description('Tune matrix products: measure the tiles worth trying for each shape, on a GPU.')
    .addOption(formatOption().default(['w4a8'], 'w4a8'))
    .addOption(modelOption())
    .addOption(shapeOption())
    .addOption(tokensOption().default([...usualTokens], usualTokens.join(',')))
    .addOption(deviceOption())
    .option('-o, --out <folder>', 'folder of records (default: kernels/tuned, or your cache folder)')
    .option('--no-resume', 'measure again what is on record')
    .option('--compile-only', 'compile all candidates into the cache and measure nothing; needs no GPU')
    .addOption(targetOption())
    .option('--report <file>', 'draw the results as an HTML page that needs nothing else')
    .option('--rivals <file>', 'times of other kernels, JSON, to be drawn beside')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
A run that is interrupted goes on where it was. Without a GPU, candidates are ranked by what the emulator counts, which is
marked as unmeasured and kept only where --out says so.

The file of --rivals is [{"name": "cuBLAS fp8", "N": 4096, "K": 4096, "M": 16, "us": 7.5}, …].

Examples:
  $ quattuor tune gemm --model llama-3-8b --format w4a8 --tokens 1,16,64
  $ quattuor tune gemm --shape 4096x14336 --format w4a8-g128 --report tuned.html
  $ quattuor tune gemm --model all --format w4a8 --compile-only --target sm_90a`,
    )
    .action(tuneGemm)

async function tuneGemm(options: GemmOptions): Promise<void> {
  const shapes = shapesOf([...options.model, ...options.shape], options.tokens)
  if (shapes.length === 0)
    throw new UsageError(
      'there is nothing to tune; name a model with --model, or products with --shape 4096x14336',
    )
  if (options.target !== undefined && !options.compileOnly)
    throw new UsageError('--target goes with --compile-only; what is measured is compiled for the device')
  if (options.rivals !== undefined && options.report === undefined)
    throw new UsageError('--rivals are drawn in the report; name its file with --report')
  if (options.compileOnly) return compileOnly(options.format, shapes, options)

  const rivals = options.rivals === undefined ? [] : readRivals(options.rivals)
  const results: FormatResult[] = []
  for (const format of options.format) results.push(await tuneFormat(format, shapes, options))
  const winners = winnersOf(results.flatMap(({ records }) => records))
  if (options.report !== undefined) {
    const { reportHtml } = await import('./report/page.ts')
    await writeWhole(options.report, reportHtml(results, rivals))
  }
  if (options.json) {
    const runs = results.map(({ records: _records, ...result }) => result)
    console.log(JSON.stringify({ runs, winners }))
    return
  }
  for (const result of results) console.log(summary(result))
  if (winners.length > 0) console.log(winnersTable(winners))
  if (options.report !== undefined) console.log(`drew ${options.report}`)
  if (winners.length === 0) throw new Reported('no candidate could be measured')
}

/** What came of a format. */
export interface FormatResult extends Omit<TuneOutcome, 'cells'> {
  readonly format: WeightFormatName
  readonly device: DeviceFacts
  readonly status: 'measured' | 'unmeasured'
  readonly seconds: number
  /** Shapes that were measured now. */
  readonly measured: number
  /** Shapes at which no candidate could be measured. */
  readonly without: number
  /** Products that no candidate fits, each with the reasons. */
  readonly unfit: readonly string[]
  /** Where the records are kept. */
  readonly file: string | null
  /** Of the shapes that were asked for: all that was measured now, and what was on record. */
  readonly records: readonly TuneRecord[]
}

async function tuneFormat(
  format: WeightFormatName,
  shapes: readonly GemmShape[],
  options: GemmOptions,
): Promise<FormatResult> {
  const started = performance.now()
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
  const bench = new URL(`../../models/tune/gemm-bench${extension}`, import.meta.url)
  const measurer = new Measurer({ bench, device: options.device, problem: { format, shapes } })
  const compiler = new CompilePool()
  const bar = progressBar(`Tuning ${format}`)
  try {
    const device = await measurer.device()
    const target = targets[device.target as keyof typeof targets]
    const file = new RecordFile(recordsPath(device, format, options.out))
    const facts = (): RunFacts => ({
      kernel: gemmKernel(format).name,
      format,
      gpu: device.description,
      target: device.target,
      ...stateOf(device),
      date: new Date().toISOString(),
      status: device.measures ? 'measured' : 'unmeasured',
    })
    file.begin(facts())
    const task = gemmTask(format, shapes, target, device.measures)
    const outcome = await tune(task, {
      ...{ target, file, compiler, measurer, again: !options.resume },
      onProgress: ({ done, all }) => bar.update(done, all),
    })
    // The clocks under load.
    file.state(facts())
    // All that was measured: the file keeps the fastest of each shape.
    const records = recordsOf(file, shapes)
    file.compact()
    const { cells, ...rest } = outcome
    return {
      ...{ format, device, ...rest, file: file.path, records },
      measured: cells.filter(({ timings }) => timings.length > 0).length,
      without: cells.filter(({ timings }) => timings.length === 0).length,
      unfit: unfitLines(
        gemmSpace(format),
        target,
        task.cells.filter((dims) => task.candidates(dims).length === 0),
      ),
      status: device.measures ? 'measured' : 'unmeasured',
      seconds: (performance.now() - started) / 1000,
    }
  } finally {
    bar.stop()
    await Promise.all([measurer.close(), compiler.close()])
  }
}

function stateOf({ name, driver }: DeviceFacts): Pick<RunFacts, 'driver' | 'clocks'> {
  const state = gpuState(name)
  return { ...state, driver: state.driver ?? (driver === null ? null : `CUDA ${driver}`) }
}

/** Where records go: nowhere for estimates that nobody asked to keep. */
export function recordsPath(
  device: Pick<DeviceFacts, 'slug' | 'measures'>,
  format: string,
  out: string | undefined,
): string | null {
  if (out !== undefined && existsSync(`${out}/${format}.jsonl`))
    throw new UsageError(`${out} is a GPU's folder of records; name the folder above it`)
  const folder = out ?? (device.measures ? recordsFolder() : null)
  return folder === null ? null : recordPath(folder, device.slug, format)
}

/** What is known of the shapes. */
function recordsOf(file: RecordFile, shapes: readonly GemmShape[]): TuneRecord[] {
  const asked = new Set(shapes.map(({ M, N, K }) => `${N} ${K} ${M}`))
  return file.records().filter(({ key }) => asked.has(`${key.N} ${key.K} ${key.M}`))
}

function summary(result: FormatResult): string {
  const { format, device, status, measured, without, unfit, known, programs, failures, seconds, file } =
    result
  const shapes = (count: number) => `${count} ${count === 1 ? 'shape' : 'shapes'}`
  const parts = [
    measured > 0 ? `${shapes(measured)} ${status}` : '',
    known > 0 ? `${shapes(known)} on record` : '',
    without > 0 ? `${shapes(without)} without a candidate that works` : '',
    `${programs} ${programs === 1 ? 'program' : 'programs'}`,
    failures.length > 0 ? `${failures.length} failed` : '',
  ]
  const lines = [
    `${format} on ${device.description}: ${parts.filter(Boolean).join(', ')}, in ${seconds.toFixed(1)} s${file ? `; ${file}` : ''}`,
    ...unfit.map((line) => `  ${line}`),
    ...failureLines(failures),
  ]
  return lines.join('\n')
}
