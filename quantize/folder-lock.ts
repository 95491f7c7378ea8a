import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { QuantizeError } from './error.ts'

export const lockFile = 'lock'

/** Folders that this process holds. */
const held = new Set<string>()

/**
 * Takes a folder for this process. A lock that a process has left that is no more, or that an earlier one with our number has,
 * is taken over. Throws `QuantizeError` where another process that runs has it.
 */
export function lockFolder(folder: string): void {
  const path = join(folder, lockFile)
  const own = JSON.stringify({ pid: process.pid, host: hostname() })
  // Twice: what is stale is removed, and another process may be quicker then.
  for (const last of [false, true])
    try {
      writeFileSync(path, own, { flag: 'wx' })
      held.add(folder)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      const owner = ownerOf(path)
      if (last || isAlive(owner, folder))
        throw new QuantizeError(
          `${folder} is in use by process ${owner?.pid} on ${owner?.host}, which quantizes to the same place; wait for it, or ` +
            `remove ${path} if there is no such process`,
        )
      rmSync(path, { force: true })
    }
}

export function unlockFolder(folder: string): void {
  if (held.delete(folder)) rmSync(join(folder, lockFile), { force: true })
}

interface Owner {
  readonly pid: number
  readonly host: string
}

/** Nobody where the file is cut off, or has just gone. */
function ownerOf(path: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Owner
  } catch {
    return undefined
  }
}

function isAlive(owner: Owner | undefined, folder: string): boolean {
  if (!owner) return false
  // Of another machine nothing is known.
  if (owner.host !== hostname()) return true
  if (owner.pid === process.pid) return held.has(folder)
  try {
    process.kill(owner.pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
