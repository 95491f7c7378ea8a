import type { ServerResponse } from 'node:http'
import { httpErrorOf, reasonOf } from './errors.ts'
import type { Exchange } from './exchange.ts'

/** What a client may leave unread before it is dropped. */
const mostUnread = 8 * 2 ** 20
/** Proxies close connections that are silent for longer. */
const pingMilliseconds = 15_000

/** Server-sent events with a JSON value each, as the OpenAI API streams. */
export class EventStream {
  readonly #response: ServerResponse
  readonly #ping: NodeJS.Timeout

  constructor(response: ServerResponse) {
    this.#response = response
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
    })
    this.#ping = setInterval(() => this.#write(': ping\n\n'), pingMilliseconds)
    response.once('close', () => clearInterval(this.#ping))
  }

  send(value: unknown): void {
    this.#write(`data: ${JSON.stringify(value)}\n\n`)
  }

  /** Ends the stream when `run` does; an error is told as an event. */
  async follow(exchange: Exchange, run: () => Promise<void>): Promise<void> {
    try {
      await run()
    } catch (error) {
      exchange.log.error = reasonOf(error)
      this.send(httpErrorOf(error).body)
    }
    this.#end()
  }

  #end(): void {
    clearInterval(this.#ping)
    this.#response.end('data: [DONE]\n\n')
  }

  #write(text: string): void {
    if (this.#response.destroyed) return
    this.#response.write(text)
    // A client that does not read would fill the memory.
    if (this.#response.writableLength > mostUnread) this.#response.destroy()
  }
}
