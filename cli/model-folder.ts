import { existsSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { fetchModel } from '../serve/hub/fetch-model.ts'
import { parseHubName } from '../serve/hub/hub-name.ts'
import { UsageError } from './failure.ts'
import { bytesText, progressBar } from './progress.ts'

/** What `MODEL` is to a command. */
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

/** The folder of a model that is named by its folder or by its name on the hub. Throws `HubError`. */
export async function modelFolder(model: string): Promise<string> {
  const hubName = existsSync(model) ? undefined : parseHubName(model)
  if (hubName === undefined) return model
  const bar = progressBar(`Downloading ${model}`, bytesText)
  return fetchModel(hubName, { onProgress: (done, total) => bar.update(done, total) }).finally(bar.stop)
}

/** The folder of the model that is to be served, or of random weights that stand in for it, and what clients call it. */
export async function servedFolder(
  model: string | undefined,
  { randomWeights, randomFormat }: RandomWeightsOptions,
): Promise<{ folder: string; name: string | undefined }> {
  if (model !== undefined && randomWeights === undefined) {
    const folder = await modelFolder(model)
    return { folder, name: folder === model ? undefined : model }
  }
  if (model === undefined && randomWeights !== undefined)
    return { folder: await randomFolder(randomWeights, randomFormat), name: randomWeights }
  throw new UsageError('name a model, or give --random-weights the name of a shape, and not both')
}

async function randomFolder(name: string, format: string): Promise<string> {
  const { isModelName, namedShapes } = await import('../models/shapes.ts')
  if (!isModelName(name))
    throw new UsageError(`there is no shape ${name}; there are ${Object.keys(namedShapes).join(', ')}`)
  const { needGpuFor, randomModelFolder } = await import('../bench/random-model.ts')
  await needGpuFor(name)
  const bar = progressBar('Writing random weights', bytesText)
  return randomModelFolder(name, format, { onProgress: (done, total) => bar.update(done, total) }).finally(
    bar.stop,
  )
}
