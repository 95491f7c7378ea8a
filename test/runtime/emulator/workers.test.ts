import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { DeviceError } from '../../../runtime/device.ts'
import { type EmulatorOptions, openEmulator } from '../../../runtime/emulator/device.ts'
import { rng } from '../../support/rng.ts'
import { kernelText, moduleText, programOf } from './support.ts'

const registers = '.reg .pred %p<9>; .reg .b32 %r<40>; .reg .f32 %f<20>; .reg .b64 %rd<20>;'

/** Sums of squares per CTA, through shared memory and shuffles, and a count of all threads. */
const squares = kernelText(
  'squares',
  ['u64', 'u64', 'u64'],
  [128, 1, 1],
  `${registers}
  ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; ld.param.u64 %rd3, [p2];
  mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r9, %ctaid.y; mov.u32 %r10, %nctaid.x;
  mad.lo.u32 %r2, %r9, %r10, %r2;
  mad.lo.u32 %r3, %r2, 128, %r1; mad.wide.u32 %rd4, %r3, 4, %rd1; ld.global.f32 %f1, [%rd4]; mul.f32 %f1, %f1, %f1;
  mov.u32 %r4, smem; xor.b32 %r5, %r1, 127; mad.lo.u32 %r6, %r5, 4, %r4; st.shared.f32 [%r6], %f1; bar.sync 0;
  mad.lo.u32 %r6, %r1, 4, %r4; ld.shared.f32 %f1, [%r6];
  shfl.sync.bfly.b32 %f2, %f1, 16, 31, -1; add.f32 %f1, %f1, %f2;
  shfl.sync.bfly.b32 %f2, %f1, 8, 31, -1; add.f32 %f1, %f1, %f2;
  shfl.sync.bfly.b32 %f2, %f1, 1, 31, -1; add.f32 %f1, %f1, %f2;
  mad.wide.u32 %rd5, %r3, 4, %rd2; st.global.f32 [%rd5], %f1;
  red.global.add.u32 [%rd3], 1;`,
)

/** The CTA whose number is the scalar traps. */
const trapping = kernelText(
  'trapping',
  ['u64', 'u32'],
  [32, 1, 1],
  `${registers}
  ld.param.u64 %rd1, [p0]; ld.param.u32 %r1, [p1]; mov.u32 %r2, %ctaid.x; setp.eq.u32 %p1, %r1, %r2;
  .loc 1 4 2
  @%p1 trap;
  red.global.add.u32 [%rd1], 1;`,
)

const ptx = moduleText([squares, trapping], ['kernels/w.ts'])
const ctas = [37, 3] as const
const count = ctas[0] * ctas[1] * 128

async function runSquares(
  x: Float32Array,
  options: EmulatorOptions,
): Promise<{ y: Float32Array; threads: number }> {
  const device = openEmulator(options)
  try {
    await device.workersStarted()
    const [px, py, pn] = [device.allocate(4 * count), device.allocate(4 * count), device.allocate(4)]
    device.write(px, x)
    device.fill(pn, 0)
    const fn = device.load(programOf({ name: 'squares', ptx, block: [128, 1, 1], sharedBytes: 512 }))
    const launch = device.prepareLaunch(fn, { grid: [ctas[0], ctas[1], 1] }, [
      px.address,
      py.address,
      pn.address,
    ])
    // Memory grows between launches, under the workers' feet.
    for (let i = 0; i < 3; i++) {
      launch.run()
      device.allocate(3 << 20)
    }
    const y = new Float32Array(count)
    const threads = new Uint32Array(1)
    await device.read(y, py)
    await device.read(threads, pn)
    return { y, threads: threads[0]! }
  } finally {
    await device.close()
  }
}

test('several threads give the results of one, in any schedule', async () => {
  const random = rng(21)
  const x = Float32Array.from({ length: count }, () => random.normal())
  const alone = await runSquares(x, { workers: 1 })
  assert.is(alone.threads, 3 * count)
  for (const options of [{ workers: 3 }, { workers: 2, schedule: 'shuffled', seed: 4 }] as const) {
    const together = await runSquares(x, options)
    assert.equal(together.y, alone.y)
    assert.is(together.threads, 3 * count)
  }
})

test('a fault on any thread is reported once, with its line, and later launches run', async () => {
  const device = openEmulator({ workers: 3 })
  try {
    await device.workersStarted()
    const counter = device.allocate(4)
    const fn = device.load(programOf({ name: 'trapping', ptx, block: [32, 1, 1] }))
    const launch = device.prepareLaunch(fn, { grid: [200, 1, 1] }, [counter.address, 0])
    for (const cta of [0, 57, 199]) {
      launch.setArgument(1, cta)
      launch.run()
      let failure: unknown
      await device.synchronize().catch((error) => {
        failure = error
      })
      assert.instance(failure, DeviceError)
      const { code, location, kernel } = failure as DeviceError
      assert.equal([code, location, kernel], ['EMULATOR_TRAP', 'kernels/w.ts:4', 'trapping'])
    }
    device.fill(counter, 0)
    launch.setArgument(1, 1000)
    launch.run()
    const total = new Uint32Array(1)
    await device.read(total, counter)
    assert.is(total[0], 200 * 32)
  } finally {
    await device.close()
  }
})

test.run()
