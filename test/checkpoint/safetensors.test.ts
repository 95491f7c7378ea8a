import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { CheckpointError } from '../../checkpoint/error.ts'
import { openSafetensors, openShards } from '../../checkpoint/safetensors.ts'
import { widen } from '../../checkpoint/tensor.ts'
import { assertRefuses, temporaryFolder, writeRaw } from './support.ts'

const folder = temporaryFolder()
const openSharded = (index: string) => openShards(index, openSafetensors, '.safetensors')
const path = join(folder, 'x.safetensors')
const u8 = (begin: number, end: number, shape = [end - begin]) => ({
  dtype: 'U8',
  shape,
  data_offsets: [begin, end],
})

function assertRefusesHeader(header: unknown, data: number, ...words: string[]): void {
  writeRaw(path, header, data)
  assertRefuses(() => openSafetensors(path), path, 'download it again', ...words)
}

test('tensors, metadata and parts of tensors are read as they lie in the file', () => {
  const header = {
    __metadata__: { format: 'pt', note: 'ä' },
    second: { dtype: 'BF16', shape: [3], data_offsets: [4, 10] },
    first: { dtype: 'F32', shape: [], data_offsets: [0, 4] },
    none: { dtype: 'I64', shape: [0, 5], data_offsets: [10, 10] },
    half: { dtype: 'F16', shape: [1, 2], data_offsets: [10, 14] },
  }
  const data = Buffer.from('0000c03f'.concat('803f00c0493f', '01000 0bc'.replace(' ', '')), 'hex')
  const file = openSafetensors(writeRaw(path, header, data))
  assert.equal(file.metadata, new Map(Object.entries(header.__metadata__)))
  assert.equal([...file.names].sort(), ['first', 'half', 'none', 'second'])
  assert.equal(Array.from(widen(file.read('first'))), [1.5])
  assert.equal(Array.from(widen(file.read('second'))), [1, -2, 0.78515625])
  assert.equal(Array.from(widen(file.read('half'))), [2 ** -24, -1])
  assert.equal(file.read('second').shape, [3])
  const part = new Uint8Array(2)
  file.readInto(part, 'second', 2)
  assert.equal(Array.from(part), [0x00, 0xc0])
  assert.throws(() => file.readInto(new Uint8Array(5), 'second', 2), RangeError)
  assert.is(file.info('none').byteLength, 0)
  assertRefuses(() => file.read('none'), 'none', 'i64')
  assertRefuses(() => file.read('third'), path, 'third')
  file.close()
  file.close()
  assertRefuses(() => file.read('first'), 'closed')
})

test('a file that ends too early or too late is refused', () => {
  writeFileSync(path, 'short')
  assertRefuses(() => openSafetensors(path), 'too few')
  writeRaw(path, { a: u8(0, 8) }, 8)
  truncateSync(path, 20)
  assertRefuses(() => openSafetensors(path), 'incomplete')
  assertRefusesHeader({ a: u8(0, 8) }, 7, 'tensor a', '1 bytes past the end', 'incomplete')
  assertRefusesHeader({ a: u8(0, 8) }, 9, 'last 1 bytes belong to no tensor')
})

test('a hostile header length is refused before anything of that size is allocated', () => {
  for (const length of [100_000_001n, 2n ** 31n, 2n ** 53n, 2n ** 64n - 1n]) {
    writeRaw(path, {}, 0, length)
    assertRefuses(() => openSafetensors(path), `${length}`, '100000000')
  }
  writeRaw(path, {}, 0, 100_000_000n)
  assertRefuses(() => openSafetensors(path), 'incomplete')
})

test('ranges must follow one another', () => {
  assertRefusesHeader({ a: u8(0, 4), b: u8(2, 6) }, 6, 'a and b overlap')
  assertRefusesHeader({ a: u8(0, 4), b: u8(0, 4) }, 4, 'overlap')
  assertRefusesHeader({ a: u8(0, 4), b: u8(5, 6) }, 6, '1 bytes between a and b')
  assertRefusesHeader({ a: u8(1, 4) }, 4, '1 bytes between the header and a')
})

test('shape times element size must be the range, in exact arithmetic', () => {
  assertRefusesHeader({ a: u8(0, 8, [3, 3]) }, 8, 'tensor a of shape [3,3] in U8 needs 9 bytes, but has 8')
  assertRefusesHeader({ a: { ...u8(0, 8), dtype: 'F16' } }, 8, 'needs 16 bytes')
  assertRefusesHeader({ a: u8(0, 0, [2 ** 32, 2 ** 32]) }, 0, 'needs 18446744073709551616 bytes')
})

test('malformed entries are refused, naming the tensor', () => {
  assertRefusesHeader({ a: { ...u8(0, 4), dtype: 'F5' } }, 4, 'tensor a', '"F5"')
  assertRefusesHeader({ a: { ...u8(0, 4), dtype: 'constructor' } }, 4, '"constructor"')
  assertRefusesHeader({ a: { ...u8(0, 4), shape: [-4] } }, 4, 'tensor a', 'shape')
  assertRefusesHeader({ a: { ...u8(0, 4), shape: [4.5] } }, 4, 'shape')
  assertRefusesHeader({ a: { ...u8(0, 4), shape: '4' } }, 4, 'shape')
  assertRefusesHeader({ a: { ...u8(0, 4), data_offsets: [4, 0] } }, 4, 'data_offsets')
  assertRefusesHeader({ a: { ...u8(0, 4), data_offsets: [0, 4, 4] } }, 4, 'data_offsets')
  assertRefusesHeader({ a: { ...u8(0, 4), data_offsets: [0, 2 ** 60] } }, 4, 'data_offsets')
  assertRefusesHeader({ a: { ...u8(0, 4), more: 1 } }, 4, 'unknown field more')
  assertRefusesHeader({ a: null }, 4, 'tensor a')
  assertRefusesHeader({ __metadata__: { a: 1 } }, 0, '__metadata__', 'a')
  assertRefusesHeader({ __metadata__: [] }, 0, '__metadata__')
})

test('the header must be strict JSON without repeated names', () => {
  const a = JSON.stringify(u8(0, 4))
  assertRefusesHeader('[]', 0, 'not a JSON object')
  assertRefusesHeader('{"a":', 0, 'not strict JSON')
  assertRefusesHeader(`{"a":${a},}`, 4, 'not strict JSON')
  assertRefusesHeader(`{"a":${a},"a":${a}}`, 4, '"a" is there twice')
  assertRefusesHeader(`{"a":${a},"\\u0061":${a}}`, 4, '"a" is there twice')
  assertRefusesHeader(
    `{"a":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}}`,
    4,
    '"dtype" is there twice',
  )
  writeRaw(path, '{"__metadata__":{"dtype":"a: b, \\"dtype\\":"}}', 0)
  openSafetensors(path).close()
  const latin1 = Buffer.from('{"\xe9":1}', 'latin1')
  writeFileSync(path, Buffer.concat([Buffer.from([latin1.length, 0, 0, 0, 0, 0, 0, 0]), latin1]))
  assertRefuses(() => openSafetensors(path), 'not UTF-8')
})

test('whatever bytes a file has, it opens or is refused with a CheckpointError', () => {
  const valid = JSON.stringify({ __metadata__: { k: 'v' }, a: u8(0, 4), b: u8(4, 8, [2, 2]) })
  const mutation = fc.record({ at: fc.nat(valid.length - 1), to: fc.integer({ min: 32, max: 126 }) })
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), (mutations) => {
      const bytes = Buffer.from(valid)
      for (const { at, to } of mutations) bytes[at] = to
      writeRaw(path, bytes.toString('latin1'), 8)
      try {
        openSafetensors(path).close()
      } catch (error) {
        assert.instance(error, CheckpointError)
      }
    }),
    { numRuns: 1000, seed: 17 },
  )
})

test('a missing file, and a folder in place of one, are named', () => {
  assertRefuses(() => openSafetensors(join(folder, 'none')), 'none is missing')
  assertRefuses(() => openSafetensors(folder), 'is not a file')
})

const indexPath = join(folder, 'model.safetensors.index.json')
const writeIndex = (weightMap: unknown): string => {
  writeFileSync(indexPath, JSON.stringify({ metadata: { total_size: 8 }, weight_map: weightMap }))
  return indexPath
}

test('an index finds each tensor in its shard', () => {
  writeRaw(join(folder, 's-1.safetensors'), { a: u8(0, 4) }, Buffer.from([1, 2, 3, 4]))
  writeRaw(join(folder, 's-2.safetensors'), { b: u8(0, 2), c: u8(2, 3) }, Buffer.from([5, 6, 7]))
  writeIndex({ a: 's-1.safetensors', c: 's-2.safetensors', b: 's-2.safetensors' })
  const tensors = openSharded(indexPath)
  assert.equal(Array.from(tensors.read('a').bytes), [1, 2, 3, 4])
  assert.equal(Array.from(tensors.read('b').bytes), [5, 6])
  assert.equal(Array.from(tensors.read('c').bytes), [7])
  assert.not(tensors.has('d'))
  assertRefuses(() => tensors.info('d'), indexPath, 'd')
  tensors.close()
  assertRefuses(() => tensors.read('a'), 'closed')
})

test('an index that points to a missing shard, a missing tensor or out of the folder is refused', () => {
  assertRefuses(() => openSharded(writeIndex({ a: 's-3.safetensors' })), 's-3.safetensors is missing')
  assertRefuses(
    () => openSharded(writeIndex({ a: 's-1.safetensors', z: 's-1.safetensors' })),
    's-1.safetensors holds tensor z, but it does not',
  )
  const names = [
    '../s-1.safetensors',
    '/etc/x.safetensors',
    'a/b.safetensors',
    'a\\b.safetensors',
    'x.bin',
    '',
    7,
  ]
  for (const name of [...names, '..', 's-1.safetensors\0', 's-1.safetensors\n'])
    assertRefuses(() => openSharded(writeIndex({ a: name })), 'not the name of a file beside it')
  for (const map of [undefined, [], null, 'x'])
    assertRefuses(() => openSharded(writeIndex(map)), 'no weight_map')
  assertRefuses(() => openSharded(writeIndex({})), 'empty')
  writeFileSync(indexPath, '{"weight_map":{"a":"s-1.safetensors","a":"s-2.safetensors"}}')
  assertRefuses(() => openSharded(indexPath), '"a" is there twice')
})

test('floats of 8 bits are read, but have no values without their scales', () => {
  for (const dtype of ['F8_E4M3', 'F8_E5M2']) {
    const file = openSafetensors(writeRaw(path, { w: { dtype, shape: [3], data_offsets: [0, 3] } }, 3))
    const tensor = file.read('w')
    assert.is(tensor.bytes.length, 3)
    assertRefuses(() => widen(tensor), 'tensor w', 'convert the checkpoint')
    file.close()
  }
})

test.run()
