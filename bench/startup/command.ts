import { existsSync } from 'node:fs'
import { Command } from 'commander'
import { UsageError } from '../../cli/failure.ts'
import { deviceOption, wholeNumber } from '../../cli/options.ts'
import { bytesText, progressBar } from '../../cli/progress.ts'
import { tableText } from '../../cli/table.ts'
import { isModelName, namedShapes } from '../../models/shapes.ts'
import { openDevice } from '../../runtime/open-device.ts'
import { ChildRunner } from '../../serve/process/child-runner.ts'
import { needGpuFor, randomModelFolder } from '../random-model.ts'
import { type Row, resultHeader, writeResults, writeRows } from '../results.ts'
import { table } from '../table.ts'

interface StartupOptions {
  readonly format: string
  readonly device?: string
  readonly starts: number
  readonly sequences: number
  readonly stepTokens: number
  readonly context: number
  readonly keep?: string
  readonly json?: string
  readonly commit?: string
}

/** A folder, or one with random weights of a named model, which is written first. */
export async function folderOf(
  model: string,
  format: string,
  { keep: parent, device }: { readonly keep?: string; readonly device?: string },
): Promise<string> {
  if (existsSync(model)) return model
  if (!isModelName(model))
    throw new UsageError(`${model} is no folder; models by name are ${Object.keys(namedShapes).join(', ')}`)
  await needGpuFor(model, device)
  const bar = progressBar('Writing random weights', bytesText)
  return randomModelFolder(model, format, { parent, onProgress: bar.update }).finally(bar.stop)
}

/** `save` says whether figures go where those of `npm run bench:startup` are kept, when no file is named. */
export const startupCommand = (save = false): Command =>
  new Command('startup')
    .description(
      'Seconds from nothing to the first step of a server: its process, memory, weights, kernels and graphs, and how many ' +
        'kernels were compiled for it. ' +
        'The first start may compile kernels and read the disk; those after it find both in caches.',
    )
    .argument('<model>', 'folder of a checkpoint, or a name such as llama-3-8b for random weights')
    .option('--format <recipe>', 'format of random weights', 'w4a8kv4')
    .addOption(deviceOption())
    .option('--starts <n>', 'starts, one after the other', wholeNumber(1), 2)
    .option('--sequences <n>', 'sequences that run at once', wholeNumber(1), 512)
    .option('--step-tokens <n>', 'tokens of one step', wholeNumber(1), 4096)
    .option('--context <n>', 'tokens of one sequence', wholeNumber(1), 8192)
    .option(
      '--keep <folder>',
      'where random weights are written (default: in the folder for temporary files)',
    )
    .option('--json <file>', 'file for the figures')
    .option('--commit <id>', 'the commit, where git is not there (default: QUATTUOR_COMMIT)')
    .action(async (model: string, options: StartupOptions) => {
      const folder = await folderOf(model, options.format, options)
      const rows: Row[] = []
      for (let start = 1; start <= options.starts; start++) {
        const began = performance.now()
        const runner = await ChildRunner.open({
          kind: 'model',
          folder,
          device: options.device,
          tokens: options.stepTokens,
          sequences: options.sequences,
          context: options.context,
          waiting: 1,
        })
        const all = (performance.now() - began) / 1000
        const { seconds, memory, kernels } = runner.ready
        await runner.close()
        if (start === 1)
          console.log(
            tableText(
              ['memory', ''],
              Object.entries(memory).map(([part, bytes]) => [part, bytesText(bytes)]),
            ),
          )
        rows.push({ start, ...seconds, 'all, with the process': all, ...kernels })
      }
      console.log(table(rows))
      const device = await openDevice(options.device)
      try {
        if (options.json) writeRows(options.json, resultHeader(device, 'startup', options), rows)
        else if (save) console.log(`wrote ${writeResults(device, 'startup', rows, options)}`)
      } finally {
        await device.close()
      }
    })
