import { Command } from 'commander'
import { openModel } from '../models/open-model.ts'
import { convertCheckpoint } from '../quantize/convert-checkpoint.ts'
import { modelFolder, modelHelp } from './model-folder.ts'
import { jsonOption } from './options.ts'
import { packageVersion } from './package-info.ts'
import { bytesText, progressBar } from './progress.ts'

export const convertCommand = (): Command =>
  new Command('convert')
    .description('Convert a quantized checkpoint of another program to one of Quattuor, code for code.')
    .argument('<src>', modelHelp)
    .argument('<dst>', 'folder for the result, which must hold no weights yet')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Reads AWQ, GPTQ, compressed-tensors, QServe and LMQuant; which one it is follows from the files. The other commands load such
folders too, and put the codes in order each time.

Examples:
  $ quattuor convert models/llama-awq models/llama-w4a16
  $ quattuor convert models/llama-qserve-g128 models/llama-w4a8kv4-g128 --json`,
    )
    .action(convert)

async function convert(model: string, dst: string, { json }: { readonly json?: boolean }): Promise<void> {
  const src = openModel(await modelFolder(model))
  const bar = progressBar('Converting', bytesText)
  try {
    const bytes = await convertCheckpoint(dst, src, {
      producer: `quattuor ${packageVersion()}`,
      onProgress: bar.update,
    })
    bar.stop()
    const { scheme, notes } = src.foreign!
    const { name: format } = src.format
    if (json) console.log(JSON.stringify({ folder: dst, from: scheme, format, bytes, notes }))
    else {
      for (const note of notes) console.error(`note: ${note}`)
      console.log(`${dst}: ${format} from ${scheme}, ${bytesText(bytes)}`)
    }
  } finally {
    bar.stop()
    src.close()
  }
}
