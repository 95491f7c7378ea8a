import { Command, InvalidArgumentError, Option } from 'commander'
import { UsageError } from '../cli/failure.ts'
import { wholeNumber, wholeNumbers } from '../cli/options.ts'
import { KvCache } from '../models/kv-cache.ts'
import { type ModelName, namedConfig, namedShapes } from '../models/shapes.ts'
import { projectionFormats } from '../models/weights.ts'
import { headFormats } from '../quantize/recipe.ts'
import { deviceSlug } from '../runtime/device-slug.ts'
import { runBench } from './command.ts'
import { measurePlans, type StackFormat, type StepPlan, stepPlan } from './layer/plans.ts'
import { summaryText } from './layer/report.ts'
import type { LayerRow } from './layer/rows.ts'
import { cacheRoom } from './layer/stack.ts'
import { storeLayerRows, writeLayerPage } from './layer/store.ts'
import { openGpu } from './open-gpu.ts'
import { resultHeader } from './results.ts'

interface LayerOptions extends StackFormat {
  readonly device?: string
  readonly model: ModelName
  readonly layers?: number
  readonly batch: readonly number[]
  readonly context: readonly number[]
  readonly steps: readonly (readonly [batch: number, context: number, percent: number])[]
  readonly commit?: string
  readonly dry?: boolean
  readonly report?: string
}

/** `64:1280,512:1280:100` as numbers, without a percentage with 0; nothing for an empty text. */
const stepsIn = (text: string): [number, number, number][] =>
  text === ''
    ? []
    : text.split(',').map((part) => {
        const [batch, context, percent = 0, ...more] = part.split(':').map(wholeNumber(0))
        if (!batch || !context || percent > 100 || more.length > 0)
          throw new InvalidArgumentError('Give sequences, mean context and a percentage as 64:1280:20.')
        return [batch, context, percent]
      })

function cacheBits(text: string): 4 | 8 | 16 {
  const bits = Number(text)
  if (bits === 4 || bits === 8 || bits === 16) return bits
  throw new InvalidArgumentError('Give 4, 8 or 16.')
}

/** Memory that weights, activations and the driver are left. */
const keptBytes = 24e9

/** The steps that are asked for and have room in so many pages of cache. */
function plansOf({ batch: batches, context: contexts, steps }: LayerOptions, pages: number): StepPlan[] {
  const plans = [
    ...batches.flatMap((batch) => contexts.map((context) => stepPlan(batch, context))),
    ...steps.map(([batch, context, percent]) => stepPlan(batch, context, percent / 100)),
  ].filter((plan) => cacheRoom(plan.contexts).pages <= pages)
  if (plans.length === 0) throw new UsageError('no step fits into memory; ask for fewer or shorter contexts')
  return plans
}

async function measure(options: LayerOptions): Promise<void> {
  const device = await openGpu('bench:layer', options.device)
  try {
    const named = namedConfig(options.model)
    const config = { ...named, layers: options.layers ?? named.layers }
    const { weights, head, kv } = options
    const pageBytes = KvCache.pageBytes(config, `kv${kv}`, 'f16')
    const plans = plansOf(options, Math.floor((device.properties.memoryBytes - keptBytes) / pageBytes))
    const date = new Date().toISOString()
    // Kept as they come: a run of all steps is long.
    const keep = (rows: readonly LayerRow[]): readonly string[] =>
      options.dry
        ? []
        : storeLayerRows(deviceSlug(device), { ...resultHeader(device, 'layer', options), date }, rows)
    const rows = await measurePlans(device, config, { weights, head, kv }, plans, {
      say: console.log,
      measured: keep,
    })
    console.log(`\n${summaryText(rows)}\n${options.dry ? '' : `wrote ${keep(rows).join(', ')}`}`)
  } finally {
    await device.close()
  }
}

await runBench(
  new Command('bench:layer')
    .description(
      'Decode steps of a whole model of random weights, as one CUDA graph and kernel by kernel, on a GPU.',
    )
    .option('--device <name>', 'cuda:0, cuda:1, … (default: the first GPU)')
    .addOption(
      new Option('--model <name>', 'whose shape').choices(Object.keys(namedShapes)).default('llama-3-8b'),
    )
    .addOption(
      new Option('--weights <format>', 'of the projections')
        .choices([...projectionFormats, 'bf16'])
        .default('w4a8'),
    )
    .addOption(
      new Option('--head <format>', 'of the output head').choices(['w16', ...headFormats]).default('w16'),
    )
    .addOption(new Option('--kv <bits>', 'of the cache: 4, 8 or 16').argParser(cacheBits).default(4))
    .option('--layers <n>', 'decoder layers (default: all of the model)', wholeNumber(1))
    .option('--batch <n,...>', 'sequences', wholeNumbers(1), [1, 4, 16, 64, 128, 256, 512, 1024])
    .option('--context <n,...>', 'mean tokens of a sequence', wholeNumbers(1), [128, 1280, 4096, 32768])
    .option(
      '--steps <batch:context:percent,...>',
      'further steps, of contexts that differ from their mean by up to so much',
      stepsIn,
      stepsIn('64:1280:20,512:1280:20,512:1280:100'),
    )
    .option('--report <gpu>', 'measure nothing, and draw the page of the results of nvidia-h200, …')
    .option('--dry', 'print the table and write nothing')
    .option('--commit <id>', 'the commit, where git is not there (default: QUATTUOR_COMMIT)')
    .action((options: LayerOptions) => {
      if (options.report !== undefined) console.log(`wrote ${writeLayerPage(options.report)}`)
      else return measure(options)
    }),
)
