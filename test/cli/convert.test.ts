import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../checkpoint/open.ts'
import { openModel } from '../../models/open-model.ts'
import { writeForeign } from '../support/foreign-checkpoints.ts'
import { runCli, temporaryFolder } from '../support/run-cli.ts'
import { tinyTokenizer, writeTinyModel } from '../support/tiny-model.ts'

const root = temporaryFolder()

for (const [scheme, format] of [
  ['awq', 'w4a16kv16-g64'],
  ['qserve-g128', 'w4a8kv4-g128'],
  ['gptq-act-order', 'f16'],
] as const)
  test(`convert writes ${scheme} as ${format}, tensor for tensor what is loaded directly`, async () => {
    const [src, dst] = [join(root, scheme), join(root, `${scheme}-converted`)]
    await writeForeign(src, scheme, 4)
    const run = await runCli('convert', src, dst, '--json')
    assert.is(run.code, 0, run.err)
    assert.is(JSON.parse(run.out).format, format)
    const [direct, converted] = [openModel(src), openCheckpoint(dst)]
    assert.is(converted.foreign, undefined)
    assert.equal(converted.format, direct.format)
    assert.equal([...converted.tensors.names].sort(), [...direct.tensors.names].sort())
    for (const name of direct.tensors.names) {
      const [a, b] = [direct.tensors.read(name), converted.tensors.read(name)]
      // Floats that stand for codes come as f32, and are stored as the model's type, which holds them.
      if (a.dtype === b.dtype) assert.is(Buffer.compare(a.bytes, b.bytes), 0, name)
      else assert.is(`${a.dtype} ${b.dtype} ${a.shape}`, `f32 f16 ${b.shape}`)
    }
    assert.is(JSON.parse(readFileSync(join(dst, 'config.json'), 'utf8')).quantization_config, undefined)
    direct.close()
    converted.close()
    const again = await runCli('convert', src, dst)
    assert.is(again.code, 2)
    assert.match(again.err, 'exists')
    const itself = await runCli('convert', src, src)
    assert.is(itself.code, 2)
    assert.match(itself.err, 'the model itself')
  })

test('convert and quantize say what they cannot start from', async () => {
  const floats = await writeTinyModel(join(root, 'floats'))
  const converted = await runCli('convert', floats, join(root, 'nothing'))
  assert.is(converted.code, 2)
  assert.match(converted.err, 'nothing to convert')
  const src = join(root, 'quantized')
  await writeForeign(src, 'qserve', 4)
  const quantized = await runCli(
    'quantize',
    src,
    join(root, 'nothing'),
    '--format',
    'w4a8kv4',
    '--device',
    'host',
  )
  assert.is(quantized.code, 2)
  assert.match(quantized.err, 'quantized already, as QServe W4A8')
})

test('a checkpoint of another program writes what its conversion writes', async () => {
  const [src, dst] = [join(root, 'generates'), join(root, 'generates-converted')]
  await writeForeign(src, 'qserve-g128', 5)
  writeFileSync(join(src, 'tokenizer.json'), JSON.stringify(tinyTokenizer))
  const converted = await runCli('convert', src, dst)
  assert.is(converted.code, 0, converted.err)
  const notesOf = ({ err }: { err: string }) => err.split('\n').filter((line) => line.startsWith('note: '))
  const ids: unknown[] = []
  for (const folder of [src, dst]) {
    const options = [
      '--prompt',
      'abc',
      '--device',
      'emulator',
      '--temperature',
      '0',
      '--max-tokens',
      '6',
      '--json',
    ]
    const run = await runCli('generate', folder, ...options)
    assert.is(run.code, 0, run.err)
    // What `convert` notes of a checkpoint is said whenever the checkpoint itself is loaded.
    assert.equal(notesOf(run), folder === src ? notesOf(converted) : [])
    ids.push(JSON.parse(run.out).ids)
  }
  assert.is(notesOf(converted).length > 0, true)
  assert.is((ids[0] as number[]).length > 0, true)
  assert.equal(ids[0], ids[1])
})

for (const format of ['w4a8kv4', 'w4a8kv4-g128', 'w8a8kv8'] as const)
  test(`${format} goes to QServe's layout and comes back as it was`, async () => {
    const original = await writeTinyModel(join(root, `tiny-${format}`), 7)
    const [own, exported, back] = ['own', 'exported', 'back'].map((name) => join(root, `${name}-${format}`))
    assert.is((await runCli('quantize', original, own!, '--format', format, '--device', 'host')).code, 0)
    const run = await runCli('convert', own!, exported!, '--to', 'qserve')
    assert.is(run.code, 0, run.err)
    assert.is((await runCli('convert', exported!, back!)).code, 0)
    const [a, b] = [openCheckpoint(own!), openCheckpoint(back!)]
    assert.equal(b.format, a.format)
    // The embedding table, which the model has for its head too, and the norms are f16 there.
    for (const name of a.tensors.names.filter((each) => /_proj/.test(each)))
      assert.is(Buffer.compare(a.tensors.read(name).bytes, b.tensors.read(name).bytes), 0, name)
    assert.is(b.tensors.has('lm_head.weight'), true)
    a.close()
    b.close()
    const again = await runCli('convert', own!, exported!, '--to', 'qserve')
    assert.is(again.code, 2)
    assert.match(again.err, 'exists')
  })

test('what the layout of QServe has no place for is not exported', async () => {
  const src = join(root, 'awq-again')
  await writeForeign(src, 'awq', 8)
  const run = await runCli('convert', src, join(root, 'nothing'), '--to', 'qserve')
  assert.is(run.code, 2)
  assert.match(run.err, 'w4a16-g64')
})

test.run()
