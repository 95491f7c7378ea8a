import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openSafetensors } from '../../checkpoint/safetensors.ts'
import { SafetensorsWriter, type TensorPlan } from '../../checkpoint/safetensors-writer.ts'
import { type DType, dtypeBytes } from '../../dsl/dtype.ts'
import { rng } from '../support/rng.ts'
import { assertRejects, temporaryFolder } from './support.ts'

const { integer } = rng(23)
const random = (length: number): Uint8Array => Uint8Array.from({ length }, () => integer(0, 255))
const one: readonly TensorPlan[] = [{ name: 'a', dtype: 'u8', shape: [4] }]

test('what is written in any order is read back, with its metadata', async () => {
  const path = join(temporaryFolder(), 'x.safetensors')
  const dtypes = Object.keys(dtypeBytes) as DType[]
  const plan = [...dtypes, ...dtypes].map((dtype, i) => ({
    name: `layer.${i}.ä"${dtype}`,
    dtype,
    shape: [integer(1, 9), integer(0, 9), 3].slice(integer(0, 2)),
  }))
  const contents = new Map(
    plan.map(({ name, dtype, shape }) => [name, random(shape.reduce((a, b) => a * b, dtypeBytes[dtype]))]),
  )
  const metadata = new Map([
    ['format', 'x'],
    ['note', '"\n'],
  ])
  const progress: [number, number][] = []
  const writer = await SafetensorsWriter.create(path, plan, {
    metadata,
    onProgress: (done, total) => progress.push([done, total]),
  })
  for (const { name } of plan.toReversed()) await writer.write(name, contents.get(name)!)
  assert.not(existsSync(path), 'the name appears when the file is complete')
  await writer.finish()
  const total = [...contents.values()].reduce((sum, bytes) => sum + bytes.length, 0)
  assert.is(progress.length, plan.length)
  assert.equal(progress.at(-1), [total, total])
  assert.is(readFileSync(path).readBigUInt64LE() % 8n, 0n)
  const file = openSafetensors(path)
  assert.equal(file.metadata, metadata)
  for (const { name, dtype, shape } of plan) {
    const read = file.read(name)
    assert.equal([read.dtype, read.shape], [dtype, shape])
    assert.equal(Buffer.compare(read.bytes, contents.get(name)!), 0)
  }
  file.close()
})

test('after a mistake of the caller nothing is left, and what stood there before is untouched', async () => {
  const folder = temporaryFolder()
  const path = join(folder, 'x.safetensors')
  writeFileSync(path, 'old')
  const begin = () => SafetensorsWriter.create(path, one)
  await assertRejects(async () => (await begin()).write('b', random(4)), 'tensor b was not announced')
  await assertRejects(async () => (await begin()).write('a', random(5)), 'announced with 4 bytes and given 5')
  await assertRejects(async () => (await begin()).finish(), 'tensor a was announced and never written')
  const writer = await begin()
  await writer.write('a', random(4))
  await assertRejects(() => writer.write('a', random(4)), 'written before')
  await assertRejects(() => writer.finish(), 'after finish or abort')
  await (await begin()).abort()
  await assertRejects(() => SafetensorsWriter.create(path, [...one, ...one]), 'announced twice')
  assert.equal(readdirSync(folder), ['x.safetensors'])
  assert.is(readFileSync(path, 'utf8'), 'old')
  assert.is(process.listenerCount('SIGINT'), 0)
})

if (!existsSync('/dev/full')) console.log('skipped: a full disk, because this system has no /dev/full')
else
  test('a disk that is full while writing is said to be, and nothing is left', async () => {
    const folder = temporaryFolder()
    const path = join(folder, 'x.safetensors')
    symlinkSync('/dev/full', `${path}.${process.pid}.partial`)
    await assertRejects(() => SafetensorsWriter.create(path, one), path, 'the disk is full')
    assert.equal(readdirSync(folder), [])
  })

test('a file larger than the free space is refused before it is begun', async () => {
  const folder = temporaryFolder()
  const huge: TensorPlan[] = [{ name: 'a', dtype: 'f32', shape: [2 ** 50] }]
  await assertRejects(() => SafetensorsWriter.create(join(folder, 'x'), huge), 'needs 45035996', 'free')
  assert.equal(readdirSync(folder), [])
})

test('a folder that does not exist is named', async () => {
  await assertRejects(
    () => SafetensorsWriter.create('/nonexistent/x', one),
    '/nonexistent/x',
    'create it first',
  )
})

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  test(`${signal} in the middle ends the process and leaves nothing`, async () => {
    const folder = temporaryFolder()
    const module = fileURLToPath(new URL('../../checkpoint/safetensors-writer.ts', import.meta.url))
    const script = `
      const { SafetensorsWriter } = await import(${JSON.stringify(module)})
      const plan = [{ name: 'a', dtype: 'u8', shape: [4] }, { name: 'b', dtype: 'u8', shape: [4] }]
      const writer = await SafetensorsWriter.create(${JSON.stringify(join(folder, 'x'))}, plan)
      await writer.write('a', new Uint8Array(4))
      console.log('half way')
      setTimeout(() => writer.write('b', new Uint8Array(4)), 20_000)`
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await new Promise((resolve) => child.stdout.once('data', resolve))
    assert.is(readdirSync(folder).length, 1)
    child.kill(signal)
    const ended = await new Promise((resolve) => child.once('close', (_, by) => resolve(by)))
    assert.is(ended, signal)
    assert.equal(readdirSync(folder), [])
  })

test.run()
