import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { Command } from 'commander'
import { openCheckpoint } from '../checkpoint/open.ts'
import { deviceOption, wholeNumber } from '../cli/options.ts'
import { Model } from '../models/model.ts'
import { quantizeCheckpoint } from '../quantize/quantize-checkpoint.ts'
import { recipes } from '../quantize/recipe.ts'
import { openDevice } from '../runtime/open-device.ts'
import { perplexity } from '../serve/perplexity.ts'
import { loadTokenizer } from '../serve/text/tokenizer.ts'
import { runBench } from './command.ts'
import { type Row, writeResults } from './results.ts'
import { table } from './table.ts'

interface AccuracyOptions {
  readonly text: string
  readonly window: number
  readonly device?: string
  readonly commit?: string
}

const formats = ['bf16', 'w8a8kv8', 'w4a8kv4-g128', 'w4a8kv4'] as const

await runBench(
  new Command('bench:accuracy')
    .description('Perplexity of models in each format, quantized as `quattuor quantize` does.')
    .argument('<model...>', 'folders of floating-point checkpoints')
    .requiredOption('--text <file>', 'text file')
    .option('--window <n>', 'tokens of a window', wholeNumber(2), 1024)
    .addOption(deviceOption())
    .option('--commit <id>', 'the commit, where git is not there (default: QUATTUOR_COMMIT)')
    .action(async (folders: readonly string[], options: AccuracyOptions) => {
      const { window } = options
      const text = readFileSync(options.text, 'utf8')
      const scratch = mkdtempSync(join(tmpdir(), 'quattuor-accuracy-'))
      const device = await openDevice(options.device)
      const pages = Math.ceil(window / 64)
      const step = Math.min(window, 512)
      const limits = { tokens: step, sequences: 1, pagesPerSequence: pages, logitRows: step }
      try {
        const rows: Row[] = []
        for (const folder of folders) {
          const source = openCheckpoint(folder)
          const ids = loadTokenizer(folder).encode(text)
          for (const format of formats) {
            const name = basename(resolve(folder))
            const quantized = join(scratch, `${name}-${format}`)
            await quantizeCheckpoint(quantized, source, recipes[format], { producer: 'quattuor bench' })
            const checkpoint = openCheckpoint(quantized)
            const model = await Model.load(device, checkpoint, { limits, pages, logits: 'f32' })
            rows.push({ model: name, format, window, ...(await perplexity(model, ids, window)) })
            model.free()
            checkpoint.close()
          }
          source.close()
        }
        console.log(table(rows, 4))
        console.log(`wrote ${writeResults(device, 'accuracy', rows, options)}`)
      } finally {
        rmSync(scratch, { recursive: true, force: true })
        await device.close()
      }
    }),
)
