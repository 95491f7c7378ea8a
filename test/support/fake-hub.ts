import { createHash } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface FakeHub {
  readonly url: string
  /** Requests that came for contents, as `PATH RANGE`. */
  readonly reads: string[]
  /** Content by path; `large` files are told as the hub tells those in LFS. */
  readonly files: Map<string, { readonly content: Buffer; readonly large: boolean; readonly hash?: string }>
  /** Bytes after which the next answer with a content breaks off. */
  breakAfter: number | undefined
  /** Status of every answer, when it is not to answer. */
  status: number | undefined
  close(): Promise<void>
}

export const fakeCommit = 'c0ffee'.padEnd(40, '0')

/** A hub with one model, `owner/model`, as far as downloading it goes. */
export async function startFakeHub(): Promise<FakeHub> {
  const server = createServer((request, response) => {
    const url = new URL(request.url!, 'http://hub')
    const [, file] = new RegExp(`^/owner/model/resolve/${fakeCommit}/(.*)$`).exec(url.pathname) ?? []
    if (hub.status !== undefined) response.writeHead(hub.status).end('{"error":"no"}')
    else if (url.pathname === '/api/models/owner/model/revision/main')
      json(response, { _id: '1', id: 'owner/model', sha: fakeCommit, lastModified: '2026-01-01' })
    else if (url.pathname === `/api/models/owner/model/tree/${fakeCommit}`) json(response, listing(hub))
    else if (file !== undefined && hub.files.has(file))
      sendPart(hub, file, request.headers.range ?? '', response)
    else response.writeHead(404, { 'x-error-code': 'RepoNotFound' }).end('{"error":"not found"}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const hub: FakeHub = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    reads: [],
    files: new Map(),
    breakAfter: undefined,
    status: undefined,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
  return hub
}

const json = (response: ServerResponse, value: unknown) =>
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value))

const listing = ({ files }: FakeHub) =>
  [...files].map(([path, { content, large, hash }]) => {
    const sha256 = hash ?? createHash('sha256').update(content).digest('hex')
    const git = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
    const size = content.length
    return large
      ? { type: 'file', path, size, oid: git, lfs: { oid: sha256, size, pointerSize: 130 } }
      : { type: 'file', path, size, oid: hash ?? git }
  })

function sendPart(hub: FakeHub, file: string, range: string, response: ServerResponse): void {
  const { content } = hub.files.get(file)!
  const [, from = '0', to] = /^bytes=(\d+)-(\d*)$/.exec(range) ?? []
  const end = to ? Math.min(Number(to), content.length - 1) : content.length - 1
  const part = content.subarray(Number(from), end + 1)
  if (range !== 'bytes=0-0') hub.reads.push(`${file} ${from}`)
  response.writeHead(206, {
    'content-range': `bytes ${from}-${end}/${content.length}`,
    'content-length': part.length,
    etag: '"x"',
  })
  const { breakAfter } = hub
  if (breakAfter === undefined || range === 'bytes=0-0') {
    response.end(part)
    return
  }
  hub.breakAfter = undefined
  response.write(part.subarray(0, breakAfter), () => setTimeout(() => response.destroy(), 30))
}
