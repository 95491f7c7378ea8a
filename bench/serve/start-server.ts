import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { UsageError } from '../../cli/failure.ts'

export interface StartedServer {
  readonly url: string
  /** Ends it as a signal to a server does. */
  close(): Promise<void>
}

/** Starts `quattuor serve` with these arguments on any free port, and waits until it is ready. */
export async function startServer(args: readonly string[]): Promise<StartedServer> {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
  const main = fileURLToPath(new URL(`../../cli/main${extension}`, import.meta.url))
  const child = spawn(
    process.execPath,
    [...process.execArgv, main, 'serve', ...args, '--port', '0', '--log-level', 'error'],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const url = await new Promise<string>((resolve, reject) => {
    let said = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said += text
      const [, found] = /is ready on (http:\S+)/.exec(said) ?? []
      if (found) resolve(found)
    })
    void ended.then(() => reject(new UsageError(`the server did not start: ${said.trim()}`)))
  })
  // What it told while it started.
  return {
    url,
    async close() {
      child.kill('SIGTERM')
      await ended
    },
  }
}
