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
import { f32FromF16 } from '../../dsl/half.ts'
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
  test(`${signal} in the middle ends the program, leaves no weights, and the same command goes on`, async () => {
    const dst = join(temporaryFolder(), 'result')
    const large = await writeTinyModel(join(temporaryFolder(), 'large'), 2, 40)
    const child = spawnCli(['quantize', large, dst])
    const end = finished(child)
    while (child.exitCode === null && !existsSync(join(`${dst}.quantizing`, 'layer-3.safetensors')))
      await setTimeout(2)
    child.kill(signal)
    const { ended, out, err } = await end
    assert.equal([ended, out, err], [signal, '', ''])
    assert.not(existsSync(dst))
    assert.is((await runCli('quantize', large, dst)).code, 0)
    assert.ok(existsSync(join(dst, 'model.safetensors')))
    assert.not(existsSync(`${dst}.quantizing`))
  })

const text = join(root, 'text.jsonl')
writeFileSync(
  text,
  Array.from({ length: 9 }, (_, i) => JSON.stringify({ text: `line ${i} of ${'words '.repeat(5)}` })).join(
    '\n',
  ),
)
const calibrate = ['--calibration', text, '--calibration-windows', '2', '--window', '32', '--device', 'host']

test('a recipe looks at text, and the report shows every pass in every layer, and needs nothing else', async () => {
  const dst = join(root, 'calibrated')
  const page = join(root, 'report.html')
  const two = await writeTinyModel(join(root, 'two'), 4, 2)
  const run = await runCli(
    ...['quantize', two, dst, '--recipe', 'qoq-g128', '--format', 'w4a8kv4-g32', '--head', 'w8a8'],
    ...[...calibrate, '--report', page, '--json', '--seed', '3'],
  )
  assert.equal([run.code, run.err], [0, ''])
  const { recipe, format, device, calibration, head, seed } = JSON.parse(run.out)
  assert.equal([recipe, format, device, head, seed], ['qoq-g128', 'w4a8kv4-g32', 'host', 'w8a8', 3])
  assert.equal(calibration, { tokens: 64, window: 32 })
  const html = readFileSync(page, 'utf8')
  const passes: string[] = JSON.parse(
    readFileSync(new URL('../../quantize/recipes/qoq-g128.json', import.meta.url), 'utf8'),
  ).passes.map((step: { pass: string }) => step.pass)
  for (const pass of ['original', ...passes]) assert.match(html, `<td>${pass}</td>`)
  assert.not.match(html, /(?:src|href)=|<script|NaN|undefined/)
  const generated = await runCli('generate', dst, '-p', 'x', '-n', '2', '--device', 'emulator')
  assert.is(generated.code, 0, generated.err)
})

test('a recipe that looks at text asks for it; a report does, too', async () => {
  const dst = join(root, 'without')
  assertRefused(
    await runCli('quantize', model, dst, '--recipe', 'gptq', '--device', 'host'),
    'give calibration text with --calibration',
  )
  assertRefused(await runCli('quantize', model, dst, '--report', join(root, 'r.html')), '--calibration')
  assertRefused(
    await runCli('quantize', model, dst, '--recipe', 'rtn', '--calibration', text),
    'are asked for; give more text, or lower --calibration-windows',
  )
  assertRefused(
    await runCli('quantize', model, dst, '--recipe', 'best'),
    'there is no recipe best; there are',
  )
  for (const [file, sentence] of [
    [root, 'is a folder and a file is expected'],
    [join(root, 'none.txt'), 'none.txt does not exist'],
  ] as const)
    assertRefused(await runCli('quantize', model, dst, '--recipe', 'rtn', '--calibration', file), sentence)
  assert.not(existsSync(dst) || existsSync(`${dst}.quantizing`))
})

test('recipes of the user: a JSON file, and a TypeScript module with a pass of its own', async () => {
  const json = join(root, 'own.json')
  const recipe = { name: 'own', weights: 'w8a8', kv: 8, passes: [{ pass: 'rtn' }] }
  writeFileSync(json, JSON.stringify(recipe))
  const dst = join(root, 'by-json')
  assert.match((await runCli('quantize', model, dst, '--recipe', json)).out, 'own, w8a8kv8')
  const module = join(root, 'own.ts')
  writeFileSync(
    module,
    `import { definePass } from 'quattuor/quantize'
import { z } from '${new URL('../../node_modules/zod/index.js', import.meta.url).pathname}'

const double = definePass({
  name: 'double',
  about: 'twice the weights',
  options: z.strictObject({ times: z.number() }),
  async layer(layer, { times }: { times: number }, run) {
    const { compute, weights } = layer
    await compute.add(weights.down, weights.down, times - 1)
    run.record('times', times)
  },
})
export const recipe = { name: 'own', weights: 'w8a8', kv: 8, passes: [{ pass: double, times: 2 }, { pass: 'rtn' }] }
`,
  )
  const other = join(root, 'by-module')
  const run = await runCli('quantize', model, other, '--recipe', module)
  assert.equal([run.code, run.err], [0, ''])
  const scales = [dst, other].map((folder) => {
    const checkpoint = openCheckpoint(folder)
    const { bytes } = checkpoint.tensors.read('model.layers.0.mlp.down_proj.scale')
    checkpoint.close()
    return f32FromF16(new Uint16Array(new Uint8Array(bytes).buffer))
  })
  assert.equal(
    scales[1],
    scales[0]!.map((scale) => 2 * scale),
  )
})

test('--bits spreads a budget over products by what they suffer', async () => {
  const dst = join(root, 'mixed')
  const three = await writeTinyModel(join(root, 'three'), 5, 3)
  const run = await runCli('quantize', three, dst, '--recipe', 'rtn', '--bits', '5', ...calibrate)
  assert.equal([run.code, run.err], [0, ''])
  const { products } = JSON.parse((await runCli('inspect', dst, '--json')).out)
  const formats = new Set(products.map(({ format }: { format: string }) => format))
  assert.ok(formats.size > 1 && formats.has('w8a8'), [...formats].join())
  const weights = products.reduce(
    (sum: number, each: { rows: number; columns: number }) => sum + each.rows * each.columns,
    0,
  )
  const bits = products.reduce((sum: number, each: { bytes: number }) => sum + 8 * each.bytes, 0)
  // Zero points of rows are not counted in a budget.
  assert.ok(bits / weights <= 5.1, `${bits / weights} bits`)
  assert.is((await runCli('generate', dst, '-p', 'x', '-n', '1', '--device', 'emulator')).code, 0)
  assertRefused(await runCli('quantize', three, join(root, 'm2'), '--bits', '5'), '--calibration')
})

test('inspect shows what a result holds, and refuses one whose codes are not safe', async () => {
  const dst = join(root, 'inspected')
  await runCli('quantize', model, dst, '--format', 'w4a8kv4-g64')
  const { code, out } = await runCli('inspect', dst)
  assert.is(code, 0)
  assert.match(out, /w4a8kv4-g64, 4-bit keys and values/)
  assert.match(out, 'protective range: kept in all 4 products')
  const { products, bytes } = JSON.parse((await runCli('inspect', dst, '--json')).out)
  assert.is(products.length, 4)
  assert.is(
    products[0].histogram.reduce((a: number, b: number) => a + b),
    256 * 128,
  )
  assert.is(bytes.total, bytes.layers + bytes.embeddings + bytes.rest)
  assert.match((await runCli('inspect', model)).out, 'bf16, 16-bit keys and values')
  // The f16 scale of a row becomes infinite.
  const path = join(dst, 'model.safetensors')
  const spoiled = readFileSync(path)
  const length = Number(spoiled.readBigUInt64LE())
  const header = JSON.parse(spoiled.toString('utf8', 8, 8 + length))
  spoiled.writeUInt16LE(0x7c00, 8 + length + header['model.layers.0.self_attn.o_proj.scale'].data_offsets[0])
  writeFileSync(path, spoiled)
  const refused = await runCli('inspect', dst)
  assert.is(refused.code, 2)
  assert.match(refused.err, 'model.layers.0.self_attn.o_proj: scales lie from')
})

test.run()
