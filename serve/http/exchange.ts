import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { z } from 'zod'
import { HttpError, schemaError } from './errors.ts'
import type { Metrics } from './metrics.ts'
import { readJsonBody } from './request-body.ts'
import type { ServedModel } from './served-model.ts'

/** What the routes of a server share. */
export interface ServerContext {
  readonly model: ServedModel
  readonly metrics: Metrics
  readonly version: string
  readonly maxBodyBytes: number
}

/** One request and its answer. */
export class Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly context: ServerContext
  readonly id = randomBytes(12).toString('hex')
  /** Counts and reasons for the log; never texts. */
  readonly log: Record<string, number | string> = {}

  constructor(request: IncomingMessage, response: ServerResponse, context: ServerContext) {
    this.request = request
    this.response = response
    this.context = context
  }

  /** Whom the scheduler counts this to: its key, or else its address. */
  get client(): string {
    return this.request.headers.authorization ?? this.request.socket.remoteAddress ?? ''
  }

  /** The body, checked. Throws `HttpError`. */
  async body<T extends z.ZodType>(schema: T): Promise<z.infer<T>> {
    const parsed = schema.safeParse(await readJsonBody(this.request, this.context.maxBodyBytes))
    if (!parsed.success) throw schemaError(parsed.error)
    return parsed.data
  }

  /** Throws `HttpError` when a client asks for a model that is not served. */
  requireModel(name: string): void {
    const { model } = this.context
    if (name !== model.name)
      throw new HttpError(
        404,
        `the model ${JSON.stringify(name)} is not served; ${JSON.stringify(model.name)} is`,
        {
          param: 'model',
          code: 'model_not_found',
        },
      )
  }

  /** Calls back when the client is gone before it has its answer. */
  onGone(gone: () => void): void {
    this.response.once('close', () => {
      if (!this.response.writableFinished) gone()
    })
    if (this.response.destroyed) gone()
  }

  json(status: number, value: unknown): void {
    if (this.response.destroyed) return
    this.response.writeHead(status, { 'content-type': 'application/json' })
    this.response.end(JSON.stringify(value))
  }
}
