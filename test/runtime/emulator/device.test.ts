import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { DeviceError } from '../../../runtime/device.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { rng } from '../../support/rng.ts'
import { kernelText, moduleText, programOf } from './support.ts'

const registers = '.reg .pred %p<3>; .reg .b32 %r<9>; .reg .b64 %rd<9>;'

/** p1[i] = p0[i] + p2. */
const addScalar = kernelText(
  'add_scalar',
  ['u64', 'u64', 'u32'],
  [32, 1, 1],
  `${registers} ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; ld.param.u32 %r1, [p2];
  mov.u32 %r2, %tid.x; mov.u32 %r3, %ctaid.x; mad.lo.u32 %r2, %r3, 32, %r2;
  mad.wide.u32 %rd1, %r2, 4, %rd1; mad.wide.u32 %rd2, %r2, 4, %rd2;
  ld.global.u32 %r4, [%rd1]; add.u32 %r4, %r4, %r1; st.global.u32 [%rd2], %r4;`,
)
const program = programOf({ name: 'add_scalar', ptx: moduleText([addScalar]), block: [32, 1, 1] })

const codeOf = (action: () => unknown): string => {
  try {
    action()
  } catch (error) {
    assert.instance(error, DeviceError)
    return (error as DeviceError).code
  }
  return 'nothing thrown'
}

test('allocations are aligned, apart, and reused after free', () => {
  const device = openEmulator({ memoryBytes: 1 << 20 })
  const random = rng(1)
  const live: { address: number; bytes: number; free(): void }[] = []
  for (let i = 0; i < 500; i++) {
    if (live.length > 20) live.splice(random.integer(0, live.length - 1), 1)[0]!.free()
    const one = device.allocate(random.integer(1, 9000))
    assert.is(one.address % 256, 0)
    assert.ok(one.address > 0)
    for (const other of live)
      assert.ok(
        one.address + one.bytes + 256 <= other.address || other.address + other.bytes + 256 <= one.address,
      )
    live.push(one)
  }
  for (const one of live) one.free()
  // All of it is one piece again.
  device.allocate((1 << 20) - 512)
})

test('what does not fit is refused, and leaves the device usable', () => {
  const device = openEmulator({ memoryBytes: 1 << 20 })
  assert.is(
    codeOf(() => device.allocate(2 << 20)),
    'OUT_OF_MEMORY',
  )
  assert.is(
    codeOf(() => device.allocate(0)),
    'INVALID_ARGUMENT',
  )
  assert.is(
    codeOf(() => device.fill({ address: 16, bytes: 16 }, 0)),
    'INVALID_ARGUMENT',
  )
  const one = device.allocate(512)
  assert.is(
    codeOf(() => device.write(one, new Uint8Array(513))),
    'INVALID_ARGUMENT',
  )
})

test('write, fill, copy and read', async () => {
  const device = openEmulator()
  const [a, b] = [device.allocate(100), device.allocate(100)]
  device.fill(b, 7)
  device.write(
    a,
    Uint8Array.from({ length: 60 }, (_, i) => i),
  )
  device.copy({ address: b.address + 10, bytes: 90 }, { address: a.address + 5, bytes: 20 })
  const bytes = new Uint8Array(40)
  await device.read(bytes, b)
  assert.equal(
    [...bytes],
    Array.from({ length: 40 }, (_, i) => (i >= 10 && i < 30 ? i - 5 : 7)),
  )
})

test('a prepared launch takes new arguments and grids', async () => {
  const device = openEmulator()
  const [a, b] = [device.allocate(256), device.allocate(256)]
  device.write(
    a,
    Uint32Array.from({ length: 64 }, (_, i) => i),
  )
  device.fill(b, 0)
  const launch = device.prepareLaunch(device.load(program), { grid: [1, 1, 1] }, [a.address, b.address, 5])
  launch.run()
  const words = new Uint32Array(64)
  await device.read(words, b)
  assert.equal([words[31], words[32]], [36, 0])
  launch.setGrid([2, 1, 1])
  launch.setArgument(2, 0xffffffff)
  launch.run()
  await device.read(words, b)
  assert.equal([words[0], words[1], words[63]], [0xffffffff, 0, 62])
})

test('a graph replays launches with the arguments they had, and what pinned memory holds by then', async () => {
  const device = openEmulator()
  const [a, b] = [device.allocate(128), device.allocate(128)]
  const pinned = device.allocatePinned(128)
  const input = new Uint32Array(pinned.view.buffer)
  const launch = device.prepareLaunch(device.load(program), { grid: [1, 1, 1] }, [a.address, b.address, 1])
  const pageable = Uint8Array.of(9, 0, 0, 0)
  const graph = device.capture((stream) => {
    device.write(a, pinned.view, stream)
    device.write({ address: a.address + 124, bytes: 4 }, pageable, stream)
    launch.run(stream)
  })
  launch.setArgument(2, 1000)
  pageable[0] = 77
  const words = new Uint32Array(32)
  for (const first of [10, 20]) {
    input.fill(first)
    graph.launch()
    await device.read(words, b)
    assert.equal([words[0], words[30], words[31]], [first + 1, first + 1, 10])
  }
  graph.destroy()
})

test('a capture cannot wait', async () => {
  const device = openEmulator()
  const a = device.allocate(16)
  assert.is(
    codeOf(() => device.capture((async () => {}) as () => void)),
    'INVALID_CAPTURE',
  )
  let reading: Promise<void> | undefined
  device.capture((stream) => {
    reading = device.read(new Uint8Array(16), a, stream)
  })
  let code = ''
  await reading!.catch((error: DeviceError) => {
    code = error.code
  })
  assert.is(code, 'INVALID_CAPTURE')
})

test('events measure time', async () => {
  const device = openEmulator()
  const [first, second] = [device.createEvent(), device.createEvent()]
  first.record()
  await new Promise((resolve) => setTimeout(resolve, 20))
  second.record()
  await second.synchronize()
  assert.ok(second.elapsedSince(first) >= 15)
  assert.is(
    codeOf(() => device.createEvent().elapsedSince(first)),
    'INVALID_ARGUMENT',
  )
})

test('programs are translated once', () => {
  const device = openEmulator()
  assert.is(device.load(program), device.load(program))
  const again = device.load({ ...program })
  assert.is(again.loaded, device.load(program).loaded)
})

test('devices of a process share translations, but not those with checks', () => {
  const [first, second, checked] = [openEmulator(), openEmulator(), openEmulator({ checks: true })]
  const { loaded } = first.load(program)
  assert.is(second.load({ ...program }).loaded, loaded)
  assert.is.not(checked.load(program).loaded, loaded)
  assert.is.not(second.load({ ...program, sharedBytes: program.sharedBytes + 16 }).loaded, loaded)
})

test('launches that cannot be are refused', () => {
  const device = openEmulator({ target: 'sm_86' })
  const fn = device.load(program)
  assert.is(
    codeOf(() => device.prepareLaunch(fn, { grid: [1, 1, 1] }, [1, 2])),
    'INVALID_LAUNCH',
  )
  assert.is(
    codeOf(() => device.prepareLaunch(fn, { grid: [0, 1, 1] }, [1, 2, 3])),
    'INVALID_LAUNCH',
  )
  assert.is(
    codeOf(() => device.load({ ...program, block: [64, 1, 1] })),
    'INVALID_LAUNCH',
  )
  assert.is(
    codeOf(() => device.load({ ...program, sharedBytes: 110_000 })),
    'INVALID_LAUNCH',
  )
  assert.is(
    codeOf(() => device.load({ ...program, name: 'other' })),
    'EMULATOR_INVALID_PTX',
  )
  assert.is(
    codeOf(() => openEmulator().prepareLaunch(fn, { grid: [1, 1, 1] }, [1, 2, 3])),
    'WRONG_DEVICE',
  )
})

test('a closed device refuses work', async () => {
  const device = openEmulator()
  await device.close()
  assert.is(
    codeOf(() => device.allocate(16)),
    'CLOSED',
  )
})

test.run()
