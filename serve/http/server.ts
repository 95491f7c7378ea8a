import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import { HttpError, httpErrorOf, reasonOf } from './errors.ts'
import { Exchange, type ServerContext } from './exchange.ts'
import { openApiDocument } from './openapi.ts'
import { chat } from './routes/chat.ts'
import { completions } from './routes/completions.ts'
import { playground } from './routes/playground.ts'
import { health, metrics, model, models, ready, version } from './routes/status.ts'
import { detokenize, tokenize } from './routes/tokenize.ts'

export interface ServerOptions extends ServerContext {
  /** Keys of which every route but `/health` and the playground wants one; none: all are open. */
  readonly apiKeys: readonly string[]
  readonly logger: Logger
  /** Connections at a time. Default 4096. */
  readonly maxConnections?: number
}

type Route = (exchange: Exchange) => Promise<void>

const routes: Readonly<Record<string, Readonly<Record<string, Route>>>> = {
  '/v1/completions': { POST: completions },
  '/v1/chat/completions': { POST: chat },
  '/v1/models': { GET: models },
  '/tokenize': { POST: tokenize },
  '/detokenize': { POST: detokenize },
  '/health': { GET: health },
  '/ready': { GET: ready },
  '/version': { GET: version },
  '/metrics': { GET: metrics },
  '/openapi.json': { GET: async (exchange) => exchange.json(200, openApiDocument(exchange.context.version)) },
  ...playground,
}

/** Routes that tell nothing that needs a key. */
const open: ReadonlySet<string> = new Set(['/health', ...Object.keys(playground)])

/** An HTTP server that answers as the OpenAI API does; `listen` starts it. */
export function createHttpServer(options: ServerOptions): Server {
  const keys = options.apiKeys.map(digest)
  const server = createServer(
    { headersTimeout: 10_000, requestTimeout: 60_000, keepAliveTimeout: 30_000, maxHeaderSize: 16_384 },
    (request, response) => void answer(request, response, options, keys),
  )
  server.maxConnections = options.maxConnections ?? 4096
  return server
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: ServerOptions,
  keys: readonly Buffer[],
): Promise<void> {
  const start = performance.now()
  const exchange = new Exchange(request, response, options)
  response.setHeader('x-request-id', exchange.id)
  // What the query holds is nobody's business.
  const path = (request.url ?? '').split('?')[0]!
  response.once('close', () =>
    options.logger.info({
      id: exchange.id,
      method: request.method,
      path: path.slice(0, 200),
      status: response.statusCode,
      ms: Math.round(performance.now() - start),
      ...exchange.log,
    }),
  )
  try {
    requireKey(request, path, keys)
    await routeOf(request.method ?? '', path)(exchange)
  } catch (error) {
    fail(exchange, error, options.logger)
  }
}

function routeOf(method: string, path: string): Route {
  const named = /^\/v1\/models\/(.+)$/.exec(path)
  const methods = named ? { GET: (exchange: Exchange) => model(exchange, decoded(named[1]!)) } : routes[path]
  if (methods === undefined || !(named || Object.hasOwn(routes, path)))
    throw new HttpError(404, `there is no ${path.slice(0, 200)}; /openapi.json has what there is`, {
      code: 'not_found',
    })
  const route = Object.hasOwn(methods, method) ? (methods as Record<string, Route>)[method] : undefined
  if (route === undefined)
    throw new HttpError(405, `${path} takes ${Object.keys(methods).join(', ')}`, {
      code: 'method_not_allowed',
    })
  return route
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Digests have one length, so that comparing them tells nothing of the key. */
const digest = (key: string): Buffer => createHash('sha256').update(key).digest()

function requireKey(request: IncomingMessage, path: string, keys: readonly Buffer[]): void {
  if (keys.length === 0 || open.has(path)) return
  const [, sent] = /^Bearer (.+)$/.exec(request.headers.authorization ?? '') ?? []
  const given = digest(sent ?? '')
  if (sent === undefined || !keys.some((key) => timingSafeEqual(key, given)))
    throw new HttpError(401, 'send a valid API key as `Authorization: Bearer KEY`', {
      code: 'invalid_api_key',
    })
}

function fail(exchange: Exchange, error: unknown, logger: Logger): void {
  const told = httpErrorOf(error)
  const { request, response } = exchange
  exchange.log.error = reasonOf(error)
  if (told.status >= 500 && error !== told) logger.error({ id: exchange.id, err: error }, 'a request failed')
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  if (told.retryAfter !== undefined) response.setHeader('retry-after', told.retryAfter)
  // A body that was not read to its end is in the way of the next request.
  if (!request.complete) response.setHeader('connection', 'close')
  exchange.json(told.status, told.body)
}
