import { basename, resolve } from 'node:path'
import { Command } from 'commander'
import { deviceOption, wholeNumber, wholeNumbers } from '../cli/options.ts'
import { openDevice } from '../runtime/open-device.ts'
import { runBench } from './command.ts'
import { loadForShapes, measureDecode } from './decode-rate.ts'
import { type Row, writeResults } from './results.ts'
import { table } from './table.ts'

interface DecodeOptions {
  readonly device?: string
  readonly batch: readonly number[]
  readonly prompt: number
  readonly tokens: number
  readonly commit?: string
}

await runBench(
  new Command('bench:decode')
    .description('Tokens per second, from the host and back to it, of greedy decoding after random prompts.')
    .argument('<model...>', 'folders of checkpoints')
    .addOption(deviceOption())
    .option('--batch <n,...>', 'sequences at once', wholeNumbers(1), [1, 8])
    .option('--prompt <n>', 'tokens of each prompt', wholeNumber(1), 32)
    .option('--tokens <n>', 'decode steps to time', wholeNumber(1), 32)
    .option('--commit <id>', 'the commit, where git is not there (default: QUATTUOR_COMMIT)')
    .action(async (folders: readonly string[], options: DecodeOptions) => {
      const shapes = options.batch.map((batch) => ({
        batch,
        promptTokens: options.prompt,
        tokens: options.tokens,
      }))
      const device = await openDevice(options.device)
      try {
        const rows: Row[] = []
        for (const folder of folders) {
          const { model, format } = await loadForShapes(device, folder, shapes)
          for (const shape of shapes) {
            rows.push({
              model: basename(resolve(folder)),
              format,
              ...shape,
              ...(await measureDecode(model, shape)),
            })
          }
          model.free()
        }
        console.log(table(rows))
        console.log(`wrote ${writeResults(device, 'decode', rows, options)}`)
      } finally {
        await device.close()
      }
    }),
)
