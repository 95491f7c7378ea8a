import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setImmediate } from 'node:timers/promises'

/** Writes a text file that is there whole or not at all, whatever happens meanwhile: an error, Ctrl-C, a full disk. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.partial`
  let interrupted: NodeJS.Signals | undefined
  const hold = (signal: NodeJS.Signals) => {
    interrupted = signal
  }
  // With a listener, a signal waits for the event loop, and so for the rename.
  process.on('SIGINT', hold).on('SIGTERM', hold)
  try {
    writeFileSync(temporary, text)
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    // What is missing is never the file, which is to be made.
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw Object.assign(error as NodeJS.ErrnoException, { path: missing ? dirname(path) : path })
  } finally {
    await setImmediate()
    process.off('SIGINT', hold).off('SIGTERM', hold)
  }
  if (interrupted) process.kill(process.pid, interrupted)
}
