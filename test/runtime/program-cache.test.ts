import { spawn } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { targets } from '../../codegen/target.ts'
import { kernel } from '../../dsl/kernel.ts'
import { canonicalJson } from '../../runtime/canonical-json.ts'
import { compilerFingerprint } from '../../runtime/compiler-fingerprint.ts'
import { absolutePath, packageRoot, portablePath } from '../../runtime/package-root.ts'
import { cacheFolder, ProgramCache } from '../../runtime/program-cache.ts'
import { ProgramStore } from '../../runtime/program-store.ts'
import { compiledFrom } from '../support/compiled-from.ts'
import { rng } from '../support/rng.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-cache-'))
process.once('exit', () => rmSync(root, { recursive: true, force: true }))

let count = 0
/** A folder and a source file that no other test uses, and caches over them that count compilations. */
function setup(options: { limitBytes?: number } = {}) {
  const base = join(root, String(count++))
  mkdirSync(base)
  const folder = join(base, 'programs')
  const source = join(base, 'kernel.ts')
  writeFileSync(source, `export const text = ${rng(count).integer(0, 1e9)}`)
  const declared = kernel(pathToFileURL(source).href, { grid: () => [1], block: [32] }, function some() {})
  const compiled: string[] = []
  const warnings: string[] = []
  /** As another process would see the folder. */
  const open = (fingerprint = 'one', at = folder) =>
    new ProgramCache({
      stores: [new ProgramStore(at, { ...options, warn: (message) => warnings.push(message) })],
      fingerprint: () => fingerprint,
      compile: (k, config) => {
        compiled.push(canonicalJson(config))
        return compiledFrom(source, k.name, config)
      },
    })
  const entries = () => readdirSync(folder).map((name) => join(folder, name))
  return { base, folder, source, declared, compiled, warnings, open, entries }
}

test('a program is compiled once, then found in memory, and by another process on disk', async () => {
  const { declared, compiled, open, source } = setup()
  const cache = open()
  const [a, b] = await Promise.all([
    cache.load(declared, { size: 1 }, targets.sm_80),
    cache.load(declared, { size: 1 }, targets.sm_80),
  ])
  assert.is(a, b, 'two at once compile once')
  const other = open()
  const c = await other.load(declared, { size: 1 }, targets.sm_80)
  assert.is(compiled.length, 1)
  assert.equal(c, compiledFrom(source, 'some', { size: 1 }))
  const { hits, misses, store } = await other.statistics()
  assert.equal([hits, misses, store?.entries], [1, 0, 1])
})

test('constants, target, compiler and kernel each tell programs apart; the order of constants does not', async () => {
  const { declared, compiled, open, source } = setup()
  await open().load(declared, { a: 1, b: [true, null, 'x'] }, targets.sm_80)
  await open().load(declared, { b: [true, null, 'x'], a: 1 }, targets.sm_80)
  assert.is(compiled.length, 1)
  await open().load(declared, { a: 1, b: [true, null, 'y'] }, targets.sm_80)
  await open().load(declared, { a: 1, b: [true, null, 'x'] }, targets.sm_90a)
  await open('two').load(declared, { a: 1, b: [true, null, 'x'] }, targets.sm_80)
  const namesake = kernel(pathToFileURL(source).href, { grid: () => [1], block: [32] }, function other() {})
  await open().load(namesake, { a: 1, b: [true, null, 'x'] }, targets.sm_80)
  assert.is(compiled.length, 5)
})

test('a change in any source file recompiles, and the old text finds the new program no more', async () => {
  const { declared, compiled, open, source } = setup()
  const first = await open().load(declared, {}, targets.sm_80)
  writeFileSync(source, 'export const text = "changed"')
  const second = await open().load(declared, {}, targets.sm_80)
  assert.is(compiled.length, 2)
  assert.is.not(second.ptx, first.ptx)
  rmSync(source)
  await open()
    .load(declared, {}, targets.sm_80)
    .then(
      () => assert.unreachable('a missing source must not be a hit'),
      (error: NodeJS.ErrnoException) => assert.is(error.code, 'ENOENT'),
    )
})

test('an entry cut short, altered or replaced by rubbish is compiled again and mended', async () => {
  const spoil: ((path: string) => void)[] = [
    (path) => truncateSync(path, 1000),
    (path) => truncateSync(path, 0),
    (path) => writeFileSync(path, readFileSync(path, 'utf8').replace('some', 'same')),
    (path) => writeFileSync(path, '{"name":"some"}'),
    (path) => writeFileSync(path, `${readFileSync(path, 'utf8')} `),
  ]
  const { declared, compiled, open, entries, source } = setup()
  await open().load(declared, {}, targets.sm_80)
  for (const [i, damage] of spoil.entries()) {
    damage(entries()[0]!)
    const program = await open().load(declared, {}, targets.sm_80)
    assert.equal(program, compiledFrom(source, 'some', {}))
    assert.is(compiled.length, 2 + i)
    await open().load(declared, {}, targets.sm_80)
    assert.is(compiled.length, 2 + i, 'mended')
  }
})

test('the least recently used programs go when the folder outgrows its limit', async () => {
  const { declared, open, entries, compiled } = setup({ limitBytes: 24_000 })
  const cache = open()
  for (let size = 0; size < 4; size++) await cache.load(declared, { size }, targets.sm_80)
  assert.is(entries().length, 4)
  for (const path of entries()) utimesSync(path, 1000, 1000)
  await open().load(declared, { size: 2 }, targets.sm_80)
  assert.is(compiled.length, 4)
  for (let size = 4; size < 8; size++) await cache.load(declared, { size }, targets.sm_80)
  const { store } = await cache.statistics()
  assert.ok(store!.bytes <= store!.limitBytes, `${store!.bytes} bytes kept`)
  await open().load(declared, { size: 2 }, targets.sm_80)
  assert.is(compiled.length, 8, 'the one used since is still there')
  await open().load(declared, { size: 0 }, targets.sm_80)
  assert.is(compiled.length, 9, 'one not used since is gone')
})

test('what a dead process left half-written is removed, what a live one is writing stays', async () => {
  const { declared, open, folder, entries } = setup()
  mkdirSync(folder)
  const old = join(folder, 'a.1.dead.tmp')
  const fresh = join(folder, 'a.2.live.tmp')
  writeFileSync(old, 'x')
  writeFileSync(fresh, 'x')
  utimesSync(old, 1000, 1000)
  await open().load(declared, {}, targets.sm_80)
  assert.not(entries().includes(old))
  assert.ok(entries().includes(fresh))
})

test('a folder that cannot be made or written is reported once, and programs still load', async () => {
  const { declared, open, compiled, warnings, base, source } = setup()
  const blocked = join(base, 'file')
  writeFileSync(blocked, '')
  const cache = open('one', join(blocked, 'programs'))
  await cache.load(declared, { size: 1 }, targets.sm_80)
  assert.equal(
    await cache.load(declared, { size: 2 }, targets.sm_80),
    compiledFrom(source, 'some', { size: 2 }),
  )
  assert.is(compiled.length, 2)
  assert.is(warnings.length, 1)
  assert.match(warnings[0]!, /compiled kernels are not kept, because .* cannot be written .*QUATTUOR_CACHE/)
  assert.match((await cache.statistics()).store!.problem!, /ENOTDIR/)
})

test('a folder that is only readable still gives its programs', async () => {
  const { declared, open, compiled, folder } = setup()
  await open().load(declared, {}, targets.sm_80)
  chmodSync(folder, 0o555)
  await open().load(declared, {}, targets.sm_80)
  chmodSync(folder, 0o755)
  assert.is(compiled.length, 1)
})

test('a failed compilation is not remembered', async () => {
  const { declared, folder } = setup()
  let tries = 0
  const cache = new ProgramCache({
    stores: [new ProgramStore(folder)],
    fingerprint: () => 'one',
    compile: () => {
      tries++
      throw new Error('no')
    },
  })
  for (let i = 0; i < 2; i++) {
    await cache.load(declared, {}, targets.sm_80).then(
      () => assert.unreachable(),
      (error: Error) => assert.is(error.message, 'no'),
    )
  }
  assert.is(tries, 2)
})

test('a second, read-only store is asked when the first has nothing', async () => {
  const { declared, open, folder, base, source } = setup()
  await open().load(declared, {}, targets.sm_80)
  const cache = new ProgramCache({
    stores: [new ProgramStore(join(base, 'empty')), new ProgramStore(folder)],
    fingerprint: () => 'one',
    compile: () => assert.unreachable('it is in the second store') as never,
  })
  assert.equal(await cache.load(declared, {}, targets.sm_80), compiledFrom(source, 'some', {}))
})

test('constants that JSON would drop or blur are refused by name', async () => {
  const { declared, open } = setup()
  const refused = (config: unknown, message: RegExp) =>
    assert.throws(() => open().load(declared, config as never, targets.sm_80), message)
  refused({ tile: { m: Number.NaN } }, /the configuration\.tile\.m is NaN: only numbers, strings/)
  refused({ list: [1, undefined] }, /the configuration\.list\[1\] is undefined/)
  refused({ when: new Date(0) }, /the configuration\.when is an instance of Date/)
  refused({ f: () => 1 }, /the configuration\.f is/)
  assert.is.not(canonicalJson({ x: 0 }), canonicalJson({ x: -0 }))
  assert.is(canonicalJson({ b: 1, a: { d: 2, c: [3] } }), '{"a":{"c":[3],"d":2},"b":1}')
})

test('processes that write the same programs at once each read whole ones', async () => {
  const { folder, source, entries } = setup()
  const built = import.meta.url.endsWith('.js')
  const script = fileURLToPath(new URL(`../support/cache-writer.${built ? 'js' : 'ts'}`, import.meta.url))
  const run = () =>
    new Promise<{ hits: number; misses: number }>((resolve, reject) => {
      const child = spawn(process.execPath, [...(built ? [] : ['--import', 'tsx']), script, folder, source], {
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let output = ''
      child.stdout.on('data', (chunk) => (output += chunk))
      child.stderr.on('data', (chunk) => (output += chunk))
      child.on('close', (code) => (code === 0 ? resolve(JSON.parse(output)) : reject(new Error(output))))
    })
  const results = await Promise.all([run(), run(), run(), run()])
  for (const { hits, misses } of results) assert.is(hits + misses, 12)
  assert.is(entries().length, 12, 'one file a program, and no temporary ones')
  assert.equal(await run(), { hits: 12, misses: 0 })
})

test('paths inside the package travel with it, and the others stay', () => {
  const inside = join(packageRoot(), 'kernels', 'some.ts')
  assert.is(portablePath(inside), 'package:kernels/some.ts')
  assert.is(absolutePath(portablePath(inside)), inside)
  const outside = join(tmpdir(), 'some.ts')
  assert.is(portablePath(outside), outside)
  assert.is(absolutePath(outside), outside)
})

test('the cache folder follows QUATTUOR_CACHE, then XDG_CACHE_HOME, then the home folder', () => {
  assert.is(cacheFolder({ QUATTUOR_CACHE: 'off', XDG_CACHE_HOME: '/x' }), null)
  assert.is(cacheFolder({ QUATTUOR_CACHE: '/q', XDG_CACHE_HOME: '/x' }), '/q')
  assert.is(cacheFolder({ XDG_CACHE_HOME: '/x' }), join('/x', 'quattuor'))
  assert.match(cacheFolder({})!, /[/\\]\.cache[/\\]quattuor$/)
})

test('the compiler’s fingerprint is a hash, and the same each time', () => {
  assert.match(compilerFingerprint(), /^[0-9a-f]{64}$/)
  assert.is(compilerFingerprint(), compilerFingerprint())
})

test.run()
