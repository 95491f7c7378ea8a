import { existsSync } from 'node:fs'
import { fetchModel } from '../serve/hub/fetch-model.ts'
import { parseHubName } from '../serve/hub/hub-name.ts'
import { bytesText, progressBar } from './progress.ts'

/** What `MODEL` is to a command. */
export const modelArgument =
  'folder of a checkpoint, or the name of a model on the Hugging Face hub: OWNER/MODEL[@REVISION]'

/** The folder of a model that is named by its folder or by its name on the hub. Throws `HubError`. */
export async function modelFolder(model: string): Promise<string> {
  const hubName = existsSync(model) ? undefined : parseHubName(model)
  if (hubName === undefined) return model
  const bar = progressBar(`Downloading ${model}`, bytesText)
  try {
    return await fetchModel(hubName, { onProgress: (done, total) => bar.update(done, total) })
  } finally {
    bar.stop()
  }
}
