import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { Command } from 'commander'
import { openCheckpoint } from '../checkpoint/open.ts'
import { loadToScore } from '../cli/eval/scoring.ts'
import { Reported } from '../cli/failure.ts'
import { deviceOption, wholeNumber } from '../cli/options.ts'
import type { Model } from '../models/model.ts'
import { packWindows, readDocuments } from '../quantize/calibration.ts'
import { DeviceCompute } from '../quantize/compute/device.ts'
import { quantizeCheckpoint } from '../quantize/quantize-checkpoint.ts'
import { type Recipe, readRecipe, recipeNamed } from '../quantize/recipe.ts'
import type { Device } from '../runtime/device.ts'
import { openDevice } from '../runtime/open-device.ts'
import { compareModels } from '../serve/compare-models.ts'
import { perplexity } from '../serve/perplexity.ts'
import { loadTokenizer } from '../serve/text/tokenizer.ts'
import { type AccuracyRow, type AccuracyRun, ladder, planRuns, summarize } from './accuracy/runs.ts'
import { runBench } from './command.ts'
import { writeResults } from './results.ts'
import { table } from './table.ts'

interface AccuracyOptions {
  readonly valid: string
  readonly test: string
  readonly calibration: readonly string[]
  readonly recipes: readonly string[]
  readonly steps?: boolean
  readonly seeds: number
  readonly calibrationWindows: number
  readonly window: number
  readonly processes: number
  readonly part?: number
  readonly device?: string
  readonly commit?: string
}

const roundings = ['w8a8kv8', 'w4a8kv4-g128', 'w4a8kv4']
const shipped = ['smoothquant', 'kv4', 'gptq', 'awq', 'qoq-g128', 'qoq']

await runBench(
  new Command('bench:accuracy')
    .description(
      'Perplexity of a model quantized by recipes, and how far it is from the original, over texts and seeds.',
    )
    .argument('<model>', 'folder of a floating-point checkpoint')
    .requiredOption('--valid <file>', 'text that recipes are chosen on')
    .requiredOption('--test <file>', 'text that is reported')
    .requiredOption('--calibration <files...>', 'texts to calibrate on, each alone')
    .option('--recipes <names...>', 'recipes, or paths of some', [...roundings, ...shipped])
    .option('--steps', 'also what leads to each recipe, pass by pass, with the first text and one seed')
    .option('--seeds <n>', 'seeds of each recipe and text', wholeNumber(1), 3)
    .option('--calibration-windows <n>', 'windows to calibrate on', wholeNumber(1), 96)
    .option('--window <n>', 'tokens of a window', wholeNumber(2), 1024)
    .option('--processes <n>', 'processes that share the work, and the device', wholeNumber(1), 1)
    .option('--part <n>', 'print the rows of one process alone', wholeNumber(0))
    .addOption(deviceOption())
    .option('--commit <id>', 'the commit, where git is not there (default: QUATTUOR_COMMIT)')
    .action(async (folder: string, options: AccuracyOptions) => {
      const runs = planned(options)
      if (options.part !== undefined) {
        const own = runs.filter((_, i) => i % options.processes === options.part)
        await measureAll(folder, own, options, (row) => console.log(JSON.stringify(row)))
        return
      }
      const rows = await gather(options.processes, runs.length)
      const floats = rows.find(({ recipe }) => recipe === 'bf16')!
      const ordered = runs.flatMap((run) => rows.filter((row) => isOf(row, run)))
      const summary = summarize(ordered, floats)
      console.log(table(summary, 3))
      const device = await openDevice(options.device)
      console.log(`wrote ${writeResults(device, 'accuracy', [...summary, ...ordered], options)}`)
      await device.close()
    }),
)

function isOf(row: AccuracyRow, { recipe, calibration, seed }: AccuracyRun): boolean {
  return row.recipe === recipe.name && row.calibration === calibration && row.seed === seed
}

function planned({ recipes, steps, calibration, seeds }: AccuracyOptions): AccuracyRun[] {
  const named = recipes.map((name): Recipe => (name.endsWith('.json') ? readRecipe(name) : recipeNamed(name)))
  // The last step is the recipe itself.
  const leading = steps ? named.flatMap((recipe) => ladder(recipe).slice(0, -1)) : []
  const texts = calibration.map((path) => basename(path))
  return [
    ...planRuns([recipeNamed('bf16'), ...named], texts, seeds),
    ...planRuns(leading, texts.slice(0, 1), 1),
  ]
}

/** The rows of so many processes, each with its part of the work. Throws where one of them fails. */
async function gather(processes: number, total: number): Promise<AccuracyRow[]> {
  const rows: AccuracyRow[] = []
  await Promise.all(
    Array.from({ length: processes }, async (_, part) => {
      const child = spawn(
        process.execPath,
        [...process.execArgv, ...process.argv.slice(1), '--processes', `${processes}`, '--part', `${part}`],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      const closed = new Promise<number | null>((done) => child.once('close', done))
      for await (const line of createInterface({ input: child.stdout })) {
        rows.push(JSON.parse(line))
        console.error(`${rows.length} of ${total}: ${line}`)
      }
      const status = await closed
      if (status !== 0)
        throw new Reported(`bench:accuracy: process ${part} ended with ${status}; its message is above`)
    }),
  )
  return rows
}

/** Makes each model of some runs, measures it, and removes it. */
async function measureAll(
  folder: string,
  runs: readonly AccuracyRun[],
  options: AccuracyOptions,
  found: (row: AccuracyRow) => void,
): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'quattuor-accuracy-'))
  const device = await openDevice(options.device)
  const source = openCheckpoint(folder)
  try {
    const floats = await loadToScore(device, source, options.window)
    const tokenizer = loadTokenizer(folder)
    const encode = (path: string): number[] => tokenizer.encode(readFileSync(path, 'utf8'))
    const texts = { valid: encode(options.valid), test: encode(options.test) }
    const documents = new Map(
      options.calibration.map((path) => [
        basename(path),
        readDocuments(path, readFileSync(path, 'utf8')).map((text) => tokenizer.encode(text)),
      ]),
    )
    for (const [i, { recipe, calibration, seed }] of runs.entries()) {
      const start = performance.now()
      const dst = join(scratch, `${i}`)
      const compute = new DeviceCompute(device)
      const chosen = documents.get(calibration)
      const packing = { windows: options.calibrationWindows, window: options.window, seed }
      await quantizeCheckpoint(dst, source, recipe, {
        ...{ producer: 'quattuor bench', compute, seed },
        ...(chosen && { calibration: packWindows(chosen, packing) }),
      })
      await compute.free()
      const seconds = (performance.now() - start) / 1000
      const { format, ...measured } = await measure(device, dst, texts, options.window, floats)
      const names = { model: basename(resolve(folder)), recipe: recipe.name, format, calibration, seed }
      found({ ...names, ...measured, seconds })
      rmSync(dst, { recursive: true })
    }
  } finally {
    source.close()
    rmSync(scratch, { recursive: true, force: true })
    await device.close()
  }
}

interface Texts {
  readonly valid: readonly number[]
  readonly test: readonly number[]
}

async function measure(device: Device, folder: string, texts: Texts, window: number, floats: Model) {
  const checkpoint = openCheckpoint(folder)
  const model = await loadToScore(device, checkpoint, window)
  try {
    const { perplexity: valid } = await perplexity(model, texts.valid, window)
    const test = await compareModels(floats, model, texts.test, window)
    return {
      ...{ format: checkpoint.format.name, valid, test: test.perplexity },
      ...{ divergence: test.divergence, agreement: test.agreement },
    }
  } finally {
    model.free()
    checkpoint.close()
  }
}
