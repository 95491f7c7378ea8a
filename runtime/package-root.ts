import { existsSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

let found: string | undefined

/** The folder of this package: the nearest one above this file with a `package.json`. */
export function packageRoot(): string {
  if (found) return found
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder)
  found = folder
  return folder
}

const prefix = 'package:'

/** A path that means the same file wherever the package is installed: those outside the package stay absolute. */
export function portablePath(path: string): string {
  const inside = relative(packageRoot(), path)
  return inside.startsWith('..') || inside === path ? path : prefix + inside.split(sep).join('/')
}

/** The file that `portablePath` named. */
export const absolutePath = (path: string): string =>
  path.startsWith(prefix) ? join(packageRoot(), path.slice(prefix.length)) : path
