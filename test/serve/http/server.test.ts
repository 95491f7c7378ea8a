import { connect } from 'node:net'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FakeRunner } from '../../../serve/engine/fake-runner.ts'
import { nanoTokenizer, type Service, type ServiceOptions, startService } from '../../support/http-service.ts'

const { vocabSize } = nanoTokenizer

async function withService(
  options: Partial<ServiceOptions> & { readonly stepMilliseconds?: number },
  use: (service: Service) => Promise<void>,
): Promise<void> {
  const { stepMilliseconds = 0, ...rest } = options
  const service = await startService({
    openRunner: ({ pages }) => new FakeRunner({ vocabSize, pages, pageTokens: 64, stepMilliseconds }),
    ...rest,
  })
  try {
    await use(service)
  } finally {
    await service.close()
  }
}

const post = (url: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
  })

const completion = { model: 'nano', prompt: 'Once', max_tokens: 4, seed: 1 }

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.ok(condition())
}

test('every route but health wants a key, where there are keys', () =>
  withService({ apiKeys: ['secret', 'other'] }, async ({ url }) => {
    assert.is((await fetch(`${url}/health`)).status, 200)
    for (const path of ['/v1/models', '/metrics', '/version', '/ready', '/openapi.json', '/nowhere'])
      assert.is((await fetch(url + path)).status, 401, path)
    for (const authorization of ['Bearer wrong', 'Bearer ', 'Basic secret', 'secret'])
      assert.is((await fetch(`${url}/v1/models`, { headers: { authorization } })).status, 401, authorization)
    for (const key of ['secret', 'other'])
      assert.is(
        (await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status,
        200,
      )
  }))

test('bodies that cannot be read are refused in words', () =>
  withService({ maxBodyBytes: 1000 }, async ({ url }) => {
    const refused = async (body: string | Uint8Array, status: number, message: string) => {
      const response = await post(`${url}/v1/completions`, body)
      assert.is(response.status, status, message)
      const { error } = (await response.json()) as { error: { message: string; type: string } }
      assert.match(error.message, message)
      assert.is(error.type, 'invalid_request_error')
    }
    await refused('{"model": ', 400, 'not JSON')
    await refused('', 400, 'not JSON')
    await refused('7', 400, 'expected object')
    await refused('null', 400, 'expected object')
    await refused(Uint8Array.of(0x22, 0xff, 0x22), 400, 'not UTF-8')
    await refused(' '.repeat(1001), 413, 'more than 1000 bytes')
    assert.is((await post(`${url}/v1/completions`, completion)).status, 200)
  }))

test('a body that does not say its length is read no further than it may be', () =>
  withService({ maxBodyBytes: 1000 }, async ({ url }) => {
    const endless = new ReadableStream({
      pull: (controller) => controller.enqueue(new TextEncoder().encode('x'.repeat(10_000))),
    })
    const init = { method: 'POST', body: endless, duplex: 'half' } as RequestInit
    try {
      assert.is((await fetch(`${url}/tokenize`, init)).status, 413)
    } catch {
      // The connection may be closed before the client has read the answer.
    }
    assert.is((await fetch(`${url}/health`)).status, 200)
  }))

test('paths and methods that there are not get told what there is', () =>
  withService({}, async ({ url }) => {
    assert.is((await fetch(`${url}/v2`)).status, 404)
    assert.is((await fetch(`${url}/constructor`)).status, 404)
    const response = await fetch(`${url}/v1/completions`)
    assert.is(response.status, 405)
    assert.match(JSON.stringify(await response.json()), '/v1/completions takes POST')
  }))

test('a full queue is told with when to come again, and nothing of the request stays', () =>
  withService({ limits: { waiting: 3, sequences: 1 }, stepMilliseconds: 2 }, async ({ url, engine }) => {
    const long = { ...completion, max_tokens: 100, ignore_eos: true }
    const first = post(`${url}/v1/completions`, long)
    await until(() => engine.stats.running === 1)
    const rest = Array.from({ length: 3 }, () => post(`${url}/v1/completions`, long))
    await until(() => engine.stats.waiting === 3)
    const refused = await post(`${url}/v1/completions`, { ...long, stream: true })
    assert.is(refused.status, 429)
    assert.is(refused.headers.get('retry-after'), '1')
    const { error } = (await refused.json()) as { error: { type: string; code: string } }
    assert.equal([error.type, error.code], ['rate_limit_error', 'queue_full'])
    assert.equal(
      (await Promise.all([first, ...rest])).map(({ status }) => status),
      [200, 200, 200, 200],
    )
    assert.is((await post(`${url}/v1/completions`, { ...long, n: 9 })).status, 429)
    assert.is(engine.stats.waiting + engine.stats.running, 0)
  }))

test('clients that go away in the middle leave every page free', () =>
  withService({ stepMilliseconds: 1 }, async ({ url, engine }) => {
    const body = { ...completion, max_tokens: 900, ignore_eos: true }
    const calls = Array.from({ length: 60 }, async (_, i) => {
      const abort = new AbortController()
      const call = fetch(`${url}/v1/completions`, {
        method: 'POST',
        body: JSON.stringify({ ...body, stream: i % 2 === 0, n: 1 + (i % 3) }),
        signal: abort.signal,
      })
      setTimeout(() => abort.abort(), 5 + i)
      await call.then((response) => response.text()).catch(() => {})
    })
    await Promise.all(calls)
    await until(() => engine.stats.running + engine.stats.waiting === 0)
    assert.is(engine.stats.heldPages, 0)
    assert.is((await post(`${url}/v1/completions`, completion)).status, 200)
  }))

test('connections that say nothing, or half, keep nobody from being served', () =>
  withService({ stepMilliseconds: 1 }, async ({ url, engine }) => {
    const { port } = new URL(url)
    const sockets = [
      '',
      'GET /heal',
      'POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{"mod',
    ].map((text) => {
      const socket = connect(Number(port), '127.0.0.1')
      socket.on('error', () => {})
      socket.write(text)
      return socket
    })
    const reset = connect(Number(port), '127.0.0.1', () => reset.resetAndDestroy())
    // Says all, byte by byte, and then that nothing more will come: it is taken to be gone.
    const body = JSON.stringify({ ...completion, max_tokens: 900, ignore_eos: true })
    const whole = `POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`
    const halfClosed = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    let answer = ''
    halfClosed.setEncoding('utf8').on('data', (piece: string) => {
      answer += piece
    })
    for (const byte of whole) {
      halfClosed.write(byte)
      await new Promise((resolve) => setImmediate(resolve))
    }
    const over = new Promise((resolve) => halfClosed.once('end', resolve))
    halfClosed.end()
    await over
    halfClosed.destroy()
    assert.is(answer, '')
    await until(() => engine.stats.running + engine.stats.waiting === 0)
    assert.is(engine.stats.heldPages, 0)
    assert.is((await post(`${url}/v1/completions`, completion)).status, 200)
    for (const socket of sockets) socket.destroy()
    assert.is((await post(`${url}/v1/completions`, completion)).status, 200)
  }))

test('a client that does not read its stream is dropped, and its pages are free', () =>
  withService({}, async ({ url, engine }) => {
    const body = JSON.stringify({
      ...completion,
      n: 32,
      max_tokens: 900,
      ignore_eos: true,
      logprobs: 20,
      stream: true,
    })
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.on('error', () => {})
    socket.pause()
    socket.write(`POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
    await until(() => engine.stats.running > 0)
    const { generatedTokens } = engine.stats
    for (let i = 0; i < 2000 && engine.stats.running + engine.stats.waiting > 0; i++)
      await new Promise((resolve) => setTimeout(resolve, 5))
    assert.is(engine.stats.heldPages, 0)
    assert.ok(engine.stats.generatedTokens - generatedTokens < 32 * 900, 'all was kept for it')
    socket.destroy()
    assert.is((await post(`${url}/v1/completions`, completion)).status, 200)
  }))

test('text goes to tokens and back', () =>
  withService({}, async ({ url }) => {
    const text = 'Ünder the 😀 tree'
    const tokens = (await (await post(`${url}/tokenize`, { prompt: text })).json()) as {
      tokens: number[]
      count: number
    }
    assert.equal(tokens.tokens, nanoTokenizer.encode(text))
    assert.is(tokens.count, tokens.tokens.length)
    const back = await post(`${url}/detokenize`, {
      tokens: nanoTokenizer.encode(text, { addSpecial: false }),
    })
    assert.equal(await back.json(), { prompt: text })
  }))

test('metrics count what was done', () =>
  withService({}, async ({ url, engine }) => {
    await post(`${url}/v1/completions`, { ...completion, ignore_eos: true, n: 2 })
    const text = await (await fetch(`${url}/metrics`)).text()
    const value = (name: string) => Number(new RegExp(`^quattuor:${name}\\{.*\\} (.*)$`, 'm').exec(text)?.[1])
    assert.match(text, 'model_name="nano"')
    assert.is(value('generation_tokens_total'), 8)
    assert.is(value('prompt_tokens_total'), engine.stats.promptTokens)
    assert.is(value('num_requests_running'), 0)
    assert.is(value('time_to_first_token_seconds_count'), 2)
    assert.is(value('inter_token_latency_seconds_count'), 6)
    for (const part of ['queue', 'prefill', 'decode'])
      assert.is(value(`request_${part}_time_seconds_count`), 2)
    assert.match(text, /request_success_total\{finished_reason="length",model_name="nano"\} 2/)
  }))

test('the log has what happened and no texts', () =>
  withService({}, async ({ url, log }) => {
    await post(`${url}/v1/completions`, { ...completion, prompt: 'SECRET' })
    await post(`${url}/v1/completions?key=SECRET`, { prompt: 'SECRET' })
    await until(() => log.length === 2)
    assert.equal([log[0]!.status, log[0]!.completion_tokens, log[0]!.path], [200, 4, '/v1/completions'])
    assert.is(log[1]!.status, 400)
    assert.not.match(JSON.stringify(log), 'SECRET')
  }))

test('an engine that is closed says so, and is not ready', () =>
  withService({}, async ({ url, engine }) => {
    assert.equal(await (await fetch(`${url}/version`)).json(), { version: '1.2.3' })
    assert.is((await fetch(`${url}/ready`)).status, 200)
    await engine.drain()
    assert.is((await fetch(`${url}/ready`)).status, 503)
    assert.is((await fetch(`${url}/health`)).status, 200)
    assert.is((await post(`${url}/v1/completions`, completion)).status, 503)
  }))

test('an engine whose steps fail for good is not healthy', () =>
  withService(
    {
      openRunner: () => ({
        bounds: { vocabSize, biases: 512 },
        submit: () => Promise.reject(new Error('no GPU')),
        close: async () => {},
      }),
    },
    async ({ url, log }) => {
      const response = await post(`${url}/v1/completions`, completion)
      assert.is(response.status, 503)
      assert.not.match(await response.text(), 'no GPU')
      await until(() => log.some(({ error }) => /over and over: no GPU/.test(String(error))))
      assert.is((await fetch(`${url}/health`)).status, 503)
    },
  ))

test('the OpenAPI document has every field of the requests', () =>
  withService({}, async ({ url }) => {
    const document = (await (await fetch(`${url}/openapi.json`)).json()) as {
      paths: Record<
        string,
        { post: { requestBody: { content: Record<string, { schema: { properties: object } }> } } }
      >
    }
    const { properties } =
      document.paths['/v1/chat/completions']!.post.requestBody.content['application/json']!.schema
    for (const name of ['messages', 'temperature', 'tools', 'stop', 'seed'])
      assert.ok(name in properties, name)
  }))

test.run()
