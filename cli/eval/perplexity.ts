import { Command } from 'commander'
import { openCheckpoint } from '../../checkpoint/open.ts'
import { openDevice } from '../../runtime/open-device.ts'
import { perplexity } from '../../serve/perplexity.ts'
import { loadTokenizer } from '../../serve/text/tokenizer.ts'
import { deviceOption, jsonOption, wholeNumber } from '../options.ts'
import { progressBar } from '../progress.ts'
import { loadToScore, readTokens, windowOf } from './scoring.ts'

interface PerplexityOptions {
  readonly text: string
  readonly window?: number
  readonly limit?: number
  readonly device?: string
  readonly json?: boolean
}

export const perplexityCommand = (): Command =>
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
    .action(evaluate)

async function evaluate(folder: string, options: PerplexityOptions): Promise<void> {
  const checkpoint = openCheckpoint(folder)
  const { config, format } = checkpoint
  const window = windowOf(config, options.window)
  const ids = readTokens(loadTokenizer(folder), config, folder, options)

  const device = await openDevice(options.device)
  try {
    const model = await loadToScore(device, checkpoint, window)
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
