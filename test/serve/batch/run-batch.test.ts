import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { BatchError, type BatchRequest } from '../../../serve/batch/batch-file.ts'
import { runBatch } from '../../../serve/batch/run-batch.ts'
import { rng } from '../../support/rng.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-batch-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))

const line = (id: string, more: object = {}) =>
  JSON.stringify({
    custom_id: id,
    method: 'POST',
    url: '/v1/completions',
    body: { prompt: `${id} 😀` },
    ...more,
  })

function files(lines: readonly string[]): { input: string; output: string } {
  const folder = mkdtempSync(join(root, 'x-'))
  const input = join(folder, 'in.jsonl')
  writeFileSync(input, `${lines.join('\n')}\n`)
  return { input, output: join(folder, 'out.jsonl') }
}

const results = (output: string) =>
  readFileSync(output, 'utf8')
    .trimEnd()
    .split('\n')
    .map((text) => JSON.parse(text))

const echo = async ({ body }: BatchRequest) => ({ status: 200, requestId: 'r', body: { echo: body.prompt } })

test('every line has its answer, in the shape of the OpenAI API', async () => {
  const { input, output } = files([line('a'), '', line('b')])
  const seen: number[] = []
  const result = await runBatch(input, output, {
    concurrency: 2,
    answer: echo,
    onProgress: (done, total) => seen.push(done / total),
  })
  assert.equal(result, { total: 2, resumed: 0, failed: 0 })
  const [first] = results(output).sort((a, b) => (a.custom_id < b.custom_id ? -1 : 1))
  assert.match(first.id, /^batch_req_/)
  assert.equal(
    { ...first, id: '' },
    {
      id: '',
      custom_id: 'a',
      response: { status_code: 200, request_id: 'r', body: { echo: 'a 😀' } },
      error: null,
    },
  )
  assert.equal(seen, [0, 0.5, 1])
})

test('lines that are wrong, or refused, are errors of their own', async () => {
  const { input, output } = files(['{"custom_id": ', line('b', { url: '/v1/images' }), line('c'), '[]'])
  const answer = async () => ({ status: 400, requestId: 'r', body: { error: { message: 'no' } } })
  const result = await runBatch(input, output, { concurrency: 1, answer })
  assert.equal(result, { total: 4, resumed: 0, failed: 4 })
  const [json, url, refused, list] = results(output)
  assert.equal([json.custom_id, json.response], ['line-1', null])
  assert.match(json.error.message, 'line 1 is not JSON')
  assert.match(url.error.message, 'line 2: url is /v1/completions or')
  assert.equal([refused.custom_id, refused.response.status_code, refused.error], ['c', 400, null])
  assert.match(list.error.message, 'line 4')
})

test('a batch that is killed anywhere, even within a write, goes on without losing or repeating a line', async () => {
  const ids = Array.from({ length: 30 }, (_, i) => `request-${i}`)
  const { input, output } = files(ids.map((id) => line(id)))
  const { integer } = rng(71)
  let answered = 0
  for (let killed = 0; killed < 12; killed++) {
    const dies = integer(1, 5)
    let left = dies
    const answer = async (request: BatchRequest) => {
      if (left-- === 0) throw new Error('killed')
      answered++
      return echo(request)
    }
    try {
      await runBatch(input, output, { concurrency: 1, answer })
    } catch (error) {
      assert.match((error as Error).message, 'killed')
    }
    // The last write was cut off.
    const bytes = readFileSync(output).length
    if (killed % 3 === 0) truncateSync(output, bytes - integer(1, 20))
    else if (killed % 3 === 1)
      appendFileSync(output, '{"id":"batch_req_0123","custom_id":"😀'.slice(0, 3 * killed))
  }
  const { resumed } = await runBatch(input, output, { concurrency: 3, answer: echo })
  assert.ok(resumed > 0 && answered > 0)
  assert.equal(
    results(output)
      .map(({ custom_id }) => custom_id)
      .sort(),
    [...ids].sort(),
  )
})

test('a failure of the server is not written, so that the line is asked again', async () => {
  const { input, output } = files([line('a')])
  const down = async () => ({ status: 503, requestId: 'r', body: {} })
  try {
    await runBatch(input, output, { concurrency: 2, answer: down })
    assert.unreachable()
  } catch (error) {
    assert.instance(error, BatchError)
    assert.match((error as Error).message, 'status 503; run the command again')
  }
  assert.is(readFileSync(output, 'utf8'), '')
  assert.is((await runBatch(input, output, { concurrency: 2, answer: echo })).failed, 0)
})

test('files that are no batch are refused', async () => {
  const refused = async (lines: readonly string[], before: string, message: string) => {
    const { input, output } = files(lines)
    writeFileSync(output, before)
    try {
      await runBatch(input, output, { concurrency: 1, answer: echo })
    } catch (error) {
      assert.instance(error, BatchError)
      assert.match((error as Error).message, message)
      assert.is(readFileSync(output, 'utf8'), before)
      return
    }
    assert.unreachable(message)
  }
  await refused([line('a'), line('a')], '', 'two lines with the custom_id "a"')
  await refused([line('a')], 'my diary\n', 'line 1 of')
  await refused([line('a')], 'my diary', 'line 1 of')
})

test.run()
