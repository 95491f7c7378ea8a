import { type ChildProcess, spawn } from 'node:child_process'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { EngineStep } from '../engine/engine-step.ts'
import type { ModelBounds } from '../engine/request.ts'
import type { StepResult, StepRunner } from '../engine/step-runner.ts'
import { decodeResult, encodeFrame, encodeStep, type Frame, FrameReader } from './frames.ts'
import {
  failureMessage,
  type ProgressMessage,
  progressMessage,
  type ReadyMessage,
  type RunnerSpec,
  readyMessage,
} from './runner-spec.ts'

/** A process that ran steps has ended, or could not begin to. */
export class ProcessError extends Error {
  override readonly name = 'ProcessError'
}

interface Pending {
  readonly resolve: (result: StepResult) => void
  readonly reject: (error: Error) => void
}

/** Runs steps in a process of their own, so that what kills a device, or the process, kills nothing else. */
export class ChildRunner implements StepRunner {
  readonly #child: ChildProcess
  readonly #pipe: Duplex
  readonly #reader = new FrameReader()
  readonly #ended: Promise<void>
  /** Steps whose results have not come, in their order. */
  readonly #pending: Pending[] = []
  readonly #onProgress: (progress: ProgressMessage) => void
  #ready: ReadyMessage | undefined
  #onReady!: Pick<Pending, 'reject'> & { readonly resolve: () => void }
  readonly failure: Promise<never>
  #onFailure!: (error: Error) => void
  #failure: Error | undefined

  private constructor(spec: RunnerSpec, onProgress: (progress: ProgressMessage) => void) {
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
    const file = fileURLToPath(new URL(`./child${extension}`, import.meta.url))
    this.#onProgress = onProgress
    this.failure = new Promise((_, reject) => {
      this.#onFailure = reject
    })
    // Whoever waits for it hears of it.
    this.failure.catch(() => {})
    this.#child = spawn(process.execPath, [...process.execArgv, file, JSON.stringify(spec)], {
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    })
    this.#pipe = this.#child.stdio[3] as Duplex
    this.#pipe.on('data', (piece: Buffer) => this.#take(piece))
    // Writing to a process that has died fails; that it has is told by `close`.
    this.#pipe.on('error', () => {})
    this.#ended = new Promise((resolve) => {
      const ended = (reason: string) => {
        this.#fail(new ProcessError(reason))
        resolve()
      }
      this.#child.once('error', (error) =>
        ended(`the engine's process could not be started: ${error.message}`),
      )
      this.#child.once('close', (code, signal) =>
        ended(`the engine's process ended ${signal ? `by ${signal}` : `with exit code ${code}`}`),
      )
    })
  }

  /** Starts a process and waits until it is ready. Rejects with its failure, or a `ProcessError`. */
  static async open(
    spec: RunnerSpec,
    onProgress: (progress: ProgressMessage) => void = () => {},
  ): Promise<ChildRunner> {
    const runner = new ChildRunner(spec, onProgress)
    await new Promise<void>((resolve, reject) => {
      runner.#onReady = { resolve, reject }
    })
    return runner
  }

  /** What the process said of itself. */
  get ready(): ReadyMessage {
    return this.#ready!
  }

  get bounds(): ModelBounds {
    return this.ready.bounds
  }

  /** The number of the process. */
  get pid(): number | undefined {
    return this.#child.pid
  }

  submit(step: EngineStep): Promise<StepResult> {
    if (this.#failure) return Promise.reject(this.#failure)
    this.#pipe.write(encodeFrame('step', encodeStep(step)))
    return new Promise((resolve, reject) => this.#pending.push({ resolve, reject }))
  }

  /** Ends the process, whatever it is doing. */
  async close(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  #take(piece: Buffer): void {
    try {
      for (const frame of this.#reader.push(piece)) this.#takeFrame(frame)
    } catch (error) {
      this.#fail(error as Error)
      this.#child.kill('SIGKILL')
    }
  }

  #takeFrame({ kind, payload }: Frame): void {
    const json = () => JSON.parse(payload.toString())
    switch (kind) {
      case 'result':
        this.#pending.shift()?.resolve(decodeResult(payload))
        break
      case 'ready':
        this.#ready = readyMessage.parse(json())
        this.#onReady.resolve()
        break
      case 'progress':
        this.#onProgress(progressMessage.parse(json()))
        break
      case 'failure': {
        const { name, message } = failureMessage.parse(json())
        this.#fail(Object.assign(new Error(message), { name }))
      }
    }
  }

  /** The first reason is the one that is told. */
  #fail(error: Error): void {
    this.#failure ??= error
    this.#onFailure(this.#failure)
    this.#onReady.reject(this.#failure)
    for (const { reject } of this.#pending.splice(0)) reject(this.#failure)
  }
}
