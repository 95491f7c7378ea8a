import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type DType, dtypeBytes } from '../../dsl/dtype.ts'
import { f16FromF32, f32FromF16 } from '../../dsl/half.ts'
import { Tensor } from '../../runtime/tensor.ts'
import { hostDevice } from '../support/host-device.ts'
import { rng } from '../support/rng.ts'

const device = hostDevice()
const random = rng(31)
const integers = (count: number, low: number, high: number) =>
  Array.from({ length: count }, () => random.integer(low, high))

test('every element type returns what was written', async () => {
  const arrays = {
    f32: Float32Array.from({ length: 6 }, () => random.normal()),
    f16: Uint16Array.from(integers(6, 0, 0x7bff)),
    bf16: Uint16Array.from(integers(6, 0, 0x7f7f)),
    i32: Int32Array.from(integers(6, -(2 ** 31), 2 ** 31 - 1)),
    u32: Uint32Array.from(integers(6, 0, 2 ** 32 - 1)),
    i8: Int8Array.from(integers(6, -128, 127)),
    u8: Uint8Array.from(integers(6, 0, 255)),
    e4m3: Uint8Array.from(integers(6, 0, 255)),
    e5m2: Uint8Array.from(integers(6, 0, 255)),
  } satisfies Record<DType, unknown>
  for (const [dtype, data] of Object.entries(arrays) as [DType, (typeof arrays)[DType]][]) {
    const tensor = Tensor.from(device, dtype, [2, 3], data)
    assert.is(tensor.bytes, 6 * dtypeBytes[dtype])
    assert.is(tensor.tag, 'row')
    assert.equal(await tensor.read(), data)
    const bytes = new Uint8Array(data.buffer.slice(0))
    assert.equal(await Tensor.from(device, dtype, [6], bytes).read(), data, `${dtype} from bytes`)
  }
})

test('floats and plain numbers are rounded to half precision, and read back as floats', async () => {
  const floats = Float32Array.from({ length: 5 }, () => random.normal())
  const rounded = f32FromF16(f16FromF32(floats))
  assert.equal(await Tensor.from(device, 'f16', [5], floats).readFloats(), rounded)
  assert.equal(await Tensor.from(device, 'f16', [5], [...floats]).readFloats(), rounded)
  assert.equal(await Tensor.from(device, 'bf16', [2], [1.5, -3]).readFloats(), Float32Array.of(1.5, -3))
  assert.equal(await Tensor.from(device, 'i8', [2], [-3, 4]).readFloats(), Float32Array.of(-3, 4))
  assert.equal(await Tensor.from(device, 'e4m3', [2], [1.75, -300]).readFloats(), Float32Array.of(1.75, -288))
  const bytes = Uint8Array.of(0x3d, 0xc0)
  assert.equal(await Tensor.from(device, 'e5m2', [2], bytes).readFloats(), Float32Array.of(1.25, -2))
  assert.throws(() => Tensor.from(device, 'e5m2', [2], [1, 2]), /give a Uint8Array of 2/)
})

test('data of another size or type is refused with both', () => {
  assert.throws(
    () => Tensor.from(device, 'f32', [2, 2], new Float32Array(3)),
    'four elements of f32 cannot be filled'.replace('four', '4'),
  )
  const refused = (run: () => unknown, text: string) =>
    assert.throws(run, (error: Error) => error.name === 'TensorError' && error.message.includes(text))
  refused(() => Tensor.from(device, 'i32', [2], new Float32Array(2)), 'give a Int32Array of 2')
  refused(() => Tensor.allocate(device, 'f33' as DType, [2]), "no element type 'f33'; there are f32, f16")
  refused(() => Tensor.from(device, 'i8', [2], new Uint8Array(3)), '3 elements of Uint8Array')
  refused(
    () => Tensor.allocate(device, 'f32', [2, 0]),
    'every extent must be a positive integer, got shape [2, 0]',
  )
  refused(() => Tensor.allocate(device, 'f32', [2.5]), 'positive integer')
})

test('a slice is the rows in place: it reads and writes the memory of the whole', async () => {
  const data = Float32Array.from({ length: 24 }, () => random.normal())
  const whole = Tensor.from(device, 'f32', [4, 3, 2], data)
  const rows = whole.slice(1, 3)
  assert.equal(rows.shape, [2, 3, 2])
  assert.is(rows.address, whole.address + 24)
  assert.equal(await rows.read(), data.slice(6, 18))
  assert.equal(whole.at(3).shape, [3, 2])
  assert.equal(await whole.at(3).at(1).read(), data.slice(20, 22))
  rows.write(Float32Array.from({ length: 12 }, (_, i) => i))
  assert.is((await whole.readFloats())[6 + 11], 11)
  for (const [start, end] of [
    [0, 5],
    [2, 2],
    [-1, 2],
    [0.5, 2],
  ] as const)
    assert.throws(() => whole.slice(start, end), /are not within the 4 rows/)
})

test('a reshape keeps the elements and their number', async () => {
  const data = Int32Array.from(integers(12, -9, 9))
  const tensor = Tensor.from(device, 'i32', [3, 4], data)
  assert.equal(await tensor.reshape([2, 6]).at(1).read(), data.slice(6))
  assert.throws(() => tensor.reshape([5]), 'cannot reshape i32 [3, 4] to [5]')
})

test('packed layouts are not sliced or reshaped, and a view says what lies there', async () => {
  const packed = Tensor.from(device, 'u32', [8], Uint32Array.from(integers(8, 0, 2 ** 32 - 1)), 'fragment')
  assert.throws(() => packed.slice(0, 1), /rows of layout 'fragment' do not lie one after the other/)
  assert.throws(() => packed.reshape([2, 4]), /layout 'fragment' cannot be reshaped/)
  const part = packed.view(8, 'u8', [4, 3], 'other')
  assert.is(part.tag, 'other')
  assert.is(part.address, packed.address + 8)
  assert.throws(() => packed.view(24, 'u32', [3]), '12 bytes at offset 24 are not within the 32')
})

test('freeing gives back once, ends the views, and only the owner may', async () => {
  const before = device.live()
  const tensor = Tensor.allocate(device, 'f32', [4])
  const view = tensor.slice(0, 2)
  assert.throws(() => view.free(), /a view does not own its memory/)
  tensor.free()
  tensor.free()
  assert.is(device.live(), before)
  assert.ok(view.freed)
  assert.throws(() => view.write(new Float32Array(2)), /was freed and cannot be used again/)
  await view.read().then(
    () => assert.unreachable(),
    (error: Error) => assert.match(error.message, /f32 \[2\] was freed/),
  )
})

test('a tensor over part of an arena must fit it and leaves its memory alone', async () => {
  const arena = device.allocate(64)
  const tensor = Tensor.over(device, { address: arena.address + 16, bytes: 16 }, 'f16', [8])
  assert.is(tensor.address, arena.address + 16)
  assert.throws(() => tensor.free(), /does not own/)
  assert.throws(
    () => Tensor.over(device, arena, 'f32', [17]),
    'f32 [17] needs 68 bytes and the memory range has 64',
  )
})

test('copies need the same element type, shape and layout', async () => {
  const data = Float32Array.from({ length: 4 }, () => random.normal())
  const src = Tensor.from(device, 'f32', [4], data)
  const dst = Tensor.allocate(device, 'f32', [4])
  dst.copyFrom(src)
  assert.equal(await dst.read(), data)
  assert.throws(() => dst.copyFrom(src.reshape([2, 2])), 'cannot copy f32 [2, 2] into f32 [4]')
  dst.fill(0xff)
  assert.ok((await dst.readFloats()).every(Number.isNaN))
})

test.run()
