import { Command } from 'commander'
import type { Checkpoint } from '../../checkpoint/open.ts'
import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { KvCache } from '../../models/kv-cache.ts'
import { openModel } from '../../models/open-model.ts'
import { openDevice } from '../../runtime/open-device.ts'
import { compareModels } from '../../serve/compare-models.ts'
import { loadTokenizer } from '../../serve/text/tokenizer.ts'
import { UsageError } from '../failure.ts'
import { modelFolder } from '../model-folder.ts'
import { deviceOption, jsonOption, wholeNumber } from '../options.ts'
import { progressBar } from '../progress.ts'
import { tableText } from '../table.ts'
import { writeWhole } from '../write-whole.ts'
import { type ComparedModel, compareHead, compareRows } from './compared.ts'
import { compareReport } from './report.ts'
import { loadToScore, readTokens, windowOf } from './scoring.ts'

interface CompareOptions {
  readonly text: string
  readonly window?: number
  readonly limit?: number
  readonly device?: string
  readonly report?: string
  readonly json?: boolean
}

export const compareCommand = (): Command =>
  new Command('compare')
    .description('Compare models with the first: perplexity, divergence, agreement, speed and memory.')
    .argument(
      '<model...>',
      'folders of checkpoints with one vocabulary; the first is what the others are held against',
    )
    .requiredOption('--text <file>', 'text file')
    .option('--window <n>', 'tokens of a window (default: 1024, or the smallest context)', wholeNumber(2))
    .option('--limit <n>', 'take only the first n tokens of the text', wholeNumber(2))
    .option('--report <file>', 'write table and chart as an HTML page')
    .addOption(deviceOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
KL is the mean divergence of the next token's distribution from the first model's, in nats; "same top" is how often both
hold the same token for the likeliest; tokens/s are those of scoring, logits included.

Examples:
  $ quattuor eval compare llama llama-rtn llama-qoq --text wikitext-2/test.txt
  $ quattuor eval compare llama llama-qoq --text valid.txt --limit 20000 --report compared.html`,
    )
    .action(compare)

async function compare(folders: readonly string[], options: CompareOptions): Promise<void> {
  if (folders.length < 2)
    throw new UsageError('a comparison takes two models or more; of one, quattuor eval perplexity tells')
  const checkpoints: Checkpoint[] = []
  for (const model of folders) checkpoints.push(openModel(await modelFolder(model)))
  const [first] = checkpoints as [Checkpoint, ...Checkpoint[]]
  for (const { folder, config } of checkpoints)
    if (config.vocabSize !== first.config.vocabSize)
      throw new UsageError(
        `${folder} has a vocabulary of ${config.vocabSize} and ${first.folder} one of ${first.config.vocabSize}; ` +
          'models are compared token by token, so take models of one family',
      )
  const window = Math.min(...checkpoints.map(({ config }) => windowOf(config, options.window)))
  const ids = readTokens(loadTokenizer(first.folder), first.config, first.folder, options)
  const device = await openDevice(options.device)
  const compared: ComparedModel[] = []
  try {
    const base = await loadToScore(device, first, window)
    for (const [i, checkpoint] of checkpoints.entries()) {
      const model = i === 0 ? base : await loadToScore(device, checkpoint, window)
      const bar = progressBar(`Comparing ${i + 1} of ${checkpoints.length}`)
      const comparison = await compareModels(base, model, ids, window, bar.update).finally(bar.stop)
      if (i > 0) model.free()
      compared.push({
        model: folders[i]!,
        format: checkpoint.format.name,
        ...comparison,
        weightBytes: weightBytes(checkpoint),
        cacheBytesPerToken:
          KvCache.pageBytes(checkpoint.config, `kv${checkpoint.format.kv.bits}`, 'f16') / PAGE_TOKENS,
      })
    }
    base.free()
  } finally {
    await device.close()
    for (const checkpoint of checkpoints) checkpoint.close()
  }
  const facts = { text: options.text, window, tokens: ids.length - 1, device: device.name }
  if (options.report) await writeWhole(options.report, compareReport(compared, facts))
  if (options.json) console.log(JSON.stringify({ ...facts, models: compared }))
  else
    console.log(
      `${compareTable(compared)}\n${facts.tokens} tokens of ${facts.text}, windows of ${window}, ${facts.device}`,
    )
}

const weightBytes = ({ tensors }: Checkpoint): number =>
  tensors.names.reduce((sum, name) => sum + tensors.info(name).byteLength, 0)

const compareTable = (models: readonly ComparedModel[]): string => tableText(compareHead, compareRows(models))
