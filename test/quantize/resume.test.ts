import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Checkpoint, openCheckpoint } from '../../checkpoint/open.ts'
import { QuantizeError } from '../../quantize/error.ts'
import { quantizeCheckpoint } from '../../quantize/quantize-checkpoint.ts'
import { checkRecipe } from '../../quantize/recipe.ts'
import { rng } from '../support/rng.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-resume-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))

const layers = 3
const model = await writeTinyModel(join(root, 'model'), 3, layers)
const { integer, uniform } = rng(4)
const options = {
  producer: 'p',
  seed: 1,
  // With measuring there are two sets of hidden states to go on with.
  measure: true,
  storeEverySeconds: 0,
  calibration: { ids: Int32Array.from({ length: 24 }, () => integer(0, 255)), window: 12 },
}
const recipe = checkRecipe(
  {
    name: 'test',
    weights: 'w4a8-g32',
    kv: 4,
    passes: [{ pass: 'rotate' }, { pass: 'center-keys' }, { pass: 'rtn' }],
  },
  'test',
)

class Stopped extends Error {}

const files = (folder: string): Map<string, string> =>
  new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'base64')]))

const src: Checkpoint = openCheckpoint(model)
let events = 0
const wholeResult = await quantizeCheckpoint(join(root, 'whole'), src, recipe, {
  ...options,
  onProgress: () => events++,
})
const whole = files(join(root, 'whole'))

test('stopped anywhere, time and again, a run gives the bytes and the notes of one that is not', async () => {
  for (let round = 0; round < 20; round++) {
    const dst = join(root, `stopped-${round}`)
    let result: unknown
    for (let stops = 0; result === undefined; stops++) {
      let left = stops < 3 ? integer(1, events) : Number.POSITIVE_INFINITY
      try {
        result = await quantizeCheckpoint(dst, src, recipe, {
          ...options,
          // Some runs keep hidden states after every layer, and some never.
          storeEverySeconds: uniform() < 0.5 ? 0 : 1e9,
          onProgress() {
            if (--left === 0) throw new Stopped()
          },
        })
      } catch (error) {
        if (!(error instanceof Stopped)) throw error
        // At the last event of all the weights are complete.
        if (existsSync(join(dst, 'model.safetensors'))) assert.equal(files(dst), whole)
      }
    }
    assert.equal(files(dst), whole)
    assert.equal(result, wholeResult)
    assert.not(existsSync(`${dst}.quantizing`))
  }
})

test('killed in the middle of anything, the command line goes on to the same bytes', async () => {
  const main = fileURLToPath(new URL('../../cli/main.ts', import.meta.url))
  const text = join(model, 'tokenizer.json')
  const path = join(root, 'recipe.json')
  writeFileSync(path, JSON.stringify(recipe))
  const start = (dst: string) =>
    spawn(
      process.execPath,
      [
        ...['--import', 'tsx', main, 'quantize', model, dst, '--recipe', path, '--device', 'host'],
        ...['--calibration', text, '--calibration-windows', '2', '--window', '32'],
      ],
      { stdio: 'ignore' },
    )
  const ended = (child: ReturnType<typeof start>) =>
    new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
  assert.is(await ended(start(join(root, 'cli-whole'))), 0)
  const dst = join(root, 'cli-killed')
  const state = `${dst}.quantizing`
  const kills = Number(process.env.QUATTUOR_TEST_KILLS ?? 1)
  for (let kill = 0; kill < kills; kill++) {
    // Somewhere between the first file of the run's state, or the first layer that is still to come, and the end.
    const awaited =
      kill % 2 === 0 && !existsSync(join(state, 'layer-1.safetensors')) ? 'layer-1.safetensors' : 'run.json'
    const child = start(dst)
    const end = ended(child)
    while (
      child.exitCode === null &&
      !existsSync(join(state, awaited)) &&
      !existsSync(join(dst, 'model.safetensors'))
    )
      await new Promise((resolve) => setTimeout(resolve, 5))
    await new Promise((resolve) => setTimeout(resolve, kill === 0 ? 0 : 200 * uniform()))
    child.kill('SIGKILL')
    if (kill === 0) assert.is(await end, null, 'it was killed')
    if ((await end) === 0) {
      assert.equal(files(dst), files(join(root, 'cli-whole')))
      rmSync(dst, { recursive: true })
    }
  }
  assert.is(await ended(start(dst)), 0)
  assert.equal(files(dst), files(join(root, 'cli-whole')))
})

test('two runs do not write to one place, and a lock that nobody holds is taken over', async () => {
  const dst = join(root, 'locked')
  const state = `${dst}.quantizing`
  let second: unknown
  let inside = false
  await quantizeCheckpoint(dst, src, recipe, {
    ...options,
    onProgress() {
      if (inside) return
      inside = true
      second = quantizeCheckpoint(dst, src, recipe, options).catch((error: unknown) => error)
    },
  })
  assert.instance(await second, QuantizeError)
  assert.match(((await second) as Error).message, `locked.quantizing is in use by process ${process.pid}`)
  assert.equal(files(dst), whole)
  rmSync(dst, { recursive: true })
  const locked = (pid: number): void => {
    mkdirSync(state, { recursive: true })
    writeFileSync(join(state, 'lock'), JSON.stringify({ pid, host: hostname() }))
  }
  locked(process.ppid)
  const refused = await quantizeCheckpoint(dst, src, recipe, options).catch((error: unknown) => error)
  assert.match((refused as Error).message, `in use by process ${process.ppid}`)
  const gone = spawn(process.execPath, ['-e', ''])
  await new Promise((resolve) => gone.once('exit', resolve))
  for (const pid of [gone.pid!, process.pid]) {
    locked(pid)
    await quantizeCheckpoint(dst, src, recipe, options)
    assert.equal(files(dst), whole)
    rmSync(dst, { recursive: true })
  }
})

test('what another run has left is not gone on with', async () => {
  const dst = join(root, 'other')
  const stopAt = (left: number) => () => {
    if (--left === 0) throw new Stopped()
  }
  const run = (changes: Partial<typeof options>, by = recipe): Promise<unknown> =>
    quantizeCheckpoint(dst, src, by, { ...options, ...changes, onProgress: stopAt(12) }).catch(
      (error: unknown) => error,
    )
  assert.instance(await run({}), Stopped)
  for (const changed of [
    await run({ seed: 2 }),
    await run({}, { ...recipe, kv: 8 }),
    await run({ calibration: { ...options.calibration, ids: options.calibration.ids.map((id) => id ^ 1) } }),
  ]) {
    assert.instance(changed, QuantizeError)
    assert.match((changed as Error).message, 'other.quantizing holds what another run has left')
  }
  assert.not.instance(await run({}), QuantizeError)
})

test('one seed gives the same bytes again, and another seed other ones', async () => {
  const signed = { ...recipe, passes: [{ pass: 'rotate', signs: true }, { pass: 'rtn' }] }
  const bytes = async (name: string, seed: number) => {
    await quantizeCheckpoint(join(root, name), src, signed, { ...options, measure: false, seed })
    return files(join(root, name)).get('model.safetensors')
  }
  const first = await bytes('seed-a', 7)
  assert.is(await bytes('seed-b', 7), first)
  assert.is.not(await bytes('seed-c', 8), first)
})

test.after(() => src.close())
test.run()
