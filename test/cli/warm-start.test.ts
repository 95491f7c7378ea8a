import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runCli, temporaryFolder } from '../support/run-cli.ts'
import { writeTinyModel } from '../support/tiny-model.ts'
import type { Trace } from '../support/trace-modules.ts'

const here = dirname(fileURLToPath(import.meta.url))
const built = import.meta.url.endsWith('.js')
const root = resolve(here, built ? '../../..' : '../..')
const folder = temporaryFolder()
const model = join(folder, 'model')
await runCli('quantize', await writeTinyModel(join(folder, 'float')), model, '--format', 'w4a8kv4')

/** Whether `dist` was built from the sources as they are. */
function isCurrent(): boolean {
  const main = join(root, 'dist/cli/main.js')
  if (!existsSync(main)) return false
  const builtAt =
    statSync(join(root, 'dist/test/support/trace-modules.js'), { throwIfNoEntry: false })?.mtimeMs ?? 0
  const folders = ['cli', 'serve', 'models', 'checkpoint', 'kernels', 'runtime', 'codegen', 'dsl']
  return folders.every((each) =>
    readdirSync(join(root, each), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .every((name) => statSync(join(root, each, name)).mtimeMs <= builtAt),
  )
}

/** Generates one token in a process of its own and returns its trace. */
function trace(cache: string, args: readonly string[], preload: string, main: string): Trace {
  const file = join(folder, 'trace.json')
  const command = [
    ...args,
    '--import',
    preload,
    main,
    'generate',
    model,
    '-p',
    'x',
    '-n',
    '1',
    '--device',
    'emulator',
  ]
  const run = spawnSync(process.execPath, command, {
    encoding: 'utf8',
    env: { ...process.env, QUATTUOR_CACHE: cache, QUATTUOR_TRACE: file },
  })
  assert.is(run.status, 0, run.stderr)
  return JSON.parse(readFileSync(file, 'utf8'))
}

const compilers = ({ required }: Trace): string[] =>
  required.filter((path) => /[\\/]node_modules[\\/](typescript|ts-morph|@ts-morph)[\\/]/.test(path))

const source = (path: string) => join(root, path)

test('a second process, with the cache filled by the first, loads neither ts-morph nor typescript', () => {
  const cache = temporaryFolder()
  const run = () =>
    trace(cache, ['--import', 'tsx'], source('test/support/trace-modules.ts'), source('cli/main.ts'))
  assert.ok(compilers(run()).length > 0, 'the first process compiles')
  assert.equal(compilers(run()), [])
})

if (!isCurrent())
  console.log('skipped: the time of a warm start, because dist is absent or older than the sources')
else
  test('a warm start reaches the first step soon, apart from loading the model', () => {
    const cache = temporaryFolder()
    const run = () =>
      trace(cache, [], source('dist/test/support/trace-modules.js'), source('dist/cli/main.js'))
    run()
    const times = Array.from({ length: 3 }, () => {
      const warm = run()
      assert.equal(compilers(warm), [])
      const { 'quattuor:load': load, 'quattuor:loaded': loaded, 'quattuor:first-step': step } = warm.marks
      const time = (clock: 'wall' | 'cpu') => load![clock] + step![clock] - loaded![clock]
      return { wall: time('wall'), cpu: time('cpu') }
    })
    const best = Math.min(...times.map(({ wall }) => wall))
    const used = Math.min(...times.map(({ cpu }) => cpu))
    console.log(
      `warm start to the first step, without loading the model: ${best.toFixed(0)} ms, ` +
        `${used.toFixed(0)} ms of processor time (best of ${times.length})`,
    )
    // On an idle machine it takes below 300 ms. Processor time counts little of what else the machine does.
    assert.ok(used < 1500, `${times.map(({ cpu }) => cpu)} ms of processor time`)
  })

test.run()
