import { type ChildProcess, execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import OpenAI from 'openai'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { startFakeHub } from '../support/fake-hub.ts'
import { assertRefused, runCli, spawnCli, temporaryFolder } from '../support/run-cli.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

const root = temporaryFolder()
const model = join(root, 'tiny')
await runCli('quantize', await writeTinyModel(join(root, 'float')), model, '--format', 'w4a8kv4')
const sizes = ['--context', '100', '--sequences', '2', '--step-tokens', '16']
const small = ['--device', 'emulator', ...sizes]

/** Starts the command on any port; returns its address when it is ready, and what it said until then. */
async function startServing(
  ...options: string[]
): Promise<{ url: string; child: ChildProcess; said: string }> {
  const child = spawnCli(['serve', model, '--port', '0', ...sizes, ...options])
  let said = ''
  return new Promise((resolve, reject) => {
    child.stderr!.setEncoding('utf8').on('data', (piece: string) => {
      said += piece
      const [, url] = /is ready on (http:\S+)/.exec(said) ?? []
      if (url !== undefined) resolve({ url, child, said })
    })
    child.once('close', () => reject(new Error(`it ended: ${said}`)))
  })
}

/** Numbers of the processes that run steps for `child`. */
function engineProcesses(child: ChildProcess): number[] {
  return execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' })
    .split('\n')
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
    .filter(
      (match) => match !== null && Number(match[2]) === child.pid && match[3]!.includes('process/child'),
    )
    .map((match) => Number(match![1]))
}

test('a model is served without a GPU, through the death of its process, until SIGTERM', async () => {
  const { url, child, said } = await startServing(
    ...['--device', 'emulator', '--api-key', 'secret', '--log-level', 'silent'],
  )
  const ended = new Promise((resolve) => child.once('close', (code) => resolve(code)))
  try {
    assert.match(said, /device +emulator/)
    assert.match(said, /context +100 tokens/)
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'secret', maxRetries: 0 })
    const body = { model: 'tiny', prompt: 'Once', max_tokens: 60, temperature: 0, ignore_eos: true }
    const whole = await client.completions.create(body)
    assert.is(whole.usage!.completion_tokens, 60)
    const guided = { model: 'tiny', prompt: 'Once', max_tokens: 30, n: 2, guided_regex: '[a-c]{4}-(yes|no)' }
    const { choices } = await client.completions.create(guided)
    for (const { text } of choices) assert.match(text, /^[a-c]{4}-(yes|no)$/)
    let text = ''
    let killed = 0
    for await (const chunk of await client.completions.create({ ...body, stream: true })) {
      text += chunk.choices[0]!.text
      if (killed === 0 && text.length > 10)
        for (const pid of engineProcesses(child)) {
          process.kill(pid, 'SIGKILL')
          killed++
        }
    }
    assert.is(killed, 1)
    assert.is(text, whole.choices[0]!.text)
  } finally {
    child.kill('SIGTERM')
  }
  assert.is(await ended, 0)
})

test('several devices share the requests, and go on with those of one that dies', async () => {
  const { url, child, said } = await startServing('--gpus', 'emulator,emulator', '--log-level', 'silent')
  try {
    assert.match(said, /device +emulator .*, and 1 more/)
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 })
    const ask = (seed: number) =>
      client.completions.create({
        model: 'tiny',
        prompt: 'Once',
        max_tokens: 40,
        seed,
        ignore_eos: true,
      } as never)
    const textOf = (answer: unknown) => (answer as OpenAI.Completion).choices[0]!.text
    const alone = textOf(await ask(0))
    const together = Promise.all([0, 1, 2, 3].map(ask))
    const metrics = async () => (await fetch(`${url}/metrics`)).text()
    const running = /num_requests_running\{(?=[^}]*engine="1")[^}]*\} [1-9]/
    while (!running.test(await metrics())) await new Promise((resolve) => setTimeout(resolve, 20))
    const processes = engineProcesses(child)
    assert.is(processes.length, 2)
    process.kill(processes[1]!, 'SIGKILL')
    assert.is(textOf((await together)[0]), alone)
    assert.match(await metrics(), /engine_restarts_total\{[^}]*\} 1/)
  } finally {
    child.kill('SIGTERM')
  }
})

test('a batch is answered, and goes on from what it has', async () => {
  const [input, output] = [join(root, 'in.jsonl'), join(root, 'out.jsonl')]
  const body = { model: 'tiny', max_tokens: 3, temperature: 0 }
  const line = (id: string, more: object) =>
    JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/completions', body: { ...body, ...more } })
  writeFileSync(
    input,
    [line('a', { prompt: 'x' }), line('b', { prompt: '' }), line('c', { n: 0 })].join('\n'),
  )
  const batch = () => runCli('batch', input, output, '--model', model, ...small)
  const first = await batch()
  assert.equal([first.code, first.out], [0, ''])
  assert.match(first.err, '3 requests answered; 2 with an error')
  const answers = readFileSync(output, 'utf8')
  const [a] = answers.split('\n').filter((text) => text.includes('"custom_id":"a"'))
  assert.is(JSON.parse(a!).response.body.usage.completion_tokens, 3)
  const second = await batch()
  assert.match(second.err, '3 requests answered, 3 of them before; 0 of those answered now with an error')
  assert.is(readFileSync(output, 'utf8'), answers)
  assertRefused(
    await runCli('batch', join(root, 'none'), output, '--model', model, ...small),
    'does not exist',
  )
})

test('a model is taken from the hub by its name', async () => {
  const hub = await startFakeHub()
  for (const path of readdirSync(model))
    hub.files.set(path, { content: readFileSync(join(model, path)), large: path.endsWith('.safetensors') })
  const { HF_ENDPOINT, HF_HUB_CACHE } = process.env
  Object.assign(process.env, { HF_ENDPOINT: hub.url, HF_HUB_CACHE: join(root, 'hub') })
  try {
    const ask = ['--prompt', 'Once', '--max-tokens', '4', '--device', 'emulator']
    const [named, inFolder] = [
      await runCli('generate', 'owner/model', ...ask),
      await runCli('generate', model, ...ask),
    ]
    assert.equal([named.code, named.out], [0, inFolder.out])
  } finally {
    await hub.close()
    for (const [name, value] of Object.entries({ HF_ENDPOINT, HF_HUB_CACHE }))
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
  }
})

test('what cannot be served is said in a sentence', async () => {
  assertRefused(await runCli('serve', '/nonexistent', ...small), '/nonexistent is not a folder')
  assertRefused(await runCli('serve', model, '--device', 'abacus'), 'abacus')
  process.env.HF_HUB_OFFLINE = '1'
  assertRefused(await runCli('serve', 'owner/model', ...small), 'owner/model is not in ')
  assertRefused(await runCli('serve', model, '--gpus', '0,', ...sizes), 'commas between')
  assertRefused(await runCli('serve', '--random-weights', 'llama-9'), 'there is no shape llama-9')
  assertRefused(await runCli('serve', ...small), 'name a model')
  assertRefused(await runCli('serve', model, '--sequences', '0'), 'whole number of at least 1')
  assertRefused(await runCli('serve', model, '--port', '65536'), 'from 0 to 65535')
  assertRefused(await runCli('serve', model, '--log-level', 'loud'), 'Allowed choices are fatal')
  assertRefused(await runCli('serve', model, '--host', '192.0.2.1'), 'cannot be listened on')
  const other = createServer()
  const port = await new Promise<number>((resolve) =>
    other.listen(0, '127.0.0.1', () => resolve((other.address() as AddressInfo).port)),
  )
  const taken = await runCli('serve', model, '--port', String(port), ...small)
  other.close()
  assertRefused(taken, `port ${port} of 127.0.0.1 is taken`)
})

test.run()
