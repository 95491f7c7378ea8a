import { existsSync } from 'node:fs'
import { download, type RemoteFile } from './download.ts'
import { HubError } from './error.ts'
import { CachedModel, isCommit, isUseful } from './hub-cache.ts'
import type { HubName } from './hub-name.ts'

export interface FetchModelOptions {
  /** Called with bytes that are there and bytes in all. */
  readonly onProgress?: (done: number, total: number) => void
  /** Default: what Hugging Face's own programs read, `HF_TOKEN`, `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_HUB_OFFLINE`. */
  readonly environment?: NodeJS.ProcessEnv
}

type Hub = typeof import('@huggingface/hub')

/**
 * Sees to it that a model of the hub is in the cache, and returns the folder of its files. What is there is not downloaded
 * again; without a network, what is there is taken. Throws `HubError`.
 */
export async function fetchModel(
  wanted: HubName,
  { onProgress, environment = process.env }: FetchModelOptions = {},
): Promise<string> {
  // It is large, and of no use to who has a folder.
  const hub = await import('@huggingface/hub')
  const cacheFolder = environment.HF_HUB_CACHE ?? hub.getHFHubCachePath()
  const cached = new CachedModel(cacheFolder, wanted)
  const known = cached.commitOf(wanted.revision)
  const isThere = known !== undefined && cached.isComplete(known)
  if (isThere && (isCommit(wanted.revision) || isSet(environment.HF_HUB_OFFLINE)))
    return cached.snapshot(known)
  try {
    if (isSet(environment.HF_HUB_OFFLINE)) throw new HubError('HF_HUB_OFFLINE is set')
    return await update(hub, cached, wanted, environment, onProgress)
  } catch (error) {
    const reason = reasonOf(error, hub, wanted)
    if (reason.refused) throw new HubError(reason.message)
    if (isThere) return cached.snapshot(known)
    throw new HubError(
      `${wanted.name} is not in ${cacheFolder} and cannot be downloaded: ${reason.message}; ` +
        'try again with a network, or name a folder that has the model',
    )
  }
}

const isSet = (value: string | undefined): boolean =>
  value !== undefined && !['', '0', 'false'].includes(value)

async function update(
  hub: Hub,
  cached: CachedModel,
  { name, revision }: HubName,
  environment: NodeJS.ProcessEnv,
  onProgress: FetchModelOptions['onProgress'],
): Promise<string> {
  const access = {
    ...(environment.HF_TOKEN ? { accessToken: environment.HF_TOKEN } : {}),
    ...(environment.HF_ENDPOINT ? { hubUrl: environment.HF_ENDPOINT.replace(/\/+$/, '') } : {}),
  }
  const { sha } = await hub.modelInfo({ ...access, name, revision, additionalFields: ['sha'] })
  if (!isCommit(sha)) throw new HubError(`the hub says that ${name} is of the commit ${JSON.stringify(sha)}`)
  const repo = { type: 'model', name } as const
  const files: RemoteFile[] = []
  for await (const { type, path, size, oid, lfs } of hub.listFiles({ ...access, repo, revision: sha })) {
    if (type !== 'file' || !isUseful(path)) continue
    files.push({ path, size: lfs?.size ?? size, hash: checkedHash(path, lfs?.oid ?? oid) })
  }
  const weights = files.filter(({ path }) => path.endsWith('.safetensors'))
  if (weights.length === 0 || !files.some(({ path }) => path === 'config.json'))
    throw new HubError(
      `${name} has no config.json and model.safetensors; only models in this form can be read`,
    )
  const total = files.reduce((sum, { size }) => sum + size, 0)
  let done = 0
  const progress = (bytes: number) => {
    done += bytes
    onProgress?.(done, total)
  }
  for (const file of files) {
    const blob = cached.blob(file.hash)
    if (existsSync(blob)) progress(file.size)
    else {
      const readFrom = async (offset: number) => {
        const content = await hub.downloadFile({
          ...access,
          repo,
          path: file.path,
          revision: sha,
          xet: false,
        })
        if (content === null) throw new HubError(`the hub does not have ${file.path} any more`)
        return content.slice(offset, file.size).stream() as unknown as AsyncIterable<Uint8Array>
      }
      await download(blob, file, readFrom, progress)
    }
    cached.link(sha, file.path, file.hash)
  }
  // Not before all is there, so that what was interrupted is not taken for the model.
  cached.remember(revision, sha)
  return cached.snapshot(sha)
}

/** Hashes become names of files. */
function checkedHash(path: string, hash: string | undefined): string {
  if (hash !== undefined && /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(hash)) return hash
  throw new HubError(`the hub gives no hash for ${path}`)
}

/** Why the hub does not give a model, and whether asking again would change nothing. */
function reasonOf(
  error: unknown,
  hub: Hub,
  { name, revision }: HubName,
): { refused: boolean; message: string } {
  if (error instanceof HubError)
    return { refused: !error.message.startsWith('HF_HUB'), message: error.message }
  if (error instanceof hub.HubApiError) {
    const { statusCode } = error
    if (statusCode === 401 || statusCode === 403)
      return {
        refused: true,
        message: `the hub gives no ${name} to everybody; check the name, or ask for access on its page and set HF_TOKEN`,
      }
    if (statusCode === 404)
      return {
        refused: true,
        message: `the hub has no model ${name} with the revision ${revision}; check the name`,
      }
    return { refused: false, message: `the hub answered with status ${statusCode}` }
  }
  const { message, cause } = error as Error
  return {
    refused: false,
    message: cause instanceof Error && cause.message ? `${message} (${cause.message})` : message,
  }
}
