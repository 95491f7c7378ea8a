import { availableParallelism } from 'node:os'
import type { Worker } from 'node:worker_threads'
import type { Config, Program } from '../../codegen/program.ts'
import type { Target } from '../../codegen/target.ts'
import type { Kernel } from '../../dsl/kernel.ts'
import { startThread } from '../start-thread.ts'
import { TuneError } from './measurer.ts'

export interface CompileRequest {
  /** The module that exports the kernel. */
  readonly url: string
  readonly kernel: string
  readonly config: Config
  readonly target: Target
}

export type CompileReply = { readonly program: Program } | { readonly error: string }

interface Job {
  readonly request: CompileRequest
  readonly resolve: (program: Program) => void
  readonly reject: (error: Error) => void
}

/** The kernel does not compile for a configuration. */
export class CompileError extends Error {
  override readonly name = 'CompileError'
}

/** Each takes the memory of a TypeScript compiler. */
const mostThreads = 8

/** Compiles in worker threads, in the order of the calls; what is in the cache on disk is only read. */
export class CompilePool {
  readonly #threads: number
  readonly #idle: Worker[] = []
  readonly #all = new Set<Worker>()
  readonly #jobs: Job[] = []
  readonly #running = new Map<Worker, Job>()

  constructor(threads: number = Math.min(mostThreads, availableParallelism())) {
    this.#threads = threads
  }

  /** Throws `CompileError` with the diagnostic, and `TuneError` when its thread ends or the pool is closed. */
  compile(kernel: Kernel, config: Config, target: Target): Promise<Program> {
    return new Promise((resolve, reject) => {
      const request = { url: kernel.url, kernel: kernel.name, config, target }
      this.#jobs.push({ request, resolve, reject })
      this.#next()
    })
  }

  async close(): Promise<void> {
    // No fault of the configurations, which would be kept on record.
    for (const { reject } of this.#jobs.splice(0)) reject(new TuneError('the tuner has stopped'))
    await Promise.all([...this.#all].map((worker) => worker.terminate()))
  }

  #next(): void {
    if (this.#jobs.length === 0) return
    const worker = this.#idle.pop() ?? (this.#all.size < this.#threads ? this.#start() : undefined)
    if (!worker) return
    const job = this.#jobs.shift()!
    this.#running.set(worker, job)
    worker.postMessage(job.request)
  }

  #start(): Worker {
    const worker = startThread(import.meta.url, './compile-worker')
    const finish = (settle: (job: Job) => void) => {
      const job = this.#running.get(worker)
      this.#running.delete(worker)
      if (job) settle(job)
    }
    worker.on('message', (reply: CompileReply) => {
      finish(({ resolve, reject }) =>
        'program' in reply ? resolve(reply.program) : reject(new CompileError(reply.error)),
      )
      this.#idle.push(worker)
      this.#next()
    })
    worker.on('error', (error) => finish(({ reject }) => reject(error)))
    worker.on('exit', (code) => {
      finish(({ reject }) => reject(new TuneError(`a thread that compiles ended with code ${code}`)))
      this.#all.delete(worker)
      this.#next()
    })
    this.#all.add(worker)
    return worker
  }
}
