import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Program } from '../../../codegen/program.ts'
import { type EmulatorOptions, openEmulator } from '../../../runtime/emulator/device.ts'
import { TranslationStore } from '../../../runtime/emulator/run/translation-store.ts'
import { WebAssembly } from '../../../runtime/emulator/wasm/host.ts'
import { FileStore } from '../../../runtime/file-store.ts'
import { rng } from '../../support/rng.ts'
import { temporaryFolder } from '../../support/run-cli.ts'
import { kernelText, moduleText, programOf } from './support.ts'

/** p1[i] = p0[i] + addend. */
const adding = (addend: number): Program => {
  const text = kernelText(
    'add_constant',
    ['u64', 'u64'],
    [32, 1, 1],
    `.reg .b32 %r<4>; .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; mov.u32 %r1, %tid.x;
  mad.wide.u32 %rd1, %r1, 4, %rd1; mad.wide.u32 %rd2, %r1, 4, %rd2;
  ld.global.u32 %r2, [%rd1]; add.u32 %r2, %r2, ${addend}; st.global.u32 [%rd2], %r2;`,
  )
  return programOf({ name: 'add_constant', ptx: moduleText([text]), block: [32, 1, 1] })
}

const open = (folder: string): TranslationStore => new TranslationStore(new FileStore(folder, '.wasm'))

const random = rng(5)
const src = Uint32Array.from({ length: 32 }, () => random.integer(0, 1e6))

/** What a program makes of `src` on a device of its own. */
async function run(program: Program, options: EmulatorOptions): Promise<number[]> {
  const device = openEmulator(options)
  const [fn] = await device.loadAll([program])
  const [x, y] = [device.allocate(128), device.allocate(128)]
  device.write(x, src)
  device.prepareLaunch(fn!, { grid: [1, 1, 1] }, [x.address, y.address]).run()
  const result = new Uint32Array(32)
  await device.read(result, y)
  await device.close()
  return [...result]
}

/** Has the process forget the kernels that it has translated so far, as far as it keeps them at all. */
function forget(program: Program): void {
  const device = openEmulator()
  for (let i = 1; i <= 64; i++) device.load({ ...program, sharedBytes: 16 * i })
}

const plus = (addend: number): number[] => Array.from(src, (x) => x + addend)

test('a kernel is written when it is translated, and taken from there when the process has forgotten it', async () => {
  const folder = temporaryFolder()
  const program = adding(3)
  assert.equal(await run(program, { translations: open(folder) }), plus(3))
  const written = await open(folder).read(program)
  assert.ok(new WebAssembly.Module(written!.module))
  // Another kernel in its place shows where it comes from.
  const other = temporaryFolder()
  assert.equal(await run(adding(7), { translations: open(other) }), plus(7))
  await open(folder).write(program, (await open(other).read(adding(7)))!)
  assert.equal(await run(program, { translations: open(folder) }), plus(3))
  forget(program)
  assert.equal(await run(program, { translations: open(folder) }), plus(7))
})

test('another text, shape or shared memory is another kernel', async () => {
  const folder = temporaryFolder()
  const program = adding(3)
  await open(folder).write(program, { module: new Uint8Array([1, 2]), stateBytes: 70_000 })
  assert.equal(await open(folder).read(program), { module: new Uint8Array([1, 2]), stateBytes: 70_000 })
  for (const change of [
    { ptx: `${program.ptx} ` },
    { name: 'add' },
    { block: [16, 2, 1] as const },
    { sharedBytes: 4 },
  ])
    assert.is(await open(folder).read({ ...program, ...change }), undefined)
})

test('a file that was cut short is translated again', async () => {
  const folder = temporaryFolder()
  const program = adding(11)
  assert.equal(await run(program, { translations: open(folder) }), plus(11))
  const [name] = readdirSync(folder)
  const path = join(folder, name!)
  const whole = readFileSync(path)
  writeFileSync(path, whole.subarray(0, whole.length - 20))
  forget(program)
  assert.equal(await run(program, { translations: open(folder) }), plus(11))
  assert.equal(readFileSync(path), whole)
})

test('what checks make of a kernel is not kept', async () => {
  const folder = temporaryFolder()
  assert.equal(await run(adding(13), { checks: true, translations: open(folder) }), plus(13))
  assert.equal(readdirSync(folder), [])
})

test.run()
