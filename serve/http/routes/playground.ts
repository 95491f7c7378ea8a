import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { packageRoot } from '../../../runtime/package-root.ts'
import type { Exchange } from '../exchange.ts'

type Route = (exchange: Exchange) => Promise<void>

/** The page and its parts are read as they are in the sources, which are in the package too. */
const folder = () => join(packageRoot(), 'serve', 'http', 'playground')

const typeOf = (name: string) => (name.endsWith('.css') ? 'text/css' : 'text/javascript')

function send(
  { response }: Exchange,
  type: string,
  body: string,
  headers: Record<string, string> = {},
): void {
  if (response.destroyed) return
  response.writeHead(200, {
    'content-type': `${type}; charset=utf-8`,
    'content-length': Buffer.byteLength(body),
    'x-content-type-options': 'nosniff',
    ...headers,
  })
  // Node leaves the body out when only the head was asked for.
  response.end(body)
}

/**
 * The page may load what carries the nonce of its answer, which the modules that its script imports inherit, and may speak
 * to this server; nothing else.
 */
const page: Route = async (exchange) => {
  const nonce = randomBytes(16).toString('base64')
  const html = await readFile(join(folder(), 'page.html'), 'utf8')
  send(exchange, 'text/html', html.replaceAll('NONCE', nonce), {
    'content-security-policy':
      `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; img-src data:; ` +
      "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
  })
}

const part =
  (name: string): Route =>
  async (exchange) =>
    send(exchange, typeOf(name), await readFile(join(folder(), name), 'utf8'), {
      'cache-control': 'no-cache',
    })

const routes: Readonly<Record<string, Route>> = {
  '/': page,
  ...Object.fromEntries(
    ['style.css', 'client.js', 'chart.js', 'events.js', 'metrics.js'].map((name) => [
      `/playground/${name}`,
      part(name),
    ]),
  ),
}

/** `GET` and `HEAD` of the playground: a page to try the model on, which shows how the server fares. */
export const playground = Object.fromEntries(
  Object.entries(routes).map(([path, route]) => [path, { GET: route, HEAD: route }]),
)
