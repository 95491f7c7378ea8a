import { type ChildProcess, fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Program } from '../../codegen/program.ts'
import type { Dims } from '../../dsl/kernel.ts'
import type { Candidate, DeviceFacts } from './bench.ts'
import type { Measured, Rejected, Reply, Request, Resources, Sign } from './protocol.ts'

export interface MeasurerOptions {
  /** The module that exports `openBench`. */
  readonly bench: URL
  /** `cuda:0`, …; the bench chooses where there is none. */
  readonly device?: string | undefined
  /** Handed to `openBench`. */
  readonly problem: unknown
  /** Milliseconds without a sign of life after which a process that runs kernels is ended. Default: 10 s. */
  readonly patienceMs?: number
}

/** The tuner cannot go on. */
export class TuneError extends Error {
  override readonly name = 'TuneError'
}

/** A program that the measuring process could not load. */
export class LoadError extends Error {
  override readonly name = 'LoadError'
}

/** The driver's compiler takes seconds for a large kernel, and other programs may be before it. */
const loadPatienceMs = 300_000
/** Programs that the process is given to load at once. */
const mostLoading = Math.min(16, availableParallelism())
/** Of what a process that ended has said, for the reason. */
const saidBytes = 4000
/** Processes in a row that may end without anyone to blame. */
const mostBlameless = 3

type Request_ = Request extends infer R ? (R extends Request ? Omit<R, 'request'> : never) : never
type Answer<K extends Reply['kind']> = Extract<Reply, { kind: K }>

/**
 * Measures in a process of its own. One that gives no sign of life, or ends, is replaced by another, and the candidate
 * that ran then is rejected.
 */
export class Measurer {
  readonly #options: MeasurerOptions
  readonly #programs = new Map<number, Program>()
  #process: MeasuringProcess | undefined
  #opening: Promise<DeviceFacts> | undefined
  #recovering: Promise<void> | undefined
  #loading = 0
  readonly #waiting: (() => void)[] = []

  constructor(options: MeasurerOptions) {
    this.#options = options
  }

  /** The device that is measured on. Throws `TuneError` when it cannot be opened. */
  device(): Promise<DeviceFacts> {
    this.#opening ??= this.#open()
    return this.#opening
  }

  /** Has the device load a program. Throws `LoadError` when it refuses. */
  async load(id: number, program: Program): Promise<Resources | null> {
    if (this.#loading >= mostLoading) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#loading++
    try {
      return await this.#load(id, program)
    } finally {
      this.#loading--
      this.#waiting.shift()?.()
    }
  }

  async #load(id: number, program: Program): Promise<Resources | null> {
    for (let attempt = 1; ; attempt++) {
      await this.device()
      const running = this.#process!
      try {
        const resources = await loadInto(running, id, program)
        this.#programs.set(id, program)
        return resources
      } catch (error) {
        if (!(error instanceof ProcessEnded)) throw error
        await this.#recover(running)
        // Once it may have been another's fault.
        if (attempt === 2) throw new LoadError(error.message)
      }
    }
  }

  /** Times programs that were loaded, on one shape. Candidates that compute something else, fail or hang are rejected. */
  async measure(
    dims: Dims,
    candidates: readonly Candidate[],
  ): Promise<{ results: readonly Measured[]; rejected: readonly Rejected[] }> {
    const rejected: Rejected[] = []
    let careful = false
    for (let blameless = 0; blameless < mostBlameless; ) {
      const left = candidates.filter(({ id }) => !rejected.some((each) => each.id === id))
      if (left.length === 0) return { results: [], rejected }
      await this.device()
      const running = this.#process!
      try {
        const patience = this.#options.patienceMs ?? 10_000
        const reply = await running.ask<'measured'>(
          { kind: 'measure', dims, candidates: left, careful },
          patience,
        )
        if (typeof reply === 'string') throw new TuneError(`nothing can be measured: ${reply}`)
        return { results: reply.results, rejected: [...rejected, ...reply.rejected] }
      } catch (error) {
        if (!(error instanceof ProcessEnded)) throw error
        const { at } = running
        if (at === null) blameless++
        else rejected.push({ id: at, failure: error.hung ? 'hung' : 'launch', reason: error.message })
        careful = true
        for (const { id } of rejected) this.#programs.delete(id)
        await this.#recover(running)
      }
    }
    throw new TuneError('the measuring process ends again and again, and no candidate is to blame')
  }

  async close(): Promise<void> {
    const running = this.#process
    this.#process = undefined
    await running?.end()
  }

  async #open(): Promise<DeviceFacts> {
    const { bench, device, problem } = this.#options
    this.#process = new MeasuringProcess(bench)
    try {
      const reply = await this.#process.ask<'opened'>({ kind: 'open', device, problem }, loadPatienceMs)
      if (typeof reply === 'string') throw new TuneError(reply)
      return reply.device
    } catch (error) {
      await this.close()
      throw error instanceof ProcessEnded ? new TuneError(error.message) : error
    }
  }

  /** Starts another process in place of one that is no more, with the programs that it had. */
  #recover(ended: MeasuringProcess): Promise<void> {
    if (this.#process === ended) {
      this.#process = undefined
      this.#opening = undefined
      this.#recovering = (async () => {
        await ended.end()
        await this.device()
        const loads = [...this.#programs].map(([id, program]) => loadInto(this.#process!, id, program))
        await Promise.all(loads)
      })()
    }
    return this.#recovering!
  }
}

async function loadInto(process: MeasuringProcess, id: number, program: Program): Promise<Resources | null> {
  const reply = await process.ask<'loaded'>({ kind: 'load', id, program }, loadPatienceMs)
  if (typeof reply === 'string') throw new LoadError(reply)
  return reply.resources
}

/** The process did not answer: it is no more. */
class ProcessEnded extends Error {
  readonly hung: boolean
  constructor(message: string, hung: boolean) {
    super(message)
    this.hung = hung
  }
}

interface Pending {
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Error) => void
  readonly patienceMs: number
}

class MeasuringProcess {
  /** The candidate that runs. */
  at: number | null = null
  readonly #child: ChildProcess
  readonly #pending = new Map<number, Pending>()
  readonly #ended: Promise<void>
  #requests = 0
  #timer: NodeJS.Timeout | undefined
  #said = ''
  #hung = false

  constructor(bench: URL) {
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
    const file = fileURLToPath(new URL(`./measure-process${extension}`, import.meta.url))
    this.#child = fork(file, [bench.href], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-saidBytes)
    })
    this.#child.on('message', (message: Reply | Sign) => this.#take(message))
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
        this.#fail(code, signal)
        resolve()
      })
    })
  }

  /** The answer, or why there is none. Throws `ProcessEnded` when the process ends or gives no sign for `patienceMs`. */
  async ask<K extends Reply['kind']>(request: Request_, patienceMs: number): Promise<Answer<K> | string> {
    const number = ++this.#requests
    if (request.kind === 'measure') this.at = null
    const reply = await new Promise<Reply>((resolve, reject) => {
      this.#pending.set(number, { resolve, reject, patienceMs })
      this.#wait()
      this.#child.send({ ...request, request: number } as Request, (error) => {
        if (error) reject(new ProcessEnded(error.message, false))
      })
    })
    return reply.kind === 'failed' ? reply.reason : (reply as Answer<K>)
  }

  async end(): Promise<void> {
    clearTimeout(this.#timer)
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  #take(message: Reply | Sign): void {
    if (message.kind === 'at') this.at = message.id
    else {
      this.#pending.get(message.request)?.resolve(message)
      this.#pending.delete(message.request)
    }
    this.#wait()
  }

  /** Waits for the next sign of life as long as the least patient request does. */
  #wait(): void {
    clearTimeout(this.#timer)
    if (this.#pending.size === 0) return
    const patience = Math.min(...[...this.#pending.values()].map(({ patienceMs }) => patienceMs))
    this.#timer = setTimeout(() => {
      this.#hung = true
      this.#child.kill('SIGKILL')
    }, patience)
  }

  #fail(code: number | null, signal: string | null): void {
    clearTimeout(this.#timer)
    const how = signal ? `was ended by ${signal}` : `ended with code ${code}`
    // Of an uncaught error, the line that names it rather than its stack.
    const lines = this.#said.trim().split('\n')
    const said = lines.find((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1)
    const message = this.#hung
      ? 'it did not end in time'
      : `the measuring process ${how}${said ? `: ${said}` : ''}`
    for (const { reject } of this.#pending.values()) reject(new ProcessEnded(message, this.#hung))
    this.#pending.clear()
  }
}
