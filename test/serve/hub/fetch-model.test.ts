import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { download } from '../../../serve/hub/download.ts'
import { fetchModel } from '../../../serve/hub/fetch-model.ts'
import { parseHubName } from '../../../serve/hub/hub-name.ts'
import { fakeCommit, startFakeHub } from '../../support/fake-hub.ts'
import { rng } from '../../support/rng.ts'
import { temporaryFolder } from '../../support/run-cli.ts'

const hub = await startFakeHub()
test.after(hub.close)

const { integer } = rng(81)
const weights = Buffer.from(Array.from({ length: 300_000 }, () => integer(0, 255)))
const files = {
  'config.json': { content: Buffer.from('{"a": 1}'), large: false },
  'tokenizer.json': { content: Buffer.from('{}'.repeat(500)), large: false },
  'model.safetensors': { content: weights, large: true },
}
const others = [
  'pytorch_model.bin',
  '../evil.json',
  'sub/config.json',
  'README.md',
  'config.json/../../x.json',
  '.gitattributes',
]

test.before.each(() => {
  hub.files.clear()
  for (const [path, file] of Object.entries(files)) hub.files.set(path, file)
  for (const path of others) hub.files.set(path, { content: Buffer.from('evil'), large: false })
  Object.assign(hub, { breakAfter: undefined, status: undefined })
  hub.reads.length = 0
})

const wanted = parseHubName('owner/model')!
const environmentOf = (cache: string, more: Record<string, string> = {}) => ({
  environment: { HF_ENDPOINT: hub.url, HF_HUB_CACHE: cache, ...more },
})

async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    assert.is((error as Error).name, 'HubError')
    return (error as Error).message
  }
  throw new Error('it did not fail')
}

test('the files of a model come into the cache once, and nothing else does', async () => {
  const cache = temporaryFolder()
  const progress: [number, number][] = []
  const options = {
    ...environmentOf(cache),
    onProgress: (done: number, total: number) => progress.push([done, total]),
  }
  const folder = await fetchModel(wanted, options)
  assert.is(folder, join(cache, 'models--owner--model', 'snapshots', fakeCommit))
  assert.equal(readdirSync(folder).sort(), Object.keys(files).sort())
  assert.ok(readFileSync(join(folder, 'model.safetensors')).equals(weights))
  assert.is(readFileSync(join(cache, 'models--owner--model', 'refs', 'main'), 'utf8'), fakeCommit)
  const all = Object.values(files).reduce((sum, { content }) => sum + content.length, 0)
  assert.equal(progress.at(-1), [all, all])
  hub.reads.length = 0
  assert.is(await fetchModel(wanted, environmentOf(cache)), folder)
  assert.equal(hub.reads, [])
})

test('a download that breaks off goes on where it was, also in another process', async () => {
  const cache = temporaryFolder()
  hub.breakAfter = 100_000
  hub.files.delete('config.json')
  hub.files.delete('tokenizer.json')
  hub.files.set('config.json', files['config.json'])
  const folder = await fetchModel(wanted, environmentOf(cache))
  assert.ok(readFileSync(join(folder, 'model.safetensors')).equals(weights))
  const offsets = hub.reads
    .filter((read) => read.startsWith('model'))
    .map((read) => Number(read.split(' ')[1]))
  assert.ok(offsets.length === 2 && offsets[0] === 0 && offsets[1]! > 0, `${offsets}`)

  const second = temporaryFolder()
  const blobs = join(second, 'models--owner--model', 'blobs')
  hub.status = 500
  assert.match(await failure(fetchModel(wanted, environmentOf(second))), 'status 500')
  hub.status = undefined
  const hash = readdirSync(join(cache, 'models--owner--model', 'blobs')).find((name) => name.length === 64)!
  hub.files.delete('model.safetensors')
  hub.files.set('model.safetensors', { ...files['model.safetensors'], hash: 'f'.repeat(64) })
  await failure(fetchModel(wanted, environmentOf(second)))
  hub.files.set('model.safetensors', files['model.safetensors'])
  writeFileSync(join(blobs, `${hash}.incomplete`), weights.subarray(0, 5000))
  hub.reads.length = 0
  await fetchModel(wanted, environmentOf(second))
  assert.equal(hub.reads, ['model.safetensors 5000'])
})

test('a content that is not what the hub says is thrown away', async () => {
  const cache = temporaryFolder()
  hub.files.set('model.safetensors', { ...files['model.safetensors'], hash: 'a'.repeat(64) })
  assert.match(
    await failure(fetchModel(wanted, environmentOf(cache))),
    'model.safetensors is not what the hub says',
  )
  const blobs = readdirSync(join(cache, 'models--owner--model', 'blobs'))
  assert.not(blobs.some((name) => name.startsWith('aaaa')))
  hub.files.set('model.safetensors', { ...files['model.safetensors'], hash: '../../../evil' })
  assert.match(await failure(fetchModel(wanted, environmentOf(cache))), 'gives no hash for model.safetensors')
})

test('a full disk is told at once, and nothing is asked for again', async () => {
  if (!existsSync('/dev/full')) return console.log('skipped: a full disk, because there is no /dev/full')
  const destination = join(temporaryFolder(), 'blob')
  // Every write to it fails as on a full disk.
  symlinkSync('/dev/full', `${destination}.incomplete`)
  let asked = 0
  const readFrom = async () => {
    asked++
    return (async function* () {
      yield new Uint8Array(100)
    })()
  }
  const file = { path: 'model.safetensors', size: 3 * 2 ** 30, hash: 'a'.repeat(64) }
  const message = await failure(download(destination, file, readFrom, () => {}))
  assert.match(message, /the disk of .* is full; free room for model.safetensors, 3.0 GiB/)
  assert.is(asked, 1)
})

test('without a network what is there is taken, and what is not is said', async () => {
  const cache = temporaryFolder()
  const offline = environmentOf(cache, { HF_ENDPOINT: 'http://127.0.0.1:9' })
  const message = await failure(fetchModel(wanted, offline))
  assert.match(message, `owner/model is not in ${cache} and cannot be downloaded: fetch failed`)
  assert.match(message, 'or name a folder that has the model')
  assert.match(
    await failure(fetchModel(wanted, environmentOf(cache, { HF_HUB_OFFLINE: '1' }))),
    'HF_HUB_OFFLINE is set',
  )
  const folder = await fetchModel(wanted, environmentOf(cache))
  assert.is(await fetchModel(wanted, offline), folder)
  assert.is(await fetchModel(wanted, environmentOf(cache, { HF_HUB_OFFLINE: '1' })), folder)
  assert.is(await fetchModel({ ...wanted, revision: fakeCommit }, offline), folder)
})

test('a model that the hub does not give, or that is none, is said in a sentence', async () => {
  const options = environmentOf(temporaryFolder())
  const other = parseHubName('owner/other')!
  assert.match(
    await failure(fetchModel(other, options)),
    'the hub has no model owner/other with the revision main',
  )
  hub.status = 401
  assert.match(await failure(fetchModel(wanted, options)), 'ask for access on its page and set HF_TOKEN')
  hub.status = undefined
  hub.files.delete('model.safetensors')
  assert.match(await failure(fetchModel(wanted, options)), 'has no config.json and model.safetensors')
})

test('names that are none, or lead elsewhere, are not names of the hub', () => {
  assert.equal(parseHubName('a/b.c-d_e@v1.0'), { name: 'a/b.c-d_e', revision: 'v1.0' })
  const none = [
    'model',
    '/a/b',
    'a/b/c',
    '../a',
    'a/..',
    'a/b..c',
    './a',
    'a/b@../x',
    'a/b@',
    'a\\b/c',
    'a/b\0',
    'a /b',
    `a/${'b'.repeat(300)}`,
    'a/b@x/y',
    '-a/b',
  ]
  assert.equal(
    none.filter((name) => parseHubName(name)),
    [],
  )
  assert.not(existsSync('evil.json'))
})

test.run()
