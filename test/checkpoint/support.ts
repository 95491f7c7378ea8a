import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { CheckpointError } from '../../checkpoint/error.ts'

/** A folder that goes away when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-checkpoint-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Writes a safetensors file from any header, well-formed or not. */
export function writeRaw(
  path: string,
  header: unknown,
  data: Uint8Array | number,
  headerBytes?: bigint,
): string {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(headerBytes ?? BigInt(json.length))
  writeFileSync(path, Buffer.concat([length, json, typeof data === 'number' ? Buffer.alloc(data, 1) : data]))
  return path
}

/** Asserts that `action` ends in a one-line `CheckpointError` that has each of the words. */
export function assertRefuses(action: () => unknown, ...words: string[]): void {
  try {
    action()
  } catch (error) {
    assertIsRefusal(error, words)
    return
  }
  assert.unreachable(`nothing refused; expected ${words.join(' … ')}`)
}

export async function assertRejects(action: () => Promise<unknown>, ...words: string[]): Promise<void> {
  try {
    await action()
  } catch (error) {
    assertIsRefusal(error, words)
    return
  }
  assert.unreachable(`nothing refused; expected ${words.join(' … ')}`)
}

function assertIsRefusal(error: unknown, words: readonly string[]): void {
  if (!(error instanceof CheckpointError)) throw error
  assert.not.match(error.message, '\n')
  for (const word of words) assert.match(error.message, word)
}
