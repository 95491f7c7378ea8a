import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { rng } from '../support/rng.ts'
import { assertRefused, runCli, temporaryFolder } from '../support/run-cli.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

const root = temporaryFolder()
const model = join(root, 'quantized')
await runCli('quantize', await writeTinyModel(join(root, 'float')), model, '--format', 'w4a8kv4')
const { integer } = rng(9)
const text = join(root, 'text.txt')
writeFileSync(text, String.fromCharCode(...Array.from({ length: 100 }, () => integer(97, 122))))

const evaluate = (...args: string[]) => runCli('eval', 'perplexity', model, ...args, '--device', 'emulator')

test('--json prints one object: the perplexity of all windows, and what was measured', async () => {
  const { code, out, err } = await evaluate('--text', text, '--window', '64', '--json')
  assert.equal([code, err], [0, ''])
  const result = JSON.parse(out)
  assert.ok(result.perplexity > 1 && Number.isFinite(result.perplexity))
  assert.equal([result.windows, result.format, result.device], [2, 'w4a8kv4', 'emulator'])
  // The first token has nothing before it to be predicted from.
  assert.is(result.tokens, 99)
})

test('the text may be cut, and the line for people says the same', async () => {
  const { code, out } = await evaluate('--text', text, '--window', '32', '--limit', '40')
  assert.is(code, 0)
  assert.match(out, /^perplexity [\d.]+ {2}\(w4a8kv4, 39 tokens, 2 windows of 32, emulator, [\d.]+ s\)\n$/)
})

test('--reference computes the same on the host, in floats', async () => {
  const run = await runCli(
    'eval',
    'perplexity',
    model,
    '--text',
    text,
    '--window',
    '33',
    '--reference',
    '--json',
    '--device',
    'host',
  )
  assert.equal([run.code, run.err], [0, ''])
  const reference = JSON.parse(run.out)
  const kernels = JSON.parse((await evaluate('--text', text, '--window', '33', '--json')).out)
  assert.equal([reference.device, reference.windows, reference.tokens], ['host', 3, 99])
  assert.ok(
    Math.abs(reference.perplexity / kernels.perplexity - 1) < 0.02,
    `${reference.perplexity} ${kernels.perplexity}`,
  )
})

test('what cannot be measured is refused in one sentence', async () => {
  const short = join(root, 'short.txt')
  writeFileSync(short, 'x')
  for (const [args, ...words] of [
    [['--text', join(root, 'none.txt')], 'none.txt does not exist'],
    [['--text', root], 'is a folder and a file is expected'],
    [['--text', short, '--window', '64'], 'fewer than two tokens'],
    [['--text', text, '--window', '129'], "the model's context is 128 tokens; lower --window 129"],
    [['--text', text, '--window', '64', '--device', 'emulators'], "did you mean 'emulator'?"],
  ] as [string[], ...string[]][]) {
    const run = await runCli('eval', 'perplexity', model, ...args)
    assertRefused(run, ...words)
  }
})

test('models are held against the first: the same one is no distance away, others are', async () => {
  const float = join(root, 'float')
  const page = join(root, 'compared.html')
  const args = ['--text', text, '--window', '64', '--device', 'emulator']
  const { code, out, err } = await runCli(
    'eval',
    'compare',
    float,
    model,
    float,
    ...args,
    '--json',
    '--report',
    page,
  )
  assert.equal([code, err], [0, ''])
  const { models, window, tokens } = JSON.parse(out)
  assert.equal([window, tokens], [64, 99])
  assert.equal(
    models.map(({ format }: { format: string }) => format),
    ['bf16', 'w4a8kv4', 'bf16'],
  )
  const [first, other, again] = models
  for (const same of [first, again]) {
    assert.ok(same.divergence < 1e-6 && same.agreement === 1)
    assert.is(same.perplexity, first.perplexity)
  }
  assert.ok(other.divergence > 1e-4 && other.agreement <= 1 && other.weightBytes < first.weightBytes)
  const alone = JSON.parse((await evaluate('--text', text, '--window', '64', '--json')).out)
  assert.ok(Math.abs(alone.perplexity / other.perplexity - 1) < 1e-4)
  const html = readFileSync(page, 'utf8')
  assert.match(html, other.perplexity.toFixed(4))
  assert.not.match(html, /(?:src|href)=|<script/)
  assertRefused(await runCli('eval', 'compare', model, ...args), 'takes two models or more')
})

test.run()
