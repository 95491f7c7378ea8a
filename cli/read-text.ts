import { readFileSync } from 'node:fs'

/** The text of a file. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    // Reading a folder fails without its name.
    throw Object.assign(error as NodeJS.ErrnoException, { path })
  }
}
