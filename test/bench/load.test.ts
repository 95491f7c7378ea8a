import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { percentile, runLoad } from '../../bench/load.ts'
import { FakeRunner } from '../../serve/engine/fake-runner.ts'
import { nanoTokenizer, startService } from '../support/http-service.ts'

const { vocabSize } = nanoTokenizer

test('every request is sent at its time and measured from then, or counted as an error', async () => {
  const service = await startService({
    openRunner: ({ pages }) => new FakeRunner({ vocabSize, pages, pageTokens: 64, stepMilliseconds: 5 }),
  })
  const body = {
    model: 'nano',
    prompt: [1, 2],
    ignore_eos: true,
    stream: true,
    stream_options: { include_usage: true },
  }
  const { samples, errors } = await runLoad({
    url: `${service.url}/v1/completions`,
    headers: {},
    arrivals: [0, 10, 20, 150, 160],
    body: (index) => JSON.stringify({ ...body, max_tokens: index === 3 ? 0 : 10 }),
  })
  await service.close()
  assert.is(samples.length, 4)
  assert.is(errors.length, 1)
  assert.match(errors[0]!, 'status 400')
  for (const { firstToken, end, tokens } of samples) {
    assert.is(tokens, 10)
    // A busy client may see the first token late, but none before its time.
    assert.ok(firstToken >= 4 && end >= Math.max(firstToken, 10 * 4), `${firstToken} ${end}`)
  }
})

test('percentiles are values that were measured', () => {
  const values = [5, 1, 4, 2, 3]
  assert.equal(
    [0, 0.5, 0.9, 1].map((part) => percentile(values, part)),
    [1, 3, 5, 5],
  )
  assert.is(percentile([], 0.5), null)
})

test.run()
