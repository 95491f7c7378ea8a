import { Command, Option } from 'commander'
import { openCheckpoint } from '../checkpoint/open.ts'
import { quantizeCheckpoint } from '../quantize/quantize-checkpoint.ts'
import { headFormats, recipeNamed, recipes } from '../quantize/recipe.ts'
import { jsonOption } from './options.ts'
import { packageVersion } from './package-info.ts'
import { bytesText, progressBar } from './progress.ts'

interface QuantizeOptions {
  readonly format: string
  readonly head?: (typeof headFormats)[number]
  readonly json?: boolean
}

export const quantizeCommand = (): Command =>
  new Command('quantize')
    .description('Quantize a floating-point checkpoint (round to nearest).')
    .argument('<src>', 'folder of a Hugging Face checkpoint in safetensors')
    .argument('<dst>', 'folder for the result, which must hold no weights yet')
    .addOption(
      new Option('-f, --format <name>', 'number format of the result')
        .choices(Object.keys(recipes))
        .default('w4a8kv4-g128'),
    )
    .addOption(
      new Option('--head <name>', 'number format of the output head (default: as it is)').choices(
        headFormats,
      ),
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  $ quattuor quantize models/llama models/llama-w4a8kv4-g128
  $ quattuor quantize models/llama models/llama-w8a8kv8 --format w8a8kv8
  $ quattuor quantize models/llama models/llama-w4a8kv4 --format w4a8kv4 --head w8a8`,
    )
    .action(async (src: string, dst: string, { format, head, json }: QuantizeOptions) => {
      const checkpoint = openCheckpoint(src)
      const bar = progressBar('Quantizing', bytesText)
      let written = 0
      try {
        await quantizeCheckpoint(
          dst,
          checkpoint,
          { ...recipeNamed(format), ...(head && { head }) },
          {
            producer: `quattuor ${packageVersion()}`,
            onProgress(done, total) {
              written = done
              bar.update(done, total)
            },
          },
        )
      } finally {
        bar.stop()
        checkpoint.close()
      }
      if (json) console.log(JSON.stringify({ folder: dst, format, ...(head && { head }), bytes: written }))
      else console.log(`${dst}: ${format}, ${bytesText(written)}`)
    })
