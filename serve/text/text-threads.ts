import type { Worker } from 'node:worker_threads'
import { startThread } from '../../runtime/start-thread.ts'
import type { ChatMessage } from './chat-template.ts'
import { TextError } from './error.ts'
import type { TextService } from './text-service.ts'

export type TextTask =
  | { readonly kind: 'text'; readonly text: string; readonly addSpecial: boolean }
  | {
      readonly kind: 'chat'
      readonly messages: readonly ChatMessage[]
      readonly tools: readonly unknown[] | undefined
    }

export type TextReply =
  | { readonly ids: Int32Array }
  | { readonly error: { readonly name: string; readonly message: string } }

export interface TextThreadsOptions {
  readonly threads: number
  /** A task that takes longer is given up, and its thread with it. Default 10 seconds. */
  readonly taskMilliseconds?: number
  /** Memory of one thread. Default 1024. */
  readonly megabytes?: number
}

interface Job {
  readonly task: TextTask
  readonly resolve: (ids: Int32Array) => void
  readonly reject: (error: Error) => void
}

/** A place for a thread, and what that is doing. A thread that failed is replaced when there is work for it. */
interface Place {
  worker: Worker | undefined
  job: Job | undefined
  timer: NodeJS.Timeout | undefined
}

/**
 * Tokenizes in threads, a task at a time each. A task that takes too long or too much memory ends its thread, which is
 * replaced; tasks that wait do not notice.
 */
export class TextThreads implements TextService {
  readonly #folder: string
  readonly #options: TextThreadsOptions
  readonly #places: Place[]
  readonly #waiting: Job[] = []
  #closed = false

  /** For the tokenizer and the chat template of a checkpoint folder. */
  constructor(folder: string, options: TextThreadsOptions) {
    this.#folder = folder
    this.#options = options
    this.#places = Array.from({ length: options.threads }, () => ({
      worker: undefined,
      job: undefined,
      timer: undefined,
    }))
    // The first tasks need not wait for threads to start.
    for (const place of this.#places) this.#open(place)
  }

  encodeText(text: string, addSpecial: boolean): Promise<Int32Array> {
    return this.#run({ kind: 'text', text, addSpecial })
  }

  encodeChat(messages: readonly ChatMessage[], tools: readonly unknown[] | undefined): Promise<Int32Array> {
    return this.#run({ kind: 'chat', messages, tools })
  }

  /** Ends the threads; what they were doing is given up. */
  async close(): Promise<void> {
    this.#closed = true
    const gone = new TextError('the server is shutting down')
    for (const job of this.#waiting.splice(0)) job.reject(gone)
    for (const place of this.#places) this.#finish(place)?.reject(gone)
    await Promise.all(this.#places.map(({ worker }) => worker?.terminate()))
  }

  #run(task: TextTask): Promise<Int32Array> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ task, resolve, reject })
      this.#dispatch()
    })
  }

  #dispatch(): void {
    for (const place of this.#places) {
      if (place.job !== undefined) continue
      const job = this.#waiting.shift()
      if (job === undefined) return
      this.#begin(place, job)
    }
  }

  #begin(place: Place, job: Job): void {
    const { taskMilliseconds = 10_000 } = this.#options
    place.job = job
    place.timer = setTimeout(
      () => this.#giveUp(place, new TextError('the text took too long to tokenize; shorten it')),
      taskMilliseconds,
    )
    try {
      const worker = place.worker ?? this.#open(place)
      worker.postMessage(job.task)
    } catch (error) {
      this.#finish(place)?.reject(new TextError(`the text cannot be tokenized: ${(error as Error).message}`))
      this.#dispatch()
    }
  }

  /** Takes away the job of a thread that is through with it. */
  #finish(place: Place): Job | undefined {
    const { job } = place
    clearTimeout(place.timer)
    place.job = undefined
    return job
  }

  #open(place: Place): Worker {
    const { megabytes = 1024 } = this.#options
    const worker = startThread(import.meta.url, './text-thread', {
      workerData: { folder: this.#folder },
      resourceLimits: { maxOldGenerationSizeMb: megabytes },
    })
    place.worker = worker
    worker.on('message', (reply: TextReply) => {
      const job = this.#finish(place)
      if ('ids' in reply) job?.resolve(reply.ids)
      else job?.reject(Object.assign(new TextError(reply.error.message), { name: reply.error.name }))
      this.#dispatch()
    })
    worker.on('error', (error: NodeJS.ErrnoException) => {
      const memory = error.code === 'ERR_WORKER_OUT_OF_MEMORY'
      const reason = memory ? 'the text takes too much memory to tokenize; shorten it' : error.message
      if (place.worker === worker) this.#giveUp(place, new TextError(reason))
    })
    return worker
  }

  /** Ends a thread whose job failed it. */
  #giveUp(place: Place, error: TextError): void {
    const job = this.#finish(place)
    void place.worker?.terminate()
    place.worker = undefined
    job?.reject(error)
    if (!this.#closed) this.#dispatch()
  }
}
