import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { checkContext } from '../checkpoint/config.ts'
import { openCheckpoint } from '../checkpoint/open.ts'
import { PAGE_TOKENS } from '../kernels/formats/kv.ts'
import { Model } from '../models/model.ts'
import { openDevice } from '../runtime/open-device.ts'
import { perplexity } from '../serve/perplexity.ts'
import { loadTokenizer } from '../serve/text/tokenizer.ts'
import { UsageError } from './failure.ts'
import { checkKnownTokens } from './known-tokens.ts'
import { deviceOption, jsonOption, wholeNumber } from './options.ts'
import { progressBar } from './progress.ts'

interface PerplexityOptions {
  readonly text: string
  readonly window?: number
  readonly limit?: number
  readonly device?: string
  readonly json?: boolean
}

export const evalCommand = (): Command =>
  new Command('eval').description('Measure how good a model is.').addCommand(
    new Command('perplexity')
      .description('Perplexity of a text, in windows that share no context.')
      .argument('<model>', 'folder of a checkpoint')
      .requiredOption('--text <file>', 'text file')
      .option('--window <n>', "tokens of a window (default: 1024, or the model's context)", wholeNumber(2))
      .option('--limit <n>', 'take only the first n tokens of the text', wholeNumber(2))
      .addOption(deviceOption())
      .addOption(jsonOption())
      .addHelpText(
        'after',
        `
Example:
  $ quattuor eval perplexity MODEL --text wikitext-2/test.txt --window 1024`,
      )
      .action(evaluate),
  )

async function evaluate(folder: string, options: PerplexityOptions): Promise<void> {
  const checkpoint = openCheckpoint(folder)
  const { config, format } = checkpoint
  const window = options.window ?? Math.min(1024, config.maxPositions)
  if (window > config.maxPositions)
    throw new UsageError(`the model's context is ${config.maxPositions} tokens; lower --window ${window}`)
  checkContext(config, window)
  const ids = loadTokenizer(folder).encode(readText(options.text)).slice(0, options.limit)
  checkKnownTokens(ids, config, folder)
  if (ids.length < 2) throw new UsageError(`${options.text} has fewer than two tokens; give a longer text`)

  const device = await openDevice(options.device)
  try {
    const pages = Math.ceil(window / PAGE_TOKENS)
    const rows = Math.min(window, 512)
    const model = await Model.load(device, checkpoint, {
      logits: 'f32',
      limits: { tokens: rows, sequences: 1, pagesPerSequence: pages, logitRows: rows },
      pages,
    })
    const bar = progressBar('Scoring')
    const started = performance.now()
    const result = await perplexity(model, ids, window, bar.update).finally(bar.stop)
    const seconds = (performance.now() - started) / 1000
    if (options.json) console.log(JSON.stringify({ ...result, format: format.name, device: device.name }))
    else
      console.log(
        `perplexity ${result.perplexity.toFixed(4)}  (${format.name}, ${result.tokens} tokens, ` +
          `${result.windows} windows of ${window}, ${device.name}, ${seconds.toFixed(1)} s)`,
      )
  } finally {
    await device.close()
    checkpoint.close()
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    // Reading a folder fails without its name.
    throw Object.assign(error as NodeJS.ErrnoException, { path })
  }
}
