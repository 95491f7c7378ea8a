import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type CudaDevice, openCuda } from '../../runtime/cuda/device.ts'
import { DriverError } from '../../runtime/cuda/errors.ts'
import { prepareProgram } from '../../runtime/kernel.ts'
import { describeDevices } from '../../runtime/open-device.ts'
import { Tensor } from '../../runtime/tensor.ts'
import { rng } from '../support/rng.ts'
import { vectorAdd, vectorAddPtx } from '../support/vector-add.ts'

const { gpus } = await describeDevices()
const gpu = gpus.find((each) => each.target)
const test = suite('CUDA device')
if (!gpu) {
  console.log('skipped: the CUDA device, because no GPU')
  test.skip('needs a GPU', () => {})
}
const check = (gpu ? test : test.skip) as typeof test

// Not in a `before` hook, whose errors uvu does not show.
const device = (gpu && openCuda(Number(gpu.name.slice('cuda:'.length)))) as CudaDevice
test.after(async () => {
  await device?.close()
})

const random = rng(41)
const floats = (count: number) => Float32Array.from({ length: count }, () => random.normal())

/** `x + factor * y` as the GPU's fused multiply-add gives it: one rounding of the exact value, which f64 holds here. */
const expected = (x: Float32Array, y: Float32Array, factor: number) =>
  x.map((value, i) => Math.fround(value + y[i]! * factor))

/** Small whole numbers, so that every product and sum is exact. */
const wholes = (count: number) => Float32Array.from({ length: count }, () => random.integer(-1000, 1000))

const grid = (dims: Readonly<Record<string, number>>) => [Math.ceil(dims.N! / 256)]
type Args = { x: Tensor; y: Tensor; factor: number; out: Tensor }
const prepare = (args: Args, program = vectorAdd()) =>
  prepareProgram<Args>(device, program, grid, args as never)

check('properties are plausible and the target fits', () => {
  const { memoryBytes, multiprocessors, sharedBytesPerBlock } = device.properties
  assert.ok(memoryBytes > 2 ** 30 && multiprocessors > 0)
  assert.is.not(device.properties.driver, null)
  assert.ok(sharedBytesPerBlock >= device.target.sharedBytes)
  assert.ok(device.freeBytes() > 0 && device.freeBytes() <= memoryBytes)
})

check('memory returns its bytes through copies, fills, slices and odd sizes', async () => {
  for (const count of [1, 3, 1021, 300_007]) {
    const data = floats(count)
    const a = Tensor.from(device, 'f32', [count], data)
    const b = Tensor.allocate(device, 'f32', [count])
    assert.is(a.address % 256, 0)
    b.copyFrom(a)
    assert.equal(await b.read(), data)
    assert.equal(await b.slice(count - 1, count).read(), data.slice(-1))
    b.fill(0x11)
    assert.ok(((await b.view(0, 'u8', [count * 4]).read()) as Uint8Array).every((byte) => byte === 0x11))
    a.free()
    b.free()
  }
})

check('a read sees the memory as it was when it was asked for', async () => {
  const data = floats(1 << 20)
  const tensor = Tensor.from(device, 'f32', [data.length], data)
  const reading = tensor.read()
  tensor.fill(0)
  assert.equal(await reading, data)
  tensor.free()
})

check('pinned memory travels both ways', async () => {
  const bytes = 1 << 22
  const source = device.allocatePinned(bytes)
  const target = device.allocatePinned(bytes)
  for (let i = 0; i < bytes; i += 97) source.view[i] = random.integer(0, 255)
  const memory = device.allocate(bytes)
  device.write(memory, source.view)
  await device.read(target.view, memory)
  assert.is(Buffer.compare(source.view, target.view), 0)
  memory.free()
  source.free()
  target.free()
})

check('a hand-written kernel adds vectors, and its arguments and extents change', async () => {
  const count = 100_003
  const [x, y] = [wholes(count), wholes(count)]
  const out = Tensor.allocate(device, 'f32', [count])
  const args = { x: Tensor.from(device, 'f32', [count], x), y: Tensor.from(device, 'f32', [count], y) }
  const launch = prepare({ ...args, factor: 3, out })
  assert.ok(launch.fn.resources!.registers > 0)
  launch.run()
  assert.equal(await out.read(), expected(x, y, 3))
  launch.set({ factor: -2 })
  launch.resize({ N: 1000 })
  launch.run()
  const both = expected(x, y, 3)
  both.set(expected(x.slice(0, 1000), y.slice(0, 1000), -2))
  assert.equal(await out.read(), both)
})

check('events order streams and measure, and waiting leaves the event loop running', async () => {
  const count = 1 << 24
  const x = Tensor.allocate(device, 'f32', [count])
  const y = Tensor.allocate(device, 'f32', [count])
  const out = Tensor.allocate(device, 'f32', [count])
  x.fill(0)
  y.fill(0)
  const launch = prepare({ x, y, factor: 1, out })
  const other = device.createStream()
  const [start, end] = [device.createEvent(), device.createEvent()]
  start.record()
  for (let i = 0; i < 400; i++) launch.run()
  end.record()
  other.wait(end)
  out.fill(0x3f, other)
  let ticks = 0
  let waiting = true
  const tick = () => {
    ticks++
    if (waiting) setImmediate(tick)
  }
  setImmediate(tick)
  await other.synchronize()
  waiting = false
  await end.synchronize()
  assert.ok(end.elapsedSince(start) > 0.1, `400 launches took ${end.elapsedSince(start)} ms`)
  assert.ok(ticks > 3, `the loop turned ${ticks} times`)
  const bytes = (await out.slice(0, 1000).view(0, 'u8', [4000]).read()) as Uint8Array
  assert.ok(
    bytes.every((byte) => byte === 0x3f),
    'the second stream wrote after the first',
  )
  other.destroy()
  for (const tensor of [x, y, out]) tensor.free()
})

check('a graph replays its launches', async () => {
  const count = 5000
  const [x, y] = [wholes(count), wholes(count)]
  const acc = Tensor.from(device, 'f32', [count], x)
  const launch = prepare({ x: acc, y: Tensor.from(device, 'f32', [count], y), factor: 2, out: acc })
  const graph = device.capture((stream) => {
    for (let i = 0; i < 5; i++) launch.run(stream)
  })
  assert.equal(await acc.read(), x, 'recording runs nothing')
  graph.launch()
  graph.launch()
  assert.equal(await acc.read(), expected(x, y, 20))
  graph.destroy()
})

check('a refused program shows the log of the driver and the line', () => {
  const ptx = vectorAddPtx('sm_80', 'bogus.f32 %f3, %f3;')
  const failure = (() => {
    try {
      device.load(vectorAdd('sm_80', { ptx }))
    } catch (error) {
      return error as DriverError
    }
    return undefined
  })()
  assert.instance(failure, DriverError)
  assert.is(failure!.kernel, 'vectorAdd')
  assert.is(failure!.location, '/kernels/vector-add.ts:12')
  assert.match(failure!.message, /bogus/)
  assert.not(failure!.fatal)
})

check('shared memory past 48 KiB is granted', async () => {
  const count = 256
  const [x, y] = [wholes(count), wholes(count)]
  const out = Tensor.allocate(device, 'f32', [count])
  const args = { x: Tensor.from(device, 'f32', [count], x), y: Tensor.from(device, 'f32', [count], y) }
  const sharedBytes = device.properties.sharedBytesPerBlock
  prepare({ ...args, factor: 1, out }, vectorAdd('sm_80', { sharedBytes })).run()
  assert.equal(await out.read(), expected(x, y, 1))
})

check('more memory than there is is an error, and the device works on', () => {
  assert.throws(
    () => device.allocate(device.properties.memoryBytes * 2),
    (error: DriverError) => error.code === 'CUDA_ERROR_OUT_OF_MEMORY' && /MiB free/.test(error.message),
  )
  device.allocate(256).free()
})

// Last: it costs this process its context.
check('an address outside memory is laid to its kernel at the wait', async () => {
  const x = Tensor.over(device, { address: 2 ** 46 + 256, bytes: 4096 }, 'f32', [1024])
  const launch = prepare({ x, y: x, factor: 1, out: x })
  await device.synchronize()
  launch.run()
  const failure = await device.synchronize().then(
    () => undefined,
    (error: DriverError) => error,
  )
  assert.instance(failure, DriverError)
  assert.is(failure!.code, 'CUDA_ERROR_ILLEGAL_ADDRESS')
  assert.is(failure!.kernel, 'vectorAdd')
  assert.ok(failure!.fatal)
  assert.throws(
    () => device.allocate(256),
    (error: DriverError) => error === failure,
  )
})

test.run()
