import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'

/** What a run of the command line did. */
export interface CliRun {
  readonly code: number
  readonly out: string
  readonly err: string
}

let root: string | undefined

function makeRoot(): string {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-cli-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

// What a test that is run alone compiles must not land in the user's cache.
process.env.QUATTUOR_CACHE ??= temporaryFolder()
delete process.env.QUATTUOR_DEVICE

/** A folder that goes away when the process ends. */
export function temporaryFolder(): string {
  root ??= makeRoot()
  return mkdtempSync(join(root, 'x-'))
}

/** Runs the command line in this process. */
export async function runCli(...args: readonly string[]): Promise<CliRun> {
  const { run } = await import('../../cli/run.ts')
  const written = { stdout: '', stderr: '' }
  const streams = ['stdout', 'stderr'] as const
  const originals = streams.map((name) => process[name].write)
  for (const name of streams)
    process[name].write = (chunk: string | Uint8Array) => {
      written[name] += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8')
      return true
    }
  try {
    const code = await run(args)
    return { code, out: written.stdout, err: written.stderr }
  } finally {
    streams.forEach((name, i) => {
      process[name].write = originals[i]!
    })
  }
}

const main = fileURLToPath(new URL('../../cli/main.ts', import.meta.url))

/** Starts the command line in a process of its own. */
export const spawnCli = (args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess =>
  spawn(process.execPath, ['--import', 'tsx', main, ...args], { env: { ...process.env, ...env } })

/** What a process wrote, and its exit code or the signal that ended it. */
export async function finished(
  child: ChildProcess,
): Promise<{ ended: number | NodeJS.Signals | null; out: string; err: string }> {
  let out = ''
  let err = ''
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    out += chunk
  })
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    err += chunk
  })
  const ended = await new Promise<number | NodeJS.Signals | null>((resolve) =>
    child.once('close', (code, signal) => resolve(code ?? signal)),
  )
  return { ended, out, err }
}

/** Asserts that a run ended with one sentence for the user, which has each of the words, and nothing else. */
export function assertRefused(run: CliRun, ...words: readonly (string | RegExp)[]): void {
  assert.is(run.code, 2, `${run.err}${run.out}`)
  assert.match(run.err, /^quattuor: [^\n]*\n$/)
  assert.not.match(run.err, /\n\s+at |Error:|internal/)
  for (const word of words) assert.match(run.err, word)
  assert.is(run.out, '')
}
