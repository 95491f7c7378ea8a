import { Command, Option } from 'commander'
import { openModel } from '../models/open-model.ts'
import { convertCheckpoint } from '../quantize/convert-checkpoint.ts'
import { exportQServe } from '../quantize/export-qserve.ts'
import { sayImportNotes } from './import-notes.ts'
import { modelFolder, modelHelp } from './model-folder.ts'
import { jsonOption } from './options.ts'
import { packageVersion } from './package-info.ts'
import { bytesText, progressBar } from './progress.ts'

export const convertCommand = (): Command =>
  new Command('convert')
    .description(
      'Convert a quantized checkpoint of another program to one of Quattuor, or back, code for code.',
    )
    .argument('<src>', modelHelp)
    .argument('<dst>', 'folder for the result, which must hold no weights yet')
    .addOption(
      new Option('--to <layout>', 'whose layout the result has')
        .choices(['quattuor', 'qserve'])
        .default('quattuor'),
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Reads AWQ, GPTQ, compressed-tensors, QServe and LMQuant; which one it is follows from the files. The other commands load such
folders too, and put the codes in order each time.

Examples:
  $ quattuor convert models/llama-awq models/llama-w4a16
  $ quattuor convert models/llama-qserve-g128 models/llama-w4a8kv4-g128 --json
  $ quattuor convert models/llama-w4a8kv4-g128 models/llama-qserve-g128 --to qserve`,
    )
    .action(convert)

interface ConvertCommandOptions {
  readonly to: 'quattuor' | 'qserve'
  readonly json?: boolean
}

async function convert(model: string, dst: string, { to, json }: ConvertCommandOptions): Promise<void> {
  const src = openModel(await modelFolder(model))
  const bar = progressBar('Converting', bytesText)
  try {
    const options = { producer: `quattuor ${packageVersion()}`, onProgress: bar.update }
    const bytes =
      to === 'qserve' ? await exportQServe(dst, src, options) : await convertCheckpoint(dst, src, options)
    bar.stop()
    const from = src.foreign?.scheme ?? 'Quattuor'
    const notes = to === 'qserve' ? [] : (src.foreign?.notes ?? [])
    const { name: format } = src.format
    if (json) console.log(JSON.stringify({ folder: dst, from, to, format, bytes, notes }))
    else {
      sayImportNotes(notes)
      console.log(`${dst}: ${format} from ${from}, ${bytesText(bytes)}`)
    }
  } finally {
    bar.stop()
    src.close()
  }
}
