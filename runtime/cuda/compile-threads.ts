import { availableParallelism } from 'node:os'
import type { Worker } from 'node:worker_threads'
import { startThread } from '../start-thread.ts'
import type { CompileRequest } from './compile-thread.ts'
import type { Compiled } from './linker.ts'

/** More than these gain little: a model has some twenty programs. */
const mostThreads = 8

interface Job {
  readonly request: CompileRequest
  readonly resolve: (compiled: Compiled) => void
  readonly reject: (error: unknown) => void
}

/** Threads on which one driver compiles; they end when nothing is left to do. */
export class CompileThreads {
  readonly #library: string
  readonly #waiting: Job[] = []
  #threads = 0

  constructor(library: string) {
    this.#library = library
  }

  /** Compiles when a thread is free, in order. */
  compile(request: CompileRequest): Promise<Compiled> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject })
      if (this.#threads < Math.min(mostThreads, availableParallelism())) this.#start()
    })
  }

  #start(): void {
    const job = this.#waiting.shift()
    if (!job) return
    this.#threads++
    const thread = startThread(import.meta.url, './compile-thread', { workerData: this.#library })
    let running: Job | undefined = job
    thread.on('message', (compiled: Compiled) => {
      running!.resolve(compiled)
      running = this.#next(thread)
    })
    thread.on('error', (error) => running?.reject(error))
    thread.on('exit', (code) => {
      running?.reject(new Error(`a thread that compiles ended with code ${code}`))
      this.#threads--
      // What was asked for while it ended found no free place for a thread.
      this.#start()
    })
    thread.postMessage(job.request)
  }

  #next(thread: Worker): Job | undefined {
    const job = this.#waiting.shift()
    thread.postMessage(job ? job.request : null)
    return job
  }
}
