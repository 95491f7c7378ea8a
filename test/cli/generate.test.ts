import { cpSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assertRefused, runCli, temporaryFolder } from '../support/run-cli.ts'
import { tinyConfig, tinyTokenizer, writeTinyModel } from '../support/tiny-model.ts'

const root = temporaryFolder()
const model = await writeTinyModel(join(root, 'float'))
const quantized = join(root, 'quantized')
await runCli('quantize', model, quantized, '--format', 'w4a8kv4')

const greedy = ['--temperature', '0', '--device', 'emulator'] as const
const generate = (folder: string, ...args: string[]) => runCli('generate', folder, ...args, ...greedy)

/** A copy of the quantized model with one file replaced, or taken away. */
function spoiled(name: string, content: string | undefined): string {
  const folder = join(temporaryFolder(), 'model')
  cpSync(quantized, folder, { recursive: true })
  if (content === undefined) rmSync(join(folder, name))
  else writeFileSync(join(folder, name), content)
  return folder
}

test('--json prints one object with the text, its ids and the figures', async () => {
  const { code, out, err } = await generate(quantized, '--prompt', 'hello', '--max-tokens', '4', '--json')
  assert.equal([code, err], [0, ''])
  const result = JSON.parse(out)
  assert.equal(Object.keys(result).sort(), [
    'device',
    'finishReason',
    'ids',
    'promptTokens',
    'text',
    'tokens',
    'tokensPerSecond',
  ])
  assert.equal([result.device, result.promptTokens, result.tokens], ['emulator', 5, 4])
  assert.is(result.ids.length, 4)
  assert.ok(result.ids.every((id: unknown) => Number.isInteger(id)))
  assert.is(typeof result.text, 'string')
  assert.ok(result.tokensPerSecond > 0)
})

test('text goes to standard output after the prompt, and the figures to standard error', async () => {
  const { code, out, err } = await generate(quantized, '--prompt', 'hello', '--max-tokens', '3')
  assert.is(code, 0)
  assert.ok(out.startsWith('hello') && out.endsWith('\n'))
  assert.match(
    err,
    /^\n5 prompt tokens in [\d.]+ s, 2 tokens at [\d.]+ tok\/s on emulator \(loaded in [\d.]+ s\)\n$/,
  )
})

test('a batch gives each prompt what it gets alone', async () => {
  const alone = await generate(quantized, '-p', 'one', '-n', '4', '--json')
  const batch = await generate(quantized, '-p', 'one', '-p', 'and two', '-n', '4', '--json')
  const results = JSON.parse(batch.out)
  assert.is(results.length, 2)
  assert.equal(results[0].ids, JSON.parse(alone.out).ids)
})

test('without --max-tokens, generation ends where the context does', async () => {
  const { out } = await generate(quantized, '-p', 'x'.repeat(125), '--json')
  assert.is(JSON.parse(out).tokens, 3)
})

test('the same seed gives the same text', async () => {
  const run = async (seed: string) => {
    const args = [
      '-p',
      'x',
      '-n',
      '8',
      '--temperature',
      '1.5',
      '--seed',
      seed,
      '--device',
      'emulator',
      '--json',
    ]
    return JSON.parse((await runCli('generate', quantized, ...args)).out).ids
  }
  assert.equal(await run('3'), await run('3'))
})

test('penalties and biases change what is likeliest, and a checkpoint may suggest a penalty', async () => {
  const ids = async (folder: string, ...args: string[]): Promise<number[]> =>
    JSON.parse((await generate(folder, '-p', 'hello', '-n', '8', '--json', ...args)).out).ids
  assert.equal(await ids(quantized, '--logit-bias', '65=1e3', '--logit-bias', '66=-inf'), Array(8).fill(65))
  const forced = ['--logit-bias', '65=30', '--logit-bias', '70=20']
  const penalized = await ids(quantized, ...forced, '--presence-penalty', '15')
  assert.equal(penalized.slice(0, 2), [65, 70])
  const strong = await ids(quantized, '--repetition-penalty', '100')
  assert.ok(new Set(strong).size > new Set(await ids(quantized, '--repetition-penalty', '0.01')).size)
  const suggesting = spoiled('generation_config.json', JSON.stringify({ repetition_penalty: 100 }))
  assert.equal(await ids(suggesting), strong)
})

test('settings of sampling are checked', async () => {
  for (const [args, ...words] of [
    [['--logit-bias', 'A=1'], "'--logit-bias <id=value>'", 'It must be a token id and a number, or -inf'],
    [['--logit-bias', '999=1'], 'token 999', 'not in the vocabulary of 258'],
    [['--repetition-penalty', '0'], 'It must be a number from 0.01 to 100'],
    [['--min-tokens', '-1'], 'It must be a whole number of at least 0'],
    [['--min-tokens', '5', '-n', '4'], '--min-tokens 5 is more than the 4 tokens', 'raise --max-tokens'],
  ] as [string[], ...string[]][])
    assertRefused(await generate(quantized, '-p', 'hello', ...args), ...words)
})

test('what cannot be generated is refused in one sentence, before anything is loaded', async () => {
  for (const [args, ...words] of [
    [[quantized], 'nothing to continue; give --prompt'],
    [[quantized, '--prompt', ''], 'no tokens'],
    [[quantized, '--chat', 'hi'], 'has no chat template; use --prompt'],
    [
      [quantized, '-p', 'x'.repeat(120), '-n', '9'],
      "make 129, and the model's context is 128",
      '--max-tokens to 8',
    ],
    [[quantized, '-p', 'x'.repeat(128)], "128 tokens and the model's context is 128; shorten it"],
    [[join(root, 'nowhere'), '-p', 'x'], 'nowhere is not a folder', 'config.json'],
    [[root, '-p', 'x'], join(root, 'config.json')],
  ] as [string[], ...string[]][])
    assertRefused(await generate(args[0]!, ...args.slice(1)), ...words)
})

test('an unknown device is answered with those that exist', async () => {
  for (const [name, words] of [
    ['emulater', "there is no device 'emulater'; did you mean 'emulator'?"],
    ['gpu', 'This machine has'],
  ] as const)
    assertRefused(await runCli('generate', quantized, '-p', 'x', '--device', name), words)
  assertRefused(await runCli('generate', quantized, '-p', 'x', '--device', 'cuda:99'))
})

test('a missing or foreign tokenizer is named', async () => {
  assertRefused(await generate(spoiled('tokenizer.json', undefined), '-p', 'x'), 'tokenizer.json')
  assertRefused(await generate(spoiled('tokenizer.json', '{"model": '), '-p', 'x'), 'tokenizer.json', 'JSON')
  const unigram = { ...tinyTokenizer, model: { type: 'Unigram', vocab: [['a', -1]] } }
  assertRefused(
    await generate(spoiled('tokenizer.json', JSON.stringify(unigram)), '-p', 'x'),
    'Unigram',
    'not supported',
  )
  // A tokenizer of another model has ids that this one's table lacks.
  const other = { ...tinyTokenizer, added_tokens: [{ id: 700, content: 'fox', special: false }] }
  assertRefused(
    await generate(spoiled('tokenizer.json', JSON.stringify(other)), '-p', 'a fox'),
    'tokenizer.json gives token 700',
    'vocabulary has 258; take the tokenizer that belongs to the model',
  )
})

test('an unknown architecture or a configuration that is none is named', async () => {
  const change = (config: object) => spoiled('config.json', JSON.stringify({ ...tinyConfig, ...config }))
  assertRefused(
    await generate(change({ architectures: ['GPT2LMHeadModel'] }), '-p', 'x'),
    'the architecture GPT2LMHeadModel is not supported; supported are LlamaForCausalLM',
  )
  assertRefused(await generate(change({ hidden_size: 'wide' }), '-p', 'x'), 'config.json', 'hidden_size')
  assertRefused(await generate(change({ hidden_size: 256 }), '-p', 'x'), 'tensor')
  assertRefused(await generate(spoiled('config.json', 'hello'), '-p', 'x'), 'config.json', 'JSON')
})

test.run()
