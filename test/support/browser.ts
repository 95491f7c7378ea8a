import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Readable, Writable } from 'node:stream'

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']

/** A Chromium of this machine: `CHROME_PATH`, or the first that is on the path. */
export function findBrowser(): string | undefined {
  if (process.env.CHROME_PATH) return process.env.CHROME_PATH
  const folders = (process.env.PATH ?? '').split(delimiter)
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path))
}

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: { entry?: { level: string; text: string }; exceptionDetails?: { text: string } }
  readonly result?: Record<string, unknown>
  readonly error?: { message: string }
}

/** A page in a browser without a window, over the pipe of the DevTools protocol. */
export class BrowserPage {
  /** What the page complained of. */
  readonly complaints: string[] = []
  readonly #process: ChildProcess
  readonly #profile: string
  readonly #waiting = new Map<number, (message: Message) => void>()
  readonly #exited: Promise<void>
  #session: string | undefined
  #sent = 0

  private constructor(path: string) {
    this.#profile = mkdtempSync(join(tmpdir(), 'quattuor-browser-'))
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run']
    this.#process = spawn(
      path,
      [...flags, '--remote-debugging-pipe', `--user-data-dir=${this.#profile}`, 'about:blank'],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
    )
    this.#exited = new Promise((resolve) => {
      this.#process.once('error', () => resolve())
      this.#process.once('exit', () => resolve())
    })
    void this.#exited.then(() => {
      for (const answer of this.#waiting.values()) answer({ error: { message: 'the browser has ended' } })
    })
    let text = ''
    const output = this.#process.stdio[4] as Readable
    output.setEncoding('utf8').on('data', (chunk: string) => {
      const messages = (text + chunk).split('\0')
      text = messages.pop()!
      for (const message of messages) this.#receive(JSON.parse(message))
    })
    this.#process.stdio[3]!.on('error', () => {})
  }

  static async open(path: string): Promise<BrowserPage> {
    const page = new BrowserPage(path)
    const { targetId } = await page.send('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await page.send('Target.attachToTarget', { targetId, flatten: true })
    page.#session = sessionId as string
    for (const domain of ['Page', 'Runtime', 'Log']) await page.send(`${domain}.enable`)
    return page
  }

  send(method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const id = ++this.#sent
    const message = { id, method, params, ...(this.#session ? { sessionId: this.#session } : {}) }
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => {
        this.#waiting.delete(id)
        if (error) reject(new Error(`${method}: ${error.message}`))
        else resolve(result!)
      })
      ;(this.#process.stdio[3] as Writable).write(`${JSON.stringify(message)}\0`)
    })
  }

  /** The value of an expression in the page. */
  async evaluate<T>(expression: string): Promise<T> {
    const answer = await this.send('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    })
    const { result, exceptionDetails } = answer as {
      result: { value: T }
      exceptionDetails?: { exception?: { description?: string } }
    }
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`)
    return result.value
  }

  /** Waits until an expression in the page is true; a machine that has other work may take its time. */
  async until(expression: string): Promise<void> {
    const end = performance.now() + 60_000
    while (!(await this.evaluate<boolean>(`Boolean(${expression})`))) {
      if (performance.now() > end) throw new Error(`not within a minute: ${expression}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  /** Types a text into what has the focus, as a keyboard does. */
  async type(text: string): Promise<void> {
    await this.send('Input.insertText', { text })
  }

  async pressEnter(): Promise<void> {
    const key = { key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13, text: '\r' }
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', ...key })
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...key })
  }

  async close(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#exited
    try {
      rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    } catch {
      // Helpers of the browser that outlive it may still write: what is left is a temporary folder.
    }
  }

  #receive({ id, method, params, result, error }: Message): void {
    if (id !== undefined) this.#waiting.get(id)?.({ result, error })
    else if (method === 'Log.entryAdded' && params!.entry!.level === 'error')
      this.complaints.push(params!.entry!.text)
    else if (method === 'Runtime.exceptionThrown') this.complaints.push(params!.exceptionDetails!.text)
  }
}
