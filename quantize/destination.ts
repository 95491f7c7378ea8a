import { existsSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import type { Checkpoint } from '../checkpoint/open.ts'
import { QuantizeError } from './error.ts'

/** Throws `QuantizeError` where a result would lie in the folder of its source. */
export function checkApart(dst: string, src: Checkpoint): void {
  if (existsSync(dst) && realpathSync(dst) === realpathSync(src.folder))
    throw new QuantizeError(`${dst} is the model itself; name another folder for the result`)
}

/** Throws `QuantizeError` where a folder has a file of that name. */
export function checkNew(dst: string, fileName: string): void {
  const path = join(dst, fileName)
  if (existsSync(path)) throw new QuantizeError(`${path} exists; remove it, or name another folder`)
}
