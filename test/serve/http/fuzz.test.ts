import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FakeRunner } from '../../../serve/engine/fake-runner.ts'
import { openApiDocument } from '../../../serve/http/openapi.ts'
import { nanoTokenizer, startService } from '../../support/http-service.ts'
import { type ValueSchema, valuesOf } from '../../support/schema-values.ts'

const { vocabSize } = nanoTokenizer
const { url, engine, close, log } = await startService({
  openRunner: ({ pages }) => new FakeRunner({ vocabSize, pages, pageTokens: 64 }),
  maxBodyBytes: 200_000,
})
test.after(close)

/** Answers come within 10 s of the processor, which the server shares with the test; a busy machine may take longer. */
const post = async (path: string, body: string | Uint8Array) => {
  const before = process.cpuUsage()
  const response = await fetch(url + path, { method: 'POST', body, signal: AbortSignal.timeout(60_000) })
  const text = await response.text()
  const { user, system } = process.cpuUsage(before)
  assert.ok(user + system < 10e6, `${path} took ${(user + system) / 1e6} s`)
  return { status: response.status, text }
}

const canary = JSON.stringify({ model: 'nano', prompt: 'Once upon a time', max_tokens: 20, seed: 11 })
const canaryText = async () => JSON.parse((await post('/v1/completions', canary)).text).choices[0].text
const expectedCanary = await canaryText()

/** Whatever came, the server answered in time, said whose fault it was, and still answers others as before. */
async function assertSurvives(path: string, body: string | Uint8Array): Promise<void> {
  const { status, text } = await post(path, body)
  assert.ok(status < 500, `${status} ${text.slice(0, 300)}`)
  if (status >= 400) {
    const { error } = JSON.parse(text)
    assert.type(error.message, 'string')
    assert.ok(error.message.length > 0 && !/\n\s+at /.test(error.message), error.message)
  }
}

/** What the test reads of the server's own document. */
interface OpenApi {
  readonly paths: Readonly<
    Record<string, { post?: { requestBody: { content: { 'application/json': { schema: ValueSchema } } } } }>
  >
}

const strange = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    -0,
    1e308,
    -1e308,
    1.5,
    2 ** 53,
    2 ** 31,
    -1,
    0,
    '',
    '\0',
    '\ud800',
    [],
    {},
  ),
  fc.constantFrom<unknown>(
    'x'.repeat(5000),
    [[[[[[]]]]]],
    { __proto__: null, constructor: 1 },
    [null],
    ['', ''],
    NaN,
    { type: 'json_schema', json_schema: { schema: { type: ['x'] } } },
    { type: 'json_object' },
    { $ref: '#', properties: { a: { $ref: '#' } } },
    '(a|b',
    ['a', 'b'],
  ),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.jsonValue(),
)

const fields = {
  completions: ['model', 'prompt', 'max_tokens', 'logprobs', 'echo', 'suffix', 'best_of'],
  chat: ['model', 'messages', 'tools', 'tool_choice', 'logprobs', 'top_logprobs', 'max_tokens'],
  both: [
    ...[
      'temperature',
      'top_p',
      'top_k',
      'min_p',
      'presence_penalty',
      'frequency_penalty',
      'repetition_penalty',
    ],
    ...[
      'logit_bias',
      'seed',
      'n',
      'stop',
      'stop_token_ids',
      'ignore_eos',
      'min_tokens',
      'priority',
      'stream',
    ],
    ...['stream_options', 'user', '__proto__', 'unknown'],
    ...['response_format', 'guided_json', 'guided_regex', 'guided_choice', 'structured_outputs'],
  ],
}
const good = {
  completions: { model: 'nano', prompt: 'a', max_tokens: 3 },
  chat: { model: 'nano', messages: [{ role: 'user', content: 'a' }], max_tokens: 3 },
}
const paths = { completions: '/v1/completions', chat: '/v1/chat/completions' }
const kind = fc.constantFrom('completions' as const, 'chat' as const)

test('strange values in any fields are answered, and are never a failure of the server', async () => {
  const change = (of: readonly string[]) =>
    fc.array(fc.tuple(fc.constantFrom(...of), strange), { maxLength: 3 })
  const body = kind.chain((name) =>
    change([...fields[name], ...fields.both]).map((changes) => ({
      path: paths[name],
      body: { ...good[name], ...Object.fromEntries(changes) },
    })),
  )
  await fc.assert(
    fc.asyncProperty(body, (x) => assertSurvives(x.path, JSON.stringify(x.body))),
    { numRuns: 400, seed: 51 },
  )
  assert.is(await canaryText(), expectedCanary)
})

test('values of the schemas, and those just beside them, are answered on every route', async () => {
  const { paths: routes } = openApiDocument('0') as OpenApi
  const bodies = Object.entries(routes).flatMap(([path, { post: route }]) => {
    if (route === undefined) return []
    const { properties } = route.requestBody.content['application/json'].schema
    const field = fc
      .constantFrom(...Object.keys(properties!))
      .chain((name) => fc.tuple(fc.constant(name), valuesOf(properties![name]!)))
    const start = path === paths.chat ? good.chat : { ...good.completions, tokens: [300] }
    return [
      fc.array(field, { minLength: 1, maxLength: 5 }).map((fields) => {
        const body: Record<string, unknown> = { ...start, ...Object.fromEntries(fields) }
        // What may be asked for is more than a test has time for.
        if (Number(body.max_tokens ?? body.max_completion_tokens) > 20 || body.max_tokens == null)
          body.max_tokens = 2
        delete body.max_completion_tokens
        return { path, body }
      }),
    ]
  })
  assert.is(bodies.length, 4)
  await fc.assert(
    fc.asyncProperty(fc.oneof(...bodies), (x) => assertSurvives(x.path, JSON.stringify(x.body))),
    { numRuns: 400, seed: 53 },
  )
  assert.is(await canaryText(), expectedCanary)
})

test('JSON with bytes changed, cut out or doubled is answered', async () => {
  const mutation = fc.tuple(fc.nat(1000), fc.constantFrom('set', 'cut', 'double'), fc.nat(255))
  await fc.assert(
    fc.asyncProperty(kind, fc.array(mutation, { minLength: 1, maxLength: 6 }), async (name, mutations) => {
      let bytes = Buffer.from(JSON.stringify({ ...good[name], stop: ['\n', '😀'], logit_bias: { 5: -1.5 } }))
      for (const [at, how, byte] of mutations) {
        const place = at % bytes.length
        const head = bytes.subarray(0, place)
        const middle = how === 'set' ? Buffer.of(byte) : how === 'cut' ? Buffer.alloc(0) : bytes
        bytes = Buffer.concat([head, middle, bytes.subarray(place + (how === 'double' ? 0 : 1))])
      }
      await assertSurvives(paths[name], bytes)
    }),
    { numRuns: 300, seed: 52 },
  )
  assert.is(await canaryText(), expectedCanary)
})

test('requests that are deep, long or large are answered', async () => {
  const deep = (open: string, close: string, depth = 60_000) => open.repeat(depth) + close.repeat(depth)
  for (const path of Object.values(paths)) {
    await assertSurvives(path, deep('[', ']'))
    await assertSurvives(path, `{"model":"nano","prompt":${deep('[', ']')}}`)
    await assertSurvives(
      path,
      `{"model":"nano","messages":${deep('[{"role":"user","content":', '}]', 3000)}}`,
    )
    await assertSurvives(
      path,
      `{"model":"nano","tools":${deep('{"a":', '}', 20_000).replace('{}', '{"a":1}')}}`,
    )
    await assertSurvives(path, 'x'.repeat(300_000))
    // The connection may be closed before the client has read why.
    await post(path, Buffer.alloc(100 * 2 ** 20, 'x')).then(
      ({ status }) => assert.is(status, 413),
      () => {},
    )
  }
  const tool = `{"type":"function","function":{"name":"f","parameters":{"a":${deep('[', ']', 20_000)}}}}`
  await assertSurvives(paths.chat, JSON.stringify(good.chat).replace(/\}$/, `,"tools":[${tool}]}`))
  const prompt = Array.from({ length: 40_000 }, () => 7)
  await assertSurvives(paths.completions, JSON.stringify({ ...good.completions, prompt }))
  await assertSurvives(
    paths.completions,
    JSON.stringify({ ...good.completions, prompt: 'ab '.repeat(60_000) }),
  )
  await assertSurvives(
    paths.chat,
    JSON.stringify({ ...good.chat, messages: [{ role: 'user', content: ' '.repeat(190_000) }] }),
  )
  assert.is(await canaryText(), expectedCanary)
})

test('after all of that nothing runs, every page is free and nothing was logged as our failure', () => {
  const { running, waiting, heldPages, restarts } = engine.stats
  assert.equal(
    { running, waiting, heldPages, restarts },
    { running: 0, waiting: 0, heldPages: 0, restarts: 0 },
  )
  assert.equal(
    log.filter(({ level }) => (level as number) >= 50),
    [],
  )
})

test.run()
