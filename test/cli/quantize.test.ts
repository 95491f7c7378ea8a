import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../checkpoint/open.ts'
import { recipes } from '../../quantize/recipe.ts'
import { assertRefused, finished, runCli, spawnCli, temporaryFolder } from '../support/run-cli.ts'
import { tinyConfig, writeTinyModel } from '../support/tiny-model.ts'

const root = temporaryFolder()
const model = await writeTinyModel(join(root, 'model'))
const weights = readFileSync(join(model, 'model.safetensors'))

for (const format of Object.keys(recipes))
  test(`a model is quantized to ${format}, and the result describes itself`, async () => {
    const dst = join(root, format)
    const { code, out, err } = await runCli('quantize', model, dst, '--format', format)
    assert.equal([code, err], [0, ''])
    assert.match(out, new RegExp(`^${dst}: ${format}, [\\d.]+ KiB\\n$`))
    const checkpoint = openCheckpoint(dst)
    assert.is(checkpoint.format.name, format)
    checkpoint.close()
    assert.equal(readdirSync(dst).sort(), ['config.json', 'model.safetensors', 'tokenizer.json'])
  })

test('--json prints one object', async () => {
  const { out } = await runCli('quantize', model, join(root, 'json'), '--json', '-f', 'w8a8kv8')
  const { folder, format, bytes } = JSON.parse(out)
  assert.equal([folder, format], [join(root, 'json'), 'w8a8kv8'])
  assert.ok(bytes > 100_000 && bytes < weights.length)
})

test('the result replaces nothing', async () => {
  assertRefused(await runCli('quantize', model, model), 'is the model itself')
  assertRefused(
    await runCli('quantize', model, join(root, 'json')),
    'exists; remove it, or name another folder',
  )
  assertRefused(await runCli('quantize', join(root, 'json'), join(root, 'again')), 'is quantized already')
  assert.not(existsSync(join(root, 'again')))
})

test('a source that is no model is named', async () => {
  assertRefused(await runCli('quantize', join(root, 'nowhere'), join(root, 'x')), 'nowhere is not a folder')
  const empty = join(root, 'empty')
  mkdirSync(empty)
  assertRefused(await runCli('quantize', empty, join(root, 'x')), join(empty, 'config.json'))
  copyFileSync(join(model, 'config.json'), join(empty, 'config.json'))
  assertRefused(await runCli('quantize', empty, join(root, 'x')), 'has neither model.safetensors nor')
  assert.not(existsSync(join(root, 'x')))
})

/** The weights file, its header changed by `edit`, or its text. */
function withHeader(edit: (header: Record<string, Entry>) => unknown): Buffer {
  const length = Number(weights.readBigUInt64LE())
  const header = JSON.parse(weights.toString('utf8', 8, 8 + length))
  const edited = edit(header) ?? header
  const json = Buffer.from(typeof edited === 'string' ? edited : JSON.stringify(edited))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(json.length))
  return Buffer.concat([prefix, json, weights.subarray(8 + length)])
}

interface Entry {
  dtype: string
  shape: number[]
  data_offsets: [number, number]
}

const norm = 'model.norm.weight'
const embed = 'model.embed_tokens.weight'
const broken: Record<string, { file: Buffer; words: string[] }> = {
  empty: { file: Buffer.alloc(0), words: ['model.safetensors'] },
  'cut in its header': { file: weights.subarray(0, 200), words: ['model.safetensors'] },
  'cut in its data': { file: weights.subarray(0, weights.length - 1000), words: ['model.safetensors'] },
  'with bytes after its tensors': {
    file: Buffer.concat([weights, Buffer.alloc(16)]),
    words: ['model.safetensors'],
  },
  'with a header of absurd length': {
    file: Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 0, 0, 1]), weights.subarray(8)]),
    words: ['model.safetensors'],
  },
  'with a header that is not JSON': { file: withHeader(() => '{"a": }'), words: ['JSON'] },
  'with overlapping tensors': {
    file: withHeader((header) => {
      const { data_offsets } = header[embed]!
      const bytes = header[norm]!.data_offsets[1] - header[norm]!.data_offsets[0]
      header[norm]!.data_offsets = [data_offsets[0], data_offsets[0] + bytes]
    }),
    words: ['overlap'],
  },
  'with a tensor larger than its bytes': {
    file: withHeader((header) => {
      header[norm]!.shape = [2 ** 40]
    }),
    words: [norm],
  },
  'with a tensor of an unknown type': {
    file: withHeader((header) => {
      header[norm]!.dtype = 'Q7'
    }),
    words: [norm, 'Q7'],
  },
  'with a tensor of the wrong shape': {
    file: withHeader((header) => {
      header['model.layers.0.self_attn.q_proj.weight']!.shape = [64, 256]
    }),
    words: ['q_proj', '[64, 256]'],
  },
  'without a tensor': {
    file: withHeader((header) => {
      header['model.other.weight'] = header['model.layers.0.mlp.up_proj.weight']!
      delete header['model.layers.0.mlp.up_proj.weight']
    }),
    words: ['model.layers.0.mlp.up_proj.weight'],
  },
}
for (const [name, { file, words }] of Object.entries(broken))
  test(`a weights file ${name} is refused, and nothing is written`, async () => {
    const src = temporaryFolder()
    cpSync(model, src, { recursive: true })
    writeFileSync(join(src, 'model.safetensors'), file)
    const dst = join(temporaryFolder(), 'result')
    assertRefused(await runCli('quantize', src, dst), ...words)
    assert.not(existsSync(join(dst, 'model.safetensors')))
    assert.equal(existsSync(dst) ? readdirSync(dst).filter((each) => each.includes('partial')) : [], [])
    assertRefused(await runCli('generate', src, '-p', 'x', '-n', '1', '--device', 'emulator'), ...words)
  })

test('a weight that is not a number is found', async () => {
  const src = temporaryFolder()
  cpSync(model, src, { recursive: true })
  const spoiled = Buffer.from(weights)
  const length = Number(spoiled.readBigUInt64LE())
  const header = JSON.parse(spoiled.toString('utf8', 8, 8 + length))
  spoiled.writeUInt16LE(0x7fc0, 8 + length + header['model.layers.0.mlp.down_proj.weight'].data_offsets[0])
  writeFileSync(join(src, 'model.safetensors'), spoiled)
  const dst = join(temporaryFolder(), 'result')
  assertRefused(await runCli('quantize', src, dst), 'down_proj.weight holds NaN in row 0, column 0')
  assert.not(existsSync(join(dst, 'model.safetensors')))
})

test('an unknown architecture is refused before the weights are looked at', async () => {
  const src = temporaryFolder()
  writeFileSync(
    join(src, 'config.json'),
    JSON.stringify({ ...tinyConfig, architectures: ['FalconForCausalLM'] }),
  )
  assertRefused(await runCli('quantize', src, join(root, 'y')), 'FalconForCausalLM is not supported')
})

if (!existsSync('/dev/full')) console.log('skipped: a full disk, because this system has no /dev/full')
else
  test('a disk that is full while writing is said to be, and nothing is left', async () => {
    const dst = temporaryFolder()
    symlinkSync('/dev/full', join(dst, `model.safetensors.${process.pid}.partial`))
    assertRefused(await runCli('quantize', model, dst), 'the disk is full')
    assert.equal(
      readdirSync(dst).filter((name) => name.startsWith('model.safetensors')),
      [],
    )
  })

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  test(`${signal} in the middle ends the program and leaves no weights`, async () => {
    const dst = join(temporaryFolder(), 'result')
    mkdirSync(dst)
    const child = spawnCli(['quantize', await writeTinyModel(join(temporaryFolder(), 'large'), 2, 40), dst])
    const end = finished(child)
    // The partial file appears when quantizing begins.
    while (child.exitCode === null && !readdirSync(dst).some((name) => name.endsWith('.partial')))
      await setTimeout(2)
    child.kill(signal)
    const { ended, out, err } = await end
    assert.equal([ended, out, err], [signal, '', ''])
    assert.equal(
      readdirSync(dst).filter((name) => name.startsWith('model.safetensors')),
      [],
    )
  })

test.run()
