import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CheckpointError } from '../../checkpoint/error.ts'
import { widen } from '../../checkpoint/tensor.ts'
import { openTorchFile } from '../../checkpoint/torch-file.ts'
import { bytesOf } from '../../runtime/bytes.ts'
import { type ArchivePart, pickle, writeTorch, zipOf } from '../support/torch-files.ts'
import { assertRefuses, temporaryFolder } from './support.ts'

const folder = temporaryFolder()
const path = join(folder, 'x.bin')

/** Saved by PyTorch 2.11. */
const files = fileURLToPath(new URL('files', import.meta.url))

const eight = bytesOf(Float32Array.from({ length: 8 }, (_, i) => i - 3.5))
const halfRow = Buffer.from('003c00c00038', 'hex')

/** An archive with the pickle of a value and the elements of one storage of 8 floats. */
function writePickle(
  value: Buffer,
  parts: readonly ArchivePart[] = [{ name: 'archive/data/0', bytes: eight }],
): string {
  const bytes = Buffer.concat([pickle.begin, value, pickle.end])
  writeFileSync(path, zipOf([{ name: 'archive/data.pkl', bytes }, ...parts]))
  return path
}

const floats = (count = 8) => pickle.storage('FloatStorage', '0', count)

test('tensors are read by name, whole and in parts, as they lie in the archive', () => {
  const file = openTorchFile(
    writeTorch(path, {
      'model.weight': { type: 'FloatStorage', shape: [2, 4], bytes: eight },
      'model.scale': { type: 'HalfStorage', shape: [3], bytes: halfRow },
      codes: { type: 'CharStorage', shape: [2, 1], bytes: Buffer.from('ff7f', 'hex') },
      none: { type: 'FloatStorage', shape: [0, 3], bytes: Buffer.alloc(0) },
    }),
  )
  assert.equal([...file.names], ['model.weight', 'model.scale', 'codes', 'none'])
  assert.equal(file.info('model.weight'), {
    name: 'model.weight',
    dtype: 'f32',
    shape: [2, 4],
    byteLength: 32,
  })
  assert.equal(Array.from(widen(file.read('model.weight'))), [-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5])
  assert.equal(Array.from(widen(file.read('model.scale'))), [1, -2, 0.5])
  assert.equal(file.read('codes').dtype, 'i8')
  assert.equal(Array.from(file.read('codes').bytes), [0xff, 0x7f])
  const part = new Uint8Array(2)
  file.readInto(part, 'model.scale', 2)
  assert.equal(Array.from(part), [0x00, 0xc0])
  assert.throws(() => file.readInto(new Uint8Array(5), 'model.scale', 2), RangeError)
  assertRefuses(() => file.read('other'), path, 'no tensor other')
  file.close()
  file.close()
  assertRefuses(() => file.read('codes'), 'closed')
})

test('tensors may share elements, and dictionaries lie in one another', () => {
  const value = pickle.items([
    ['whole', pickle.tensor(floats(), 0, [8], [1])],
    [
      'layers',
      pickle.items([
        ['row', pickle.tensor(floats(), 4, [1, 4], [9, 1])],
        ['steps', pickle.whole(7)],
      ]),
    ],
  ])
  const file = openTorchFile(writePickle(value))
  assert.equal([...file.names], ['whole', 'layers.row'])
  assert.equal(Array.from(widen(file.read('layers.row'))), [0.5, 1.5, 2.5, 3.5])
  assert.equal([...file.numbers], [['layers.steps', 7]])
  file.close()
})

test('nothing but dictionaries and tensors can be named', () => {
  for (const [module, name] of [
    ['os', 'system'],
    ['builtins', 'eval'],
    ['torch', 'load'],
    ['torch', 'constructor'],
    ['collections', 'defaultdict'],
    ['torch._utils', '_rebuild_tensor_v2.__globals__'],
    ['constructor', 'constructor'],
  ] as const) {
    const call = Buffer.concat([
      pickle.global(module, name),
      pickle.mark,
      pickle.text('true'),
      pickle.tuple,
      pickle.call,
    ])
    assertRefuses(() => openTorchFile(writePickle(call)), path, `${module}.${name}`, 'safetensors')
  }
  // INST, OBJ, NEWOBJ, EXT1 and PERSID have no business in a checkpoint.
  for (const opcode of [0x69, 0x6f, 0x81, 0x82, 0x50])
    assertRefuses(
      () => openTorchFile(writePickle(Buffer.from([opcode]))),
      `0x${opcode.toString(16)}`,
      'not allowed',
    )
  assertRefuses(
    () => openTorchFile(writePickle(Buffer.concat([pickle.text('f'), pickle.text('x'), pickle.call]))),
    'call',
  )
})

test('tensors that reach out of their elements are refused', () => {
  const of = (tensor: Buffer) => () => openTorchFile(writePickle(pickle.items([['w', tensor]])))
  assertRefuses(of(pickle.tensor(floats(), 0, [3, 3], [3, 1])), '[3,3]', '36 bytes', '32')
  assertRefuses(of(pickle.tensor(floats(), 5, [4], [1])), '36 bytes')
  assertRefuses(of(pickle.tensor(floats(), 0, [2 ** 40, 2 ** 40], [2 ** 40, 1])), 'bytes of archive/data/0')
  assertRefuses(of(pickle.tensor(floats(), -1, [4], [1])), 'an offset')
  assertRefuses(of(pickle.tensor(floats(), 0, [4, 2], [1, 4])), 'strides [1,4]', 'whole rows')
  assertRefuses(of(pickle.tensor(floats(), 0, [4], [1, 1])), '2 strides')
  assertRefuses(of(pickle.tensor(floats(9), 0, [4], [1])), '9 elements', '32 bytes')
  assertRefuses(
    of(pickle.tensor(pickle.storage('FloatStorage', '../x', 8), 0, [4], [1])),
    '"../x"',
    'missing',
  )
  assertRefuses(
    of(pickle.tensor(pickle.storage('QUInt8Storage', '0', 8), 0, [4], [1])),
    'torch.QUInt8Storage',
  )
})

test('archives that lie about themselves are refused', () => {
  const good = (name: string, more: Partial<ArchivePart> = {}): ArchivePart => ({
    name,
    bytes: eight,
    ...more,
  })
  const value = pickle.items([])
  const refuses = (parts: readonly ArchivePart[], ...words: string[]) =>
    assertRefuses(() => openTorchFile(writePickle(value, parts)), path, ...words)
  refuses([good('archive/data/0', { method: 8 })], 'compressed')
  refuses([good('archive/data/0', { flags: 1 })], 'encrypted')
  refuses([good('archive/data/0'), good('archive/data/0')], 'two entries')
  refuses([good('archive/data/0', { claimed: 4000 })], 'incomplete')
  refuses([good('archive/data/0', { claimed: 0xffffffff })], 'no size')
  refuses([good('archive/data/0', { offset: 0 })], 'overlap')
  refuses([good('archive/data/0', { offset: 3 })], 'not where its directory says')
  refuses([good('archive/data/0', { offset: 2 ** 31 })], 'outside')
  refuses([good('archive/byteorder', { bytes: Buffer.from('big') })], 'big order')
  writeFileSync(path, zipOf([good('archive/version')]))
  assertRefuses(() => openTorchFile(path), 'data.pkl')
  writeFileSync(path, 'PK\x03\x04 and no more')
  assertRefuses(() => openTorchFile(path), 'no directory', 'download it again')
  writeFileSync(path, Buffer.concat([pickle.begin, value, pickle.end]))
  assertRefuses(() => openTorchFile(path), '1.6')
  writePickle(value)
  truncateSync(path, 60)
  assertRefuses(() => openTorchFile(path), 'incomplete')
})

test('pickles that end too early, too late or nest without end are refused', () => {
  const refuses = (value: Buffer, ...words: string[]) =>
    assertRefuses(() => openTorchFile(writePickle(value)), path, ...words)
  refuses(Buffer.from('X\xff\xff\xff\x7fab', 'latin1'), 'are left')
  refuses(pickle.tuple, 'mark is missing')
  refuses(Buffer.concat([pickle.text('a'), pickle.text('b')]), 'left over')
  refuses(Buffer.from('h\x05', 'latin1'), 'value 5')
  refuses(Buffer.alloc(1000, '('), 'deep')
  // A dictionary that holds itself.
  refuses(Buffer.from('}q\x00X\x01\x00\x00\x00ah\x00s', 'latin1'), 'deep')
  refuses(Buffer.from([0x80, 1]), 'protocol 1')
})

test('damage anywhere in a file is an error of one line, or goes unseen; never another exception', () => {
  writeTorch(path, {
    a: { type: 'FloatStorage', shape: [2, 4], bytes: eight },
    b: { type: 'HalfStorage', shape: [3], bytes: halfRow },
  })
  const whole = readFileSync(path)
  const damaged = join(folder, 'damaged.bin')
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      fc.option(fc.nat(whole.length)),
      (places, end) => {
        const bytes = Buffer.from(whole)
        for (const [place, value] of places) bytes[place] = value
        writeFileSync(damaged, bytes.subarray(0, end ?? bytes.length))
        try {
          const file = openTorchFile(damaged)
          for (const name of file.names) if (file.info(name).dtype !== 'i64') file.read(name)
          file.close()
        } catch (error) {
          assert.instance(error, CheckpointError, (error as Error).stack)
          assert.not.match((error as Error).message, '\n')
        }
      },
    ),
    { numRuns: 1500, seed: 7 },
  )
})

test('files of PyTorch itself are read, or refused for what they hold', () => {
  const file = openTorchFile(join(files, 'state-dict.bin'))
  const shapes = Object.fromEntries(
    file.names.map((name) => [name, [file.info(name).dtype, ...file.info(name).shape]]),
  )
  assert.equal(shapes, {
    'model.a.weight': ['i8', 3, 4],
    'model.a.s1_scales': ['f16', 3],
    'model.b': ['bf16', 2, 2],
    rows: ['f32', 2, 6],
    whole: ['f32', 4, 6],
    count: ['i64'],
    empty: ['f32', 0, 5],
  })
  assert.equal(
    Array.from(new Int8Array(file.read('model.a.weight').bytes)),
    [-6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5],
  )
  assert.equal(Array.from(widen(file.read('model.a.s1_scales'))), [0.5, -1.25, 3])
  assert.equal(Array.from(widen(file.read('model.b'))), [1.5, -2, 0.25, 8])
  assert.equal(Array.from(widen(file.read('rows'))), [6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17])
  file.close()

  const nested = openTorchFile(join(files, 'nested.pt'))
  assert.equal([...nested.names], ['layers.0.scale', 'layers.0.flag'])
  assert.equal([...nested.numbers], [['layers.steps', 3]])
  nested.close()

  assertRefuses(() => openTorchFile(join(files, 'transposed.pt')), 'strides [1,6]', 'whole rows')
  assertRefuses(() => openTorchFile(join(files, 'legacy.pt')), '1.6')
})

test.run()
