import { readFileSync, statSync } from 'node:fs'
import { CheckpointError } from './error.ts'

/** Far above any real configuration, index or tokenizer. */
const maxBytes = 100_000_000

/** Reads a JSON file of a checkpoint. Throws `CheckpointError` when it is missing, too large, or refused by `parse`. */
export function readJsonFile(path: string, parse: (bytes: Uint8Array) => unknown = parseJson): unknown {
  let bytes: Uint8Array
  try {
    const { size } = statSync(path)
    if (size > maxBytes)
      throw new CheckpointError(
        `${path} has ${size} bytes, and ${maxBytes} is the most that is read; is it the file meant?`,
      )
    bytes = readFileSync(path)
  } catch (error) {
    if (error instanceof CheckpointError) throw error
    const { code } = error as NodeJS.ErrnoException
    throw new CheckpointError(
      code === 'ENOENT'
        ? `${path} is missing; download it, or point to the folder that has it`
        : `${path} cannot be read (${code}); check its permissions`,
    )
  }
  try {
    return parse(bytes)
  } catch (error) {
    throw new CheckpointError(`${path} is not valid JSON: ${(error as Error).message}; download it again`)
  }
}

function parseJson(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder('utf-8').decode(bytes))
}
