import { Command } from 'commander'
import { wholeNumber } from '../cli/options.ts'
import { findRecipe } from '../cli/recipe-file.ts'
import { type ModelName, namedConfig, namedShapes } from '../models/shapes.ts'
import type { Device } from '../runtime/device.ts'
import { runBench } from './command.ts'
import { openGpu } from './open-gpu.ts'
import { checkOperations } from './quantize/check-operations.ts'
import { type LayerShape, measureOperations } from './quantize/operations.ts'
import { gigabytes, runModel } from './quantize/run-model.ts'
import { type Row, writeResults } from './results.ts'

interface QuantizeOptions {
  readonly device?: string
  readonly model: ModelName
  readonly layers?: number
  readonly tokens: number
  readonly windows: number
  readonly window: number
  readonly check?: boolean
  readonly operations: boolean
  readonly recipe?: string
  readonly folder?: string
  readonly commit?: string
  readonly dry?: boolean
}

async function measure(options: QuantizeOptions): Promise<void> {
  const device = await openGpu('bench:quantize', options.device)
  try {
    const rows: Row[] = []
    // Kept as they come: a whole model takes minutes.
    const keep = (more: readonly Row[]): void => {
      rows.push(...more)
      if (!options.dry) console.log(`wrote ${writeResults(device, 'quantize', rows, options)}`)
    }
    if (options.recipe) keep([await wholeModel(device, options)])
    if (options.check) await checkOperations(device, shapeOf(options), console.log)
    if (options.operations) keep(await operations(device, options))
  } finally {
    await device.close()
  }
}

function shapeOf({ model, tokens, window }: QuantizeOptions): LayerShape {
  const { hiddenSize: hidden, intermediateSize: intermediate, heads, kvHeads, headDim } = namedConfig(model)
  return { hidden, intermediate, heads, kvHeads, headDim, tokens, window }
}

/** Times operations, a line each. */
async function operations(device: Device, options: QuantizeOptions): Promise<Row[]> {
  const rows: Row[] = []
  await measureOperations(device, shapeOf(options), (row) => {
    const { operation, shape, milliseconds, tflops } = row
    const rate = tflops === null ? '' : `${tflops.toFixed(1)} TFLOPS`
    console.log(
      `${operation.padEnd(22)} ${shape.padEnd(24)} ${milliseconds.toFixed(2).padStart(9)} ms  ${rate}`,
    )
    rows.push({ model: options.model, ...row })
  })
  return rows
}

/** Quantizes a whole model of random weights. */
async function wholeModel(device: Device, options: QuantizeOptions): Promise<Row> {
  const { model, windows, window, folder = '/tmp/quattuor-bench-quantize' } = options
  const named = namedConfig(model)
  const config = {
    ...named,
    layers: options.layers ?? named.layers,
    windows: named.windows.slice(0, options.layers),
  }
  const recipe = await findRecipe(options.recipe!)
  const { passSeconds, ...run } = await runModel(device, {
    config,
    recipe,
    folder,
    windows,
    window,
    say: console.log,
  })
  console.log(
    `${model}, ${config.layers} layers, ${recipe.name}, ${windows} x ${window} tokens: ${run.seconds.toFixed(1)} s, ` +
      `${run.secondsPerLayer.toFixed(2)} s a layer, device ${gigabytes(run.devicePeakBytes)}, ` +
      `host ${gigabytes(run.hostPeakBytes)}, result ${gigabytes(run.resultBytes)}`,
  )
  for (const [what, seconds] of Object.entries(passSeconds))
    console.log(`${what.padEnd(16)} ${seconds.toFixed(1).padStart(7)} s`)
  const ofPasses = Object.fromEntries(
    Object.entries(passSeconds).map(([what, seconds]) => [`${what} s`, Number(seconds.toFixed(2))]),
  )
  return { model, layers: config.layers, recipe: recipe.name, windows, window, ...run, ...ofPasses }
}

await runBench(
  new Command('bench:quantize')
    .description('times what quantizing a model is made of, and with --recipe all of it on random weights')
    .option('--device <name>', 'a GPU as quattuor doctor names it; the first unless given')
    .option('--model <name>', `a shape: ${Object.keys(namedShapes).join(', ')}`, 'llama-3-8b')
    .option('--layers <count>', 'layers of the whole model; as many as it has unless given', wholeNumber(1))
    .option('--tokens <count>', 'tokens at once, for operations', wholeNumber(1), 16384)
    .option('--windows <count>', 'windows of calibration', wholeNumber(1), 128)
    .option('--window <count>', 'tokens of a window', wholeNumber(1), 1024)
    .option('--check', 'compare operations with those of the host')
    .option('--no-operations', 'leave the operations out')
    .option('--recipe <name>', 'quantize a whole model by this recipe, a name or a file')
    .option('--folder <path>', 'where the random model goes, and the result')
    .option('--commit <hash>', 'the commit that is measured, where git does not say')
    .option('--dry', 'write no results')
    .action(measure),
)
