import { existsSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { fetchModel } from '../serve/hub/fetch-model.ts'
import { parseHubName } from '../serve/hub/hub-name.ts'
import { UsageError } from './failure.ts'
import { bytesText, progressBar } from './progress.ts'

/** What `MODEL` is to a command that serves. */
export const modelHelp =
  'folder of a checkpoint, or the name of a model on the Hugging Face hub: OWNER/MODEL[@REVISION]'

/** What stands in for a model. */
export interface RandomWeightsOptions {
  readonly randomWeights?: string
  readonly randomFormat: string
}

export const addRandomWeightsOptions = (command: Command): Command =>
  command
    .addOption(
      new Option(
        '--random-weights <name>',
        'instead of a model: random weights of the shape of one, as llama-3-8b',
      ),
    )
    .option('--random-format <recipe>', 'format of random weights', 'w4a8kv4')

/**
 * The folder of a model that is named by its folder or by its name on the hub, or that random weights stand in for; and what
 * clients call it. Throws `HubError` or `UsageError`.
 */
export async function modelFolder(
  model: string | undefined,
  options: RandomWeightsOptions,
): Promise<{ folder: string; name: string | undefined }> {
  const { randomWeights } = options
  if ((model === undefined) === (randomWeights === undefined))
    throw new UsageError('name a model, or give --random-weights the name of a shape, and not both')
  if (model === undefined)
    return { folder: await randomFolder(randomWeights!, options.randomFormat), name: randomWeights }
  const hubName = existsSync(model) ? undefined : parseHubName(model)
  if (hubName === undefined) return { folder: model, name: undefined }
  const bar = progressBar(`Downloading ${model}`, bytesText)
  const onProgress = (done: number, total: number) => bar.update(done, total)
  return { folder: await fetchModel(hubName, { onProgress }).finally(bar.stop), name: model }
}

async function randomFolder(name: string, format: string): Promise<string> {
  const { isModelName, namedShapes } = await import('../models/shapes.ts')
  if (!isModelName(name))
    throw new UsageError(`there is no shape ${name}; there are ${Object.keys(namedShapes).join(', ')}`)
  const { randomModelFolder } = await import('../bench/random-model.ts')
  const bar = progressBar('Writing random weights', bytesText)
  return randomModelFolder(name, format, { onProgress: (done, total) => bar.update(done, total) }).finally(
    bar.stop,
  )
}
