import type { z } from 'zod'
import { ConstraintError } from '../constrain/error.ts'
import { EngineError } from '../engine/engine.ts'
import { RefusalError } from '../schedule/request.ts'
import { TextError } from '../text/error.ts'

/** An answer that is an error, in the words and the shape of the OpenAI API. */
export class HttpError extends Error {
  override readonly name = 'HttpError'
  readonly status: number
  readonly param: string | null
  readonly code: string | null
  /** Seconds after which the client may try again. */
  readonly retryAfter: number | undefined

  constructor(
    status: number,
    message: string,
    {
      param = null,
      code = null,
      retryAfter,
    }: { param?: string | null; code?: string | null; retryAfter?: number } = {},
  ) {
    super(message)
    this.status = status
    this.param = param
    this.code = code
    this.retryAfter = retryAfter
  }

  get body(): { error: { message: string; type: string; param: string | null; code: string | null } } {
    const { message, param, code } = this
    return { error: { message, type: typeOf(this.status), param, code } }
  }
}

function typeOf(status: number): string {
  if (status === 401) return 'authentication_error'
  if (status === 429) return 'rate_limit_error'
  return status < 500 ? 'invalid_request_error' : 'server_error'
}

/** A request that does not fit its schema; the first fault is told. */
export function schemaError(error: z.ZodError): HttpError {
  const issue = deepest(error.issues[0]!)
  const param = issue.path.join('.')
  return new HttpError(400, param === '' ? issue.message : `${param}: ${issue.message}`, {
    param: param || null,
  })
}

/** Of a union's faults, that of the alternative which got furthest, unless the union has words of its own. */
function deepest(issue: z.core.$ZodIssue): { path: readonly PropertyKey[]; message: string } {
  if (issue.code !== 'invalid_union' || issue.message !== 'Invalid input') return issue
  const inner = issue.errors.flatMap((issues) => issues.slice(0, 1).map(deepest))
  const best = inner.reduce((a, b) => (b.path.length > a.path.length ? b : a), {
    path: [],
    message: issue.message,
  })
  return { path: [...issue.path, ...best.path], message: best.message }
}

/** What went wrong in full, for the log. */
export function reasonOf(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error ? `${message}: ${reasonOf(cause)}` : message
}

/** The answer for whatever went wrong; what is not the client's fault is not explained to it. */
export function httpErrorOf(error: unknown): HttpError {
  if (error instanceof HttpError) return error
  if (error instanceof RefusalError)
    return error.reason === 'full'
      ? new HttpError(429, error.message, { code: 'queue_full', retryAfter: 1 })
      : new HttpError(400, error.message)
  if (error instanceof TextError || error instanceof ConstraintError) return new HttpError(400, error.message)
  if (error instanceof EngineError) return new HttpError(503, error.message, { code: 'engine_unavailable' })
  if (error instanceof RangeError && /call stack/.test(error.message))
    return new HttpError(400, 'the request is nested too deeply')
  return new HttpError(500, 'the server failed; its log says more', { code: 'internal_error' })
}
