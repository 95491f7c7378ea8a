import { createHash, type Hash } from 'node:crypto'
import { createReadStream, existsSync, renameSync, rmSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { HubError } from './error.ts'

/** A file that is to be downloaded. */
export interface RemoteFile {
  readonly path: string
  readonly size: number
  /** SHA-256 of its content, or, where it is small, the hash that git gives it. */
  readonly hash: string
}

/** The bytes of a file from an offset on. */
export type ReadFrom = (offset: number) => Promise<AsyncIterable<Uint8Array>>

const attempts = 5

/**
 * Downloads a file to `destination`. What an earlier attempt left beside it, as `.incomplete`, is gone on with; what was
 * broken off is taken up again. The content is checked against its hash. Throws `HubError`.
 */
export async function download(
  destination: string,
  file: RemoteFile,
  readFrom: ReadFrom,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const incomplete = `${destination}.incomplete`
  let bytes = existsSync(incomplete) ? statSync(incomplete).size : 0
  if (bytes > file.size) {
    rmSync(incomplete)
    bytes = 0
  }
  onBytes(bytes)
  const hash = hashOf(file)
  if (bytes > 0) for await (const piece of createReadStream(incomplete)) hash.update(piece)
  const handle = await open(incomplete, 'a')
  try {
    for (let failures = 0; bytes < file.size; ) {
      try {
        for await (const piece of await readFrom(bytes)) {
          await handle.appendFile(piece).catch(refuse(file, destination))
          hash.update(piece)
          bytes += piece.length
          onBytes(piece.length)
          failures = 0
        }
        if (bytes < file.size) throw new Error('the connection ended')
      } catch (error) {
        if (error instanceof HubError || ++failures === attempts) throw error
        await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** failures))
      }
    }
  } finally {
    await handle.close()
  }
  if (bytes !== file.size || hash.digest('hex') !== file.hash) {
    rmSync(incomplete)
    throw new HubError(
      `${file.path} is not what the hub says it is; run the command again to download it anew`,
    )
  }
  renameSync(incomplete, destination)
}

/** What cannot be written once is not tried again: a part of a piece may be there. The next run goes on behind it. */
const refuse =
  ({ path, size }: RemoteFile, destination: string) =>
  (error: NodeJS.ErrnoException): never => {
    const place = dirname(destination)
    throw new HubError(
      error.code === 'ENOSPC'
        ? `the disk of ${place} is full; free room for ${path}, ${(size / 2 ** 30).toFixed(1)} GiB, or set HF_HUB_CACHE to ` +
            'a folder on another, and run the command again'
        : `${path} cannot be written into ${place}: ${error.message}`,
    )
  }

/** Git hashes its files with their size before them. */
function hashOf({ hash, size }: RemoteFile): Hash {
  return hash.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`)
}
