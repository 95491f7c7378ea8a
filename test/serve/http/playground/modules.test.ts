import { pathToFileURL } from 'node:url'
import { Counter, Gauge, Registry } from 'prom-client'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../../../runtime/package-root.ts'
import { FakeRunner } from '../../../../serve/engine/fake-runner.ts'
import { nanoTokenizer, startService } from '../../../support/http-service.ts'

interface Timed {
  readonly seconds: number
  readonly count: number
}

interface Sample {
  readonly milliseconds: number
  readonly generated: number
  readonly running: number
  readonly waiting: number
  readonly cache: number
  readonly firstToken: Timed
  readonly interToken: Timed
}

const load = (name: string) => import(pathToFileURL(`${packageRoot()}/serve/http/playground/${name}`).href)
const { parseMetrics, readSample, pointBetween } = (await load('metrics.js')) as {
  parseMetrics(text: string): Map<string, number[]>
  readSample(text: string, milliseconds: number): Sample
  pointBetween(before: Sample, after: Sample): Record<string, number | null>
}
const { readEvents } = (await load('events.js')) as {
  readEvents(body: ReadableStream<Uint8Array>): AsyncIterable<unknown>
}
const { linesThrough, roundUp } = (await load('chart.js')) as {
  linesThrough(values: (number | null)[], most: number): string[]
  roundUp(value: number): number
}

const sample = (fields: Partial<Sample>): Sample => ({
  ...{ milliseconds: 0, generated: 0, running: 0, waiting: 0, cache: 0 },
  ...{ firstToken: { seconds: 0, count: 0 }, interToken: { seconds: 0, count: 0 } },
  ...fields,
})

test('metrics are read as prom-client writes them, whatever labels hold', async () => {
  const registry = new Registry()
  const registers = [registry]
  const gauge = new Gauge({ name: 'a:gauge', help: 'one } 7\nb 8', labelNames: ['of'], registers })
  for (const [i, of] of ['plain', 'a b', 'a"b', 'a}b 9', 'a\\b', 'a\nb', '{', ''].entries())
    gauge.set({ of }, i / 3)
  new Counter({ name: 'bare_total', help: 'x', registers }).inc(1e21)
  new Gauge({ name: 'strange', help: 'x', registers }).set(Number.NaN)
  const values = parseMetrics(await registry.metrics())
  assert.equal(
    [...values],
    [
      ['a:gauge', [0, 1, 2, 3, 4, 5, 6, 7].map((i) => i / 3)],
      ['bare_total', [1e21]],
    ],
  )
})

test("the server's own metrics have what the charts show", async () => {
  const { vocabSize } = nanoTokenizer
  const { client, url, close } = await startService({
    openRunner: ({ pages }) => new FakeRunner({ vocabSize, pages, pageTokens: 64 }),
  })
  try {
    const read = async (at: number) => readSample(await (await fetch(`${url}/metrics`)).text(), at)
    const before = await read(1000)
    const body = { model: 'nano', prompt: 'Once', max_tokens: 21, seed: 2, ignore_eos: true }
    const { usage } = await client.completions.create(body)
    assert.is(usage!.completion_tokens, 21)
    const after = await read(3000)
    assert.is(after.firstToken.count, 1)
    assert.is(after.interToken.count, 20)
    const point = pointBetween(before, after)
    assert.is(point.throughput, 10.5)
    assert.ok(point.firstToken! > 0)
    assert.ok(point.interToken! > 0)
    assert.equal([point.running, point.waiting, point.cache], [0, 0, 0])
  } finally {
    await close()
  }
})

test('sequences of several engines are summed, and parts of their caches averaged', () => {
  const text = [
    ...['0', '1'].map((engine) => `quattuor:num_requests_running{model_name="m",engine="${engine}"} 3`),
    'quattuor:kv_cache_usage_perc{engine="0"} 0.5',
    'quattuor:kv_cache_usage_perc{engine="1"} 0.25',
  ].join('\n')
  const { running, cache } = readSample(text, 0)
  assert.equal([running, cache], [6, 0.375])
})

test('a point is what happened in between; nothing counted is no value', () => {
  const before = sample({ generated: 100, firstToken: { seconds: 1, count: 4 } })
  const after = sample({
    ...{ milliseconds: 500, generated: 160, running: 7, waiting: 2, cache: 0.25 },
    firstToken: { seconds: 1.5, count: 6 },
  })
  const expected = { throughput: 120, firstToken: 250, interToken: null, running: 7, waiting: 2, cache: 25 }
  assert.equal(pointBetween(before, after), expected)
  const anew = pointBetween(after, sample({ milliseconds: 900, generated: 5 }))
  assert.equal([anew.throughput, anew.firstToken], [null, null])
})

test('events are the same however their bytes come in pieces', async () => {
  const values = [{ text: 'a“ü\n\n🦊' }, { text: 'data: [DONE]' }, { usage: { n: 3 } }]
  const bytes = new TextEncoder().encode(
    `: ping\n\n${values.map((value) => `data: ${JSON.stringify(value)}\n\n`).join(': ping\n\n')}data: [DONE]\n\ndata: 1\n\n`,
  )
  for (const size of [1, 2, 3, 7, 50, bytes.length]) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      bytes.slice(i * size, (i + 1) * size),
    )
    const got: unknown[] = []
    for await (const value of readEvents(new Blob(pieces).stream())) got.push(value)
    assert.equal(got, values, `pieces of ${size}`)
  }
})

test('a stream that breaks off or tells of an error throws, and what waits for it ends', async () => {
  const read = async (text: string) => {
    for await (const _ of readEvents(new Blob([text]).stream()));
  }
  const failure = (text: string) =>
    read(text).then(
      () => '',
      ({ message }: Error) => message,
    )
  assert.is(await failure('data: {}\n\ndata: {"a"'), 'the answer broke off')
  assert.is(await failure('data: {"error": {"message": "no more pages"}}\n\n'), 'no more pages')
})

test('lines stop where values are missing, and stay within the chart', () => {
  const lines = linesThrough([1, 2, null, 4, null, null, 5], 5)
  assert.equal(
    lines.map((line) => line.split(' ').length),
    [2, 2, 2],
  )
  const values = Array.from({ length: 120 }, (_, i) => i)
  const points = linesThrough(values, roundUp(119))[0]!
    .split(' ')
    .map((point) => point.split(',').map(Number))
  assert.is(points.length, 120)
  for (const [x, y] of points) assert.ok(x! >= 0 && x! <= 300 && y! >= 0 && y! <= 72)
  assert.ok(points.every(([x, y], i) => i === 0 || (x! > points[i - 1]![0]! && y! < points[i - 1]![1]!)))
  assert.equal([0, 0.3, 1, 1.1, 3, 5, 7, 119, 2000].map(roundUp), [1, 0.5, 1, 2, 5, 5, 10, 200, 2000])
})

test.run()
