import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type CudaDevice, openCuda } from '../../../runtime/cuda/device.ts'
import { DriverError } from '../../../runtime/cuda/errors.ts'
import { argumentOffsets } from '../../../runtime/cuda/launch.ts'
import { maxPinnedBytes } from '../../../runtime/cuda/memory.ts'
import type { DeviceError, Stream } from '../../../runtime/device.ts'
import { assemble } from '../../support/ptxas.ts'
import { rng } from '../../support/rng.ts'
import { vectorAdd, vectorAddPtx } from '../../support/vector-add.ts'
import { buildStub, type Stub } from './stub/stub.ts'

const built = buildStub()
const test = suite('CUDA device on the stub driver')
if (!built) test.skip('needs a C compiler', () => {})
const stub = built as Stub
const check: typeof test = (built ? test : test.skip) as typeof test

let device: CudaDevice
test.before.each(() => {
  if (!built) return
  stub.reset()
  device = openCuda(0, { library: stub.library })
})
test.after.each(async () => {
  if (built) await device.close()
})

const random = rng(21)
const bytes = (count: number) => Uint8Array.from({ length: count }, () => random.integer(0, 255))

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

/** Collects, and lets finalizers run. */
async function collectGarbage(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 5))
    gc()
  }
  await new Promise((resolve) => setTimeout(resolve, 5))
}

function failure(run: () => unknown): DriverError {
  try {
    run()
  } catch (error) {
    assert.instance(error, DriverError)
    return error as DriverError
  }
  throw new Error('expected a DriverError, and nothing was thrown')
}

async function rejection(promise: Promise<unknown>): Promise<DriverError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.instance(error, DriverError)
  return error as DriverError
}

check('properties are the driver’s, and the target follows the compute capability', async () => {
  assert.is(device.name, 'cuda:0')
  assert.is(device.properties.description, 'Stub GPU 0')
  assert.is(device.properties.multiprocessors, 132)
  assert.is(device.properties.l2Bytes, 62_914_560)
  assert.is(device.properties.memoryBytes, 5 * 2 ** 30)
  assert.is(device.properties.driver, '13.1')
  assert.is(device.target.name, 'sm_90a')
  assert.is(device.freeBytes(), 3 * 2 ** 30)
})

check('an ordinal that does not exist and a GPU without a target are refused with what there is', () => {
  stub.devices(2, 90)
  assert.throws(() => openCuda(2, { library: stub.library }), /no cuda:2: the driver sees cuda:0 to cuda:1/)
  stub.devices(1, 75)
  assert.throws(
    () => openCuda(0, { library: stub.library }),
    /Stub GPU 0\) has compute capability 7\.5; supported are 8\.0, 8\.6, 8\.9, 9\.0, 10\.0/,
  )
  stub.devices(0, 90)
  assert.throws(() => openCuda(0, { library: stub.library }), /the driver sees no GPU/)
})

check('a missing driver and one without a function say so', () => {
  assert.throws(
    () => openCuda(0, { library: '/nowhere/libcuda.so.1' }),
    (error: DeviceError) =>
      error.code === 'NO_DRIVER' && error.message.endsWith('is not there: no /nowhere/libcuda.so.1 is found'),
  )
  assert.throws(
    () => openCuda(0, { library: 'libm.so.6' }),
    (error: DeviceError) => error.code === 'OLD_DRIVER' && /libm\.so\.6 has no cuInit/.test(error.message),
  )
})

check('bytes written are the bytes read, at any offset, through copies and fills', async () => {
  const data = bytes(100_003)
  const a = device.allocate(data.length)
  const b = device.allocate(data.length)
  device.write(a, data)
  device.copy(b, a)
  device.fill({ address: b.address + 10, bytes: 5 }, 0xa5)
  const back = new Uint8Array(data.length)
  await device.read(back, b)
  const expected = Uint8Array.from(data).fill(0xa5, 10, 15)
  assert.equal(back, expected)
  const part = new Float32Array(3)
  await device.read(part, { address: a.address + 4, bytes: 12 })
  assert.equal(new Uint8Array(part.buffer), data.slice(4, 16))
  const within = new Uint16Array(new Uint8Array(32).buffer, 6, 4)
  await device.read(within, { address: a.address + 1, bytes: 8 })
  assert.equal(new Uint8Array(within.buffer).slice(6, 14), data.slice(1, 9))
})

check('what is written at a small typed array’s own offset is its bytes, not its buffer’s', async () => {
  const source = bytes(48)
  const memory = device.allocate(8)
  device.write(memory, source.subarray(13, 21))
  const back = new Uint8Array(8)
  await device.read(back, memory)
  assert.equal(back, source.slice(13, 21))
})

check('copies that do not fit their range are refused before the driver sees them', async () => {
  const memory = device.allocate(16)
  assert.throws(() => device.write(memory, new Uint8Array(17)), /writing 17 bytes does not fit a range of 16/)
  assert.throws(() => device.copy(memory, { address: 0, bytes: 32 }), /copying 32 bytes does not fit/)
  await device.read(new Uint8Array(17), memory).then(
    () => assert.unreachable(),
    (error: DeviceError) => assert.is(error.code, 'OUT_OF_RANGE'),
  )
  for (const size of [0, -1, 1.5, Number.NaN])
    assert.throws(() => device.allocate(size), /positive whole number of bytes/)
})

check('running out of memory names the sizes and the driver’s error', () => {
  const error = failure(() => device.allocate(4 * 2 ** 30))
  assert.is(error.code, 'CUDA_ERROR_OUT_OF_MEMORY')
  assert.is(
    error.message,
    'allocating 4096.0 MiB, with 3072.0 MiB of 5120.0 MiB free: out of memory (CUDA_ERROR_OUT_OF_MEMORY)',
  )
  assert.not(error.fatal)
  assert.ok(device.allocate(64).address, 'a later allocation works')
})

check('pinned memory is one view, and the driver copies from and to it directly', async () => {
  const pinned = device.allocatePinned(4096)
  assert.is(pinned.view.length, 4096)
  const data = bytes(4096)
  pinned.view.set(data)
  const memory = device.allocate(4096)
  device.write(memory, pinned.view)
  const target = device.allocatePinned(4096)
  const before = stub.called('cuMemHostAlloc')
  await device.read(target.view, memory)
  assert.is(stub.called('cuMemHostAlloc'), before, 'no staging for a pinned destination')
  assert.equal(Buffer.from(target.view), Buffer.from(data))
  assert.throws(() => device.allocatePinned(maxPinnedBytes + 1), /allocate several pieces/)
})

check('freed pinned memory goes back only when no view of it is left', async () => {
  const pinned = device.allocatePinned(4096)
  let view: Uint8Array | undefined = pinned.view
  view[7] = 99
  pinned.free()
  pinned.free()
  assert.throws(() => pinned.view, /pinned memory were freed/)
  await collectGarbage()
  assert.is(stub.called('cuMemFreeHost'), 0)
  assert.is(view[7], 99, 'the view still reads its own memory')
  view = undefined
  await collectGarbage()
  assert.is(stub.called('cuMemFreeHost'), 1)
})

check('freeing twice gives back once, and closing gives back the rest', async () => {
  const memory = device.allocate(64)
  memory.free()
  memory.free()
  assert.is(stub.called('cuMemFree_v2'), 1)
  const other = device.allocate(64)
  device.allocatePinned(64)
  device.createStream()
  device.createEvent()
  device.load(vectorAdd())
  device.capture(() => {})
  await device.close()
  await device.close()
  assert.is(stub.live(), 0)
  other.free()
  assert.is(stub.called('cuMemFree_v2'), 2)
  assert.throws(() => device.allocate(64), /cuda:0 is closed/)
  assert.throws(() => device.createStream(), /cuda:0 is closed/)
})

check('arguments lie at their natural alignment in declaration order', () => {
  const { params } = vectorAdd()
  assert.equal(argumentOffsets(params), { offsets: [0, 8, 16, 24, 32], bytes: 36 })
})

check('a launch hands the driver its grid, CTA, shared memory, stream and packed arguments', () => {
  const program = vectorAdd('sm_80', { block: [32, 4, 2], sharedBytes: 1234 })
  const fn = device.load(program)
  const stream = device.createStream()
  const launch = device.prepareLaunch(fn, { grid: [7, 5, 3] }, [2 ** 40 + 16, 32, 1.5, 0x7fff_0000_1230, -9])
  launch.run(stream)
  const [got] = stub.launches()
  assert.equal(got!.grid, [7, 5, 3])
  assert.equal(got!.block, [32, 4, 2])
  assert.is(got!.sharedBytes, 1234)
  assert.is(got!.attribute, undefined)
  assert.is(got!.stream, stream.handle)
  assert.is(got!.function, fn.handle)
  const expected = Buffer.alloc(36)
  expected.writeBigUInt64LE(2n ** 40n + 16n, 0)
  expected.writeBigUInt64LE(32n, 8)
  expected.writeFloatLE(1.5, 16)
  expected.writeBigUInt64LE(0x7fff_0000_1230n, 24)
  expected.writeInt32LE(-9, 32)
  // Behind the last argument comes what fills the block up to the pointers.
  assert.equal(got!.args.subarray(0, 36), expected)
})

check('changed arguments, grid and stream reach later launches and leave the rest', () => {
  const params = [
    ...vectorAdd().params.slice(0, 3),
    { kind: 'scalar', name: 'seed', dtype: 'u32' } as const,
    { kind: 'scalar', name: 'shift', dtype: 'i32' } as const,
  ]
  const fn = device.load(vectorAdd('sm_80', { params }))
  const launch = device.prepareLaunch(fn, { grid: [1, 1, 1] }, [16, 32, 0.5, 7, 8])
  launch.run()
  launch.setArgument(1, 2 ** 45 + 256)
  launch.setArgument(3, 0xffff_fff0)
  launch.setArgument(4, -(2 ** 31))
  launch.setGrid([9, 8, 7])
  const stream = device.createStream()
  launch.run(stream)
  launch.run()
  const [first, second, third] = stub.launches()
  assert.equal(second!.grid, [9, 8, 7])
  assert.is(second!.stream, stream.handle)
  assert.is(third!.stream, first!.stream)
  assert.is(second!.args.readBigUInt64LE(0), 16n)
  assert.is(second!.args.readBigUInt64LE(8), 2n ** 45n + 256n)
  assert.is(second!.args.readFloatLE(16), 0.5)
  assert.is(second!.args.readUInt32LE(20), 0xffff_fff0)
  assert.is(second!.args.readInt32LE(24), -(2 ** 31))
  assert.is(first!.args.readBigUInt64LE(8), 32n)
  assert.throws(() => launch.setArgument(5, 1), /vectorAdd has no argument 5/)
  assert.throws(() => device.prepareLaunch(fn, { grid: [1, 1, 1] }, [1]), /takes 5 arguments, got 1/)
})

check('loading keeps the compiler’s notes and the resources, once per program', () => {
  const program = vectorAdd('sm_80', { sharedBytes: 100 })
  const fn = device.load(program)
  assert.is(device.load(program), fn)
  assert.is(stub.called('cuModuleLoadDataEx'), 1)
  assert.equal(fn.resources, { registers: 10, localBytes: 24, sharedBytes: 164 })
  assert.match(fn.log, /Used 10 registers/)
  assert.match(fn.log, new RegExp(`${program.ptx.length} bytes of text`), 'the text is handed over whole')
})

test('the hand-written program of these tests assembles', () => {
  assemble(vectorAddPtx('sm_80'), 'sm_80')
})

check('a refused program shows the driver’s log and the TypeScript line of the first error', () => {
  const ptx = vectorAddPtx('sm_80', 'bogus.f32 %f3, %f3;')
  const line = ptx.split('\n').findIndex((text) => text.includes('bogus')) + 1
  const log = `ptxas application ptx input, line ${line}; error   : Not a name of any known instruction: 'bogus'`
  stub.jitLog(log)
  const error = failure(() => device.load(vectorAdd('sm_80', { ptx })))
  assert.is(error.code, 'CUDA_ERROR_INVALID_PTX')
  assert.is(error.kernel, 'vectorAdd')
  assert.is(error.location, '/kernels/vector-add.ts:12')
  assert.is(error.log, log)
  assert.match(
    error.message,
    /cannot load kernel vectorAdd, at \/kernels\/vector-add\.ts:12: a PTX JIT compilation failed/,
  )
  assert.ok(error.message.endsWith(log))
})

check('shared memory past 48 KiB is opted in, and past the GPU’s refused with both numbers', () => {
  device.load(vectorAdd('sm_80', { sharedBytes: 48 * 1024 }))
  assert.is(stub.optInBytes(), 0)
  device.load(vectorAdd('sm_80', { sharedBytes: 100_000 }))
  assert.is(stub.optInBytes(), 100_000)
  assert.throws(
    () => device.load(vectorAdd('sm_80', { sharedBytes: 232_449 })),
    /vectorAdd needs 232449 bytes of shared memory a CTA, and cuda:0 has 232448/,
  )
})

check('too many threads for the registers is refused when loading', () => {
  stub.threadsPerBlock(128)
  const before = stub.live()
  assert.throws(
    () => device.load(vectorAdd()),
    /vectorAdd has 256 threads a CTA and, at 10 registers each, cuda:0 runs at most 128/,
  )
  assert.is(stub.live(), before, 'the module is given back')
})

check('a launch that the driver refuses names the kernel and leaves the device usable', async () => {
  const launch = device.prepareLaunch(device.load(vectorAdd()), { grid: [1, 1, 1] }, [16, 16, 1, 16, 1])
  stub.fail('cuLaunchKernelEx', 701)
  const error = failure(() => launch.run())
  assert.is(error.code, 'CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES')
  assert.is(error.kernel, 'vectorAdd')
  assert.not(error.fatal)
  assert.match(error.message, /^launching kernel vectorAdd: too many resources/)
  launch.run()
  await device.synchronize()
})

check('a fault is laid to the kernel that ran, at the wait, and every later call repeats it', async () => {
  const launch = device.prepareLaunch(device.load(vectorAdd()), { grid: [1, 1, 1] }, [16, 16, 1, 16, 1])
  launch.run()
  stub.fault(700)
  const error = await rejection(device.synchronize())
  assert.is(error.code, 'CUDA_ERROR_ILLEGAL_ADDRESS')
  assert.is(error.kernel, 'vectorAdd')
  assert.is(error.location, '/kernels/vector-add.ts:10')
  assert.ok(error.fatal)
  assert.match(error.message, /^kernel vectorAdd \(\/kernels\/vector-add\.ts:10\): an illegal memory access/)
  assert.is(
    failure(() => device.allocate(64)),
    error,
  )
  assert.is(
    failure(() => launch.run()),
    error,
  )
})

check(
  'with several kernels in flight a fault names them all; those known to be done are left out',
  async () => {
    const run = (name: string) =>
      device
        .prepareLaunch(device.load(vectorAdd('sm_80', { name })), { grid: [1, 1, 1] }, [1, 1, 1, 1, 1])
        .run()
    run('finished')
    await device.synchronize()
    run('first')
    run('second')
    stub.fault(700)
    const error = await rejection(device.createStream().synchronize())
    assert.match(error.message, /^one of the kernels first, second: an illegal memory access/)
    assert.is(error.kernel, undefined)
  },
)

check('an error that the driver cannot name still has its number', () => {
  stub.fail('cuStreamCreate', 12345)
  const error = failure(() => device.createStream())
  assert.is(error.message, 'creating a stream: unknown error (CUDA_ERROR_12345)')
  assert.is(error.result, 12345)
})

check('waiting leaves the event loop running, and a stream that is done costs no thread', async () => {
  stub.busy(200)
  let ticks = 0
  let waiting = true
  const tick = () => {
    ticks++
    if (waiting) setImmediate(tick)
  }
  setImmediate(tick)
  const start = performance.now()
  await device.synchronize()
  waiting = false
  assert.ok(performance.now() - start > 150, 'waited for the stream')
  // Thousands on an idle machine; one or none where the loop stands still.
  assert.ok(ticks > 5, `the loop turned ${ticks} times`)
  const before = stub.called('cuStreamSynchronize')
  await device.synchronize()
  assert.is(stub.called('cuStreamSynchronize'), before)
  const event = device.createEvent()
  event.record()
  stub.busy(20)
  const reading = device.read(new Uint8Array(4), device.allocate(4))
  await Promise.all([event.synchronize(), reading])
  assert.is(stub.called('cuEventSynchronize'), 1)
})

check('events measure, order streams, and belong to their device', () => {
  const [a, b] = [device.createEvent(), device.createEvent()]
  a.record()
  b.record(device.createStream())
  assert.is(b.elapsedSince(a), (b.handle - a.handle) / 2)
  device.createStream().wait(b)
  assert.is(stub.called('cuStreamWaitEvent'), 1)
  const stranger = { synchronize: async () => {}, wait: () => {}, destroy: () => {} }
  assert.throws(() => a.record(stranger), /the stream is not one of cuda:0/)
})

check('a stream, event or graph that was destroyed is an error to use, not a crash', async () => {
  const stream = device.createStream()
  const event = device.createEvent()
  const graph = device.capture(() => {})
  const launch = device.prepareLaunch(device.load(vectorAdd()), { grid: [1, 1, 1] }, [16, 16, 1, 16, 1])
  launch.run(stream)
  for (const thing of [stream, event, graph, stream]) thing.destroy()
  assert.throws(() => launch.run(stream), /the stream was destroyed/)
  assert.throws(() => event.record(), /the event was destroyed/)
  assert.throws(() => graph.launch(), /the graph was destroyed/)
  await stream.synchronize().then(
    () => assert.unreachable(),
    (error: DeviceError) => assert.is(error.code, 'DESTROYED'),
  )
  await device.synchronize()
})

check('a kernel launched again during a wait stays under suspicion', async () => {
  const launch = device.prepareLaunch(device.load(vectorAdd()), { grid: [1, 1, 1] }, [16, 16, 1, 16, 1])
  launch.run()
  stub.busy(10)
  const waiting = device.synchronize()
  launch.run()
  await waiting
  stub.fault(700)
  assert.is((await rejection(device.synchronize())).kernel, 'vectorAdd')
})

check('a graph records launches instead of running them and replays them with their values of then', () => {
  const launch = device.prepareLaunch(device.load(vectorAdd()), { grid: [2, 1, 1] }, [16, 16, 1, 16, 5])
  const graph = device.capture((stream) => {
    launch.run(stream)
    launch.setArgument(4, 6)
    launch.run(stream)
  })
  launch.setArgument(4, 7)
  assert.is(stub.launches().length, 0)
  graph.launch()
  const stream = device.createStream()
  graph.launch(stream)
  const launches = stub.launches()
  assert.equal(
    launches.map((each) => each.args.readInt32LE(32)),
    [5, 6, 5, 6],
  )
  assert.is(launches[2]!.stream, stream.handle)
  graph.destroy()
  graph.destroy()
  assert.is(stub.called('cuGraphExecDestroy'), 1)
})

check('a fault after a replay is laid to the kernels of the graph', async () => {
  const launch = device.prepareLaunch(device.load(vectorAdd()), { grid: [2, 1, 1] }, [16, 16, 1, 16, 5])
  const graph = device.capture((stream) => launch.run(stream))
  graph.launch()
  stub.fault(700)
  assert.is((await rejection(device.synchronize())).kernel, 'vectorAdd')
})

check('a failure while recording is thrown on and leaves nothing behind', () => {
  const mistake = new Error('from the caller')
  const record = (enqueue: (stream: Stream) => void) => () => device.capture(enqueue)
  assert.throws(
    record(() => {
      throw mistake
    }),
    (error: Error) => error === mistake,
  )
  assert.throws(
    record(async () => {}),
    /must be enqueued without waiting/,
  )
  stub.fail('cuStreamEndCapture', 900)
  assert.throws(
    record(() => {}),
    /recording a graph: operation not permitted when stream is capturing/,
  )
  device.capture(() => {}).destroy()
  assert.is(stub.live(), 2, 'the context and its default stream')
})

check('two open devices each make their own context current', async () => {
  stub.devices(2, 90)
  const other = openCuda(1, { library: stub.library })
  device.allocate(64)
  other.allocate(64)
  const calls = stub.called('cuCtxSetCurrent')
  other.allocate(64)
  assert.is(stub.called('cuCtxSetCurrent'), calls, 'the current one is not set again')
  device.allocate(64)
  assert.is(stub.called('cuCtxSetCurrent'), calls + 1)
  await other.close()
  assert.ok(device.allocate(64).address, 'the first works on after the second is closed')
})

test.run()
