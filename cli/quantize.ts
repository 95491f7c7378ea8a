import { Command, Option } from 'commander'
import { openCheckpoint } from '../checkpoint/open.ts'
import type { Calibration } from '../quantize/calibration.ts'
import { quantizeCheckpoint } from '../quantize/quantize-checkpoint.ts'
import { formatOf, headFormats, inFormat, type Recipe, recipeNames, recipes } from '../quantize/recipe.ts'
import { loadCalibration } from './calibration-file.ts'
import { openCompute } from './compute-device.ts'
import { UsageError } from './failure.ts'
import { mixedRecipe } from './mixed-recipe.ts'
import { modelFolder, modelHelp } from './model-folder.ts'
import { jsonOption, numberBetween, wholeNumber } from './options.ts'
import { packageVersion } from './package-info.ts'
import { bytesText, progressBar } from './progress.ts'
import { quantizeReport } from './quantize-report.ts'
import { findRecipe } from './recipe-file.ts'
import { writeWhole } from './write-whole.ts'

interface QuantizeOptions {
  readonly recipe?: string
  readonly format?: keyof typeof recipes
  readonly head?: (typeof headFormats)[number]
  readonly bits?: number
  readonly calibration?: string
  readonly calibrationWindows: number
  readonly window?: number
  readonly seed: number
  readonly device?: string
  readonly report?: string
  readonly json?: boolean
}

const defaultFormat = 'w4a8kv4-g128'

export const quantizeCommand = (): Command =>
  new Command('quantize')
    .description('Quantize a floating-point checkpoint.')
    .argument('<src>', modelHelp)
    .argument('<dst>', 'folder for the result, which must hold no weights yet')
    .option(
      '-r, --recipe <name>',
      `what to do: ${recipeNames().join(', ')}, or a recipe of your own in a .json or .ts file ` +
        '(default: round to nearest)',
    )
    .addOption(
      new Option(
        '-f, --format <name>',
        `number format of the result (default: the recipe's, or ${defaultFormat})`,
      ).choices(Object.keys(recipes)),
    )
    .addOption(
      new Option('--head <name>', 'number format of the output head (default: as it is)').choices(
        headFormats,
      ),
    )
    .option(
      '--bits <n>',
      'bits that a weight of the layers may take on average: measures how much each product of each layer suffers, and ' +
        'gives those that suffer most more bits',
      numberBetween(4, 9),
    )
    .option('--calibration <file>', 'text to calibrate on: .jsonl with a field text, or plain text')
    .option('--calibration-windows <n>', 'windows of that text', wholeNumber(1), 128)
    .option('--window <n>', "tokens of a window (default: 1024, or the model's context)", wholeNumber(2))
    .option(
      '--seed <n>',
      'chooses windows and random signs; the same seed gives the same bytes',
      wholeNumber(0),
      0,
    )
    .option(
      '--device <name>',
      'where to compute: cuda:0, …, host (plain arrays), or emulator (default: a GPU, or host)',
    )
    .option('--report <file>', 'write an HTML page with the error of each layer before and after each pass')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
What is done so far is kept in DST.quantizing; the same command goes on from there after it was stopped.

Examples:
  $ quattuor quantize models/llama models/llama-w4a8kv4-g128
  $ quattuor quantize models/llama models/llama-qoq --recipe qoq-g128 --calibration books.jsonl --report qoq.html
  $ quattuor quantize models/llama models/llama-w8a8kv8 --format w8a8kv8
  $ quattuor quantize models/llama models/llama-mixed --recipe qoq-g128 --bits 4.5 --calibration books.jsonl
  $ quattuor quantize models/llama models/llama-own --recipe my-recipe.json --calibration books.txt`,
    )
    .action(quantize)

async function quantize(src: string, dst: string, options: QuantizeOptions): Promise<void> {
  const { json, report, seed } = options
  if (report && !options.calibration)
    throw new UsageError('a report measures errors on text; give some with --calibration')
  if (options.bits !== undefined && !options.calibration)
    throw new UsageError('--bits measures products on text; give some with --calibration')
  const wanted = await recipeOf(options)
  const folder = await modelFolder(src)
  const checkpoint = openCheckpoint(folder)
  const started = performance.now()
  const bar = progressBar('Quantizing')
  const held = await openCompute(options.device)
  try {
    const calibration: Calibration | undefined =
      options.calibration === undefined
        ? undefined
        : loadCalibration(folder, checkpoint.config, options.calibration, {
            windows: options.calibrationWindows,
            window: options.window,
            seed,
          })
    const { compute } = held
    const recipe = await mixedRecipe(compute, checkpoint, wanted, calibration, options.bits)
    const result = await quantizeCheckpoint(dst, checkpoint, recipe, {
      producer: `quattuor ${packageVersion()}`,
      compute,
      seed,
      measure: report !== undefined,
      ...(calibration && { calibration }),
      onProgress: bar.update,
    })
    bar.stop()
    const seconds = (performance.now() - started) / 1000
    const run = {
      ...{ recipe, seed, seconds, device: compute.name, peakBytes: compute.peakBytes },
      source: src,
      folder: dst,
      ...result,
    }
    if (report) await writeWhole(report, quantizeReport(run))
    if (json) {
      const { bytes } = result
      const { name } = recipe
      console.log(
        JSON.stringify({
          ...{ folder: dst, recipe: name, format: formatText(recipe), bytes, seconds },
          ...(recipe.head && { head: recipe.head }),
          ...{ device: compute.name, peakBytes: compute.peakBytes, seed },
          ...(calibration && { calibration: { tokens: calibration.ids.length, window: calibration.window } }),
          ...(report && { report }),
        }),
      )
    } else console.log(`${dst}: ${describe(recipe)}, ${bytesText(result.bytes)}`)
  } finally {
    bar.stop()
    await held.close()
    checkpoint.close()
  }
}

async function recipeOf({ recipe: name, format, head }: QuantizeOptions): Promise<Recipe> {
  const named = name === undefined ? recipes[format ?? defaultFormat] : await findRecipe(name)
  const recipe = name !== undefined && format !== undefined ? inFormat(named, format) : named
  return { ...recipe, ...(head && { head }) }
}

/** The short name of the checkpoint that a recipe makes. */
const formatText = (recipe: Recipe): string => formatOf(recipe).name

const describe = (recipe: Recipe): string => {
  const format = formatText(recipe)
  return recipe.name === format ? format : `${recipe.name}, ${format}`
}
