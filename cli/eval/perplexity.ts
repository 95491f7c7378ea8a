import { Command } from 'commander'
import type { Checkpoint } from '../../checkpoint/open.ts'
import { openModel } from '../../models/open-model.ts'
import { activationTypeOf } from '../../models/weights.ts'
import { referencePerplexity } from '../../quantize/reference.ts'
import { openDevice } from '../../runtime/open-device.ts'
import { type Perplexity, perplexity } from '../../serve/perplexity.ts'
import { loadTokenizer } from '../../serve/text/tokenizer.ts'
import { openCompute } from '../compute-device.ts'
import { UsageError } from '../failure.ts'
import { sayImportNotes } from '../import-notes.ts'
import { modelFolder, modelHelp } from '../model-folder.ts'
import { deviceOption, jsonOption, wholeNumber } from '../options.ts'
import { progressBar } from '../progress.ts'
import { loadToScore, readTokens, windowOf } from './scoring.ts'

interface PerplexityOptions {
  readonly text: string
  readonly window?: number
  readonly limit?: number
  readonly reference?: boolean
  readonly device?: string
  readonly json?: boolean
}

export const perplexityCommand = (): Command =>
  new Command('perplexity')
    .description('Perplexity of a text, in windows that share no context.')
    .argument('<model>', modelHelp)
    .requiredOption('--text <file>', 'text file')
    .option('--window <n>', "tokens of a window (default: 1024, or the model's context)", wholeNumber(2))
    .option('--limit <n>', 'take only the first n tokens of the text', wholeNumber(2))
    .option(
      '--reference',
      "by the quantizer's forward pass in f32, rounded where kernels store 16 bits, which they are held against; " +
        'on a GPU or the host, whole windows only',
    )
    .addOption(deviceOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  $ quattuor eval perplexity MODEL --text wikitext-2/test.txt --window 1024
  $ quattuor eval perplexity MODEL --text wikitext-2/test.txt --reference`,
    )
    .action(evaluate)

async function evaluate(model: string, options: PerplexityOptions): Promise<void> {
  const folder = await modelFolder(model)
  const checkpoint = openModel(folder)
  sayImportNotes(checkpoint.foreign?.notes)
  const { config, format } = checkpoint
  const window = windowOf(config, options.window)
  const ids = readTokens(loadTokenizer(folder), config, folder, options)

  const bar = progressBar('Scoring')
  const started = performance.now()
  try {
    const { device, ...result } = options.reference
      ? await byReference(checkpoint, ids, window, options.device, bar.update)
      : await byKernels(checkpoint, ids, window, options.device, bar.update)
    bar.stop()
    const seconds = (performance.now() - started) / 1000
    if (options.json) console.log(JSON.stringify({ ...result, format: format.name, device }))
    else
      console.log(
        `perplexity ${result.perplexity.toFixed(4)}  (${format.name}, ${result.tokens} tokens, ` +
          `${result.windows} windows of ${window}, ${options.reference ? 'reference on ' : ''}${device}, ` +
          `${seconds.toFixed(1)} s)`,
      )
  } finally {
    bar.stop()
    checkpoint.close()
  }
}

interface Scored extends Perplexity {
  readonly device: string
}

async function byKernels(
  checkpoint: Checkpoint,
  ids: readonly number[],
  window: number,
  name: string | undefined,
  onProgress: (done: number, total: number) => void,
): Promise<Scored> {
  const device = await openDevice(name)
  try {
    const model = await loadToScore(device, checkpoint, window)
    return { ...(await perplexity(model, ids, window, onProgress)), device: device.name }
  } finally {
    await device.close()
  }
}

async function byReference(
  checkpoint: Checkpoint,
  ids: readonly number[],
  window: number,
  name: string | undefined,
  onProgress: (done: number, total: number) => void,
): Promise<Scored> {
  if (ids.length <= window)
    throw new UsageError(`the text has ${ids.length} tokens, no whole window of ${window}; lower --window`)
  const { compute, close } = await openCompute(name)
  try {
    const stored = activationTypeOf(checkpoint)
    const result = await referencePerplexity(compute, checkpoint, ids, window, { stored, onProgress })
    return { ...result, device: compute.name }
  } finally {
    await close()
  }
}
