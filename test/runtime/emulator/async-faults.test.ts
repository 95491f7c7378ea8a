import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { DeviceError } from '../../../runtime/device.ts'
import { type EmulatorOptions, openEmulator } from '../../../runtime/emulator/device.ts'
import { kernelText, type Mapped, moduleText, programOf, run } from './support.ts'

/* Faults at mbarriers, asynchronous copies and in clusters that compiled kernels do not have, in PTX text. */

const registers = '.reg .pred %p<9>; .reg .b32 %r<40>; .reg .b64 %rd<20>;'
const start = `${registers}
  .loc 1 10 1
  mov.u32 %r1, %tid.x; mov.u32 %r2, smem; add.u32 %r3, %r2, 1024; setp.eq.u32 %p1, %r1, 0;
  @%p1 mbarrier.init.shared::cta.b64 [%r2], 3; @%p1 fence.mbarrier_init.release.cluster;`
const wait = (label: string, parity: number): string =>
  `${label}: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], ${parity}; @!%p2 bra ${label};`

/** Warp 0 waits for a phase that lacks an arrival and 64 bytes; warp 1 waits for it at a named barrier. */
const stuck = kernelText(
  'stuck',
  ['u64'],
  [96, 1, 1],
  `${start} bar.sync 0; shr.u32 %r4, %r1, 5; setp.eq.u32 %p3, %r4, 0; setp.eq.u32 %p4, %r4, 2;
  @!%p1 bra SKIP;
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 64; mbarrier.arrive.shared::cta.b64 _, [%r2];
  SKIP: @%p4 bra END;
  @!%p3 bra NAMED;
  .loc 1 20 1
  ${wait('WAIT', 0)}
  NAMED:
  .loc 1 21 1
  bar.sync 1, 64;
  END:`,
)

const cases: Readonly<Record<string, { body: string; cluster?: number; code: string; message: RegExp }>> = {
  misaligned_barrier: {
    body: 'mbarrier.arrive.shared::cta.b64 _, [%r2+4];',
    code: 'MISALIGNED',
    message: /mbarrier at shared 0x4, which is not a multiple of 8/,
  },
  barrier_outside: {
    body: 'mbarrier.arrive.shared::cta.b64 _, [%r2+65536];',
    code: 'OUT_OF_BOUNDS',
    message: /mbarrier at shared 0x10000, outside of the shared memory of its cluster/,
  },
  too_many_arrivals: {
    body: '@%p1 mbarrier.arrive.shared::cta.b64 _, [%r2], 4;',
    code: 'BARRIER_ARRIVALS',
    message: /arrives at the mbarrier at shared 0x0 beyond its count of 3/,
  },
  wild_announcement: {
    body: '@%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 1048576;',
    code: 'BARRIER_BYTES',
    message: /announces 1048576 bytes; an mbarrier takes 0 to 1048575/,
  },
  misaligned_tile: {
    body: `add.u32 %r4, %r3, 64; mov.u32 %r5, 0;
      @%p1 cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r4], [%rd4, {%r5, %r5}], [%r2];`,
    code: 'MISALIGNED',
    message: /copies at 0x440 of shared memory, which is not a multiple of 1024/,
  },
  wrong_rank: {
    body: `mov.u32 %r5, 0;
      @%p1 cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%r3], [%rd4, {%r5, %r5, %r5}], [%r2];`,
    code: 'INVALID_TENSOR_MAP',
    message: /needs a tensor map of 3 dimensions/,
  },
  mask_too_wide: {
    body: `mov.u32 %r5, 0; mov.u16 %h1, 7;
      @%p1 cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r3], [%rd4, {%r5, %r5}], [%r2], %h1;`,
    cluster: 2,
    code: 'OUT_OF_BOUNDS',
    message: /CTAs of the mask 0x7; the cluster has 2/,
  },
  peer_not_begun: {
    body: `mov.u32 %r5, %cluster_ctarank; xor.b32 %r5, %r5, 1; mapa.shared::cluster.u32 %r6, %r3, %r5;
      st.shared::cluster.u32 [%r6], %r1; barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;`,
    cluster: 2,
    code: 'PEER_LIFETIME',
    message: /which may not have begun: clusterBarrier\(\) must come first/,
  },
  peer_ends: {
    body: `barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;
      mov.u32 %r5, %cluster_ctarank; xor.b32 %r5, %r5, 1; mapa.shared::cluster.u32 %r6, %r3, %r5;
      mad.lo.u32 %r6, %r1, 4, %r6; st.shared::cluster.u32 [%r6], %r1;`,
    cluster: 2,
    code: 'PEER_LIFETIME',
    message: /may end before another CTA of its cluster uses its shared memory/,
  },
  reads_unwaited_store: {
    body: `mad.lo.u32 %r6, %r1, 4, %r3; st.shared.u32 [%r6], %r1; fence.proxy.async.shared::cta; bar.sync 0;
      @%p1 cp.async.bulk.global.shared::cta.bulk_group [%rd6], [%r3], 256; @%p1 cp.async.bulk.commit_group;
      @%p1 cp.async.bulk.wait_group.read 0; bar.sync 0; ld.global.u32 %r7, [%rd6];`,
    code: 'PENDING_COPY',
    message: /which a copy \(cp\.async\.bulk\.global.*\) may still write: call waitBulk\(0\) first/,
  },
  no_such_peer: {
    body: `barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;
      mov.u32 %r5, 3; mapa.shared::cluster.u32 %r6, %r3, %r5; ld.shared::cluster.u32 %r7, [%r6];`,
    cluster: 2,
    code: 'OUT_OF_BOUNDS',
    message: /outside the CTA's 8192 bytes/,
  },
}

const bodies = Object.entries(cases).map(([name, { body, cluster }]) =>
  kernelText(
    name,
    ['map', 'u64'],
    [64, 1, 1],
    `${start} .reg .b16 %h<2>; mov.b64 %rd3, p0; cvta.param.u64 %rd4, %rd3; ld.param.u64 %rd6, [p1];
    bar.sync 0;
    .loc 1 30 1
    ${body}`,
    cluster,
  ),
)
const ptx = moduleText([stuck, ...bodies], ['kernels/async.ts'])

async function failureOf(launch: Promise<void>): Promise<DeviceError> {
  try {
    await launch
  } catch (error) {
    if (error instanceof DeviceError) return error
    throw error
  }
  return assert.unreachable('no fault') as never
}

const orders: readonly EmulatorOptions[] = [1, 2, 3].map((seed) => ({ schedule: 'shuffled', seed }))

for (const options of [{}, { checks: true }, ...orders, ...orders.map((o) => ({ ...o, checks: true }))])
  test(`a deadlock names who waits where, for what, ${JSON.stringify(options)}`, async () => {
    const x = new Uint8Array(256)
    const kernel = { name: 'stuck', ptx, block: [96, 1, 1], sharedBytes: 2048 } as const
    const { code, message, location } = await failureOf(run(kernel, [1, 1, 1], [x], options))
    assert.is(code, 'EMULATOR_DEADLOCK')
    assert.is(location, 'kernels/async.ts:20')
    assert.match(message, 'no warp can go on')
    assert.match(
      message,
      'warp 0 at kernels/async.ts:20: the mbarrier at shared offset 0x0, phase of parity 0; its current phase has parity 0 and lacks 1 of 3 arrivals and 64 bytes',
    )
    assert.match(message, 'warp 1 at kernels/async.ts:21: barrier 1, which other warps never reach')
  })

const map: Mapped = {
  data: new Uint8Array(64 * 128),
  dtype: 'u8',
  extents: [128, 64],
  strides: [128],
  box: [128, 8],
  swizzle: 128,
}
for (const [name, { cluster = 1, code, message }] of Object.entries(cases))
  for (const order of orders)
    test(`${name}, schedule ${order.seed}`, async () => {
      const kernel = { name, ptx, block: [64, 1, 1], sharedBytes: 8192 } as const
      const error = await failureOf(
        run(kernel, [cluster, 1, 1], [map, new Uint8Array(256)], { ...order, checks: true }),
      )
      assert.is(error.code, `EMULATOR_${code}`, error.message)
      assert.match(error.message, message)
      assert.is(error.location, 'kernels/async.ts:30')
    })

test('launches of what the copy engine or clusters do not take are refused in words', () => {
  const device = openEmulator()
  const memory = device.allocate(64 * 128)
  const good = { ...map, address: memory.address }
  const fn = device.load(programOf({ name: 'peer_ends', ptx, block: [64, 1, 1], sharedBytes: 8192 }))
  const refused = (change: object, expected: RegExp): void => {
    assert.throws(() => device.prepareLaunch(fn, { grid: [2, 1, 1] }, [{ ...good, ...change }, 0]), expected)
  }
  refused({ address: memory.address + 8 }, /its address \d+ is not a multiple of 16/)
  refused({ strides: [136] }, /a stride of 136 bytes is not a multiple of 16/)
  refused({ box: [512, 8], swizzle: 0 }, /1 to 256 elements along a dimension, not 512/)
  refused({ box: [64, 8] }, /a row of the box has 64 bytes; swizzling over 128 bytes needs as many/)
  refused({ box: [24, 8], swizzle: 0 }, /24 bytes, which is not a multiple of 16/)
  refused({ strides: [] }, /2 dimensions need 1 strides, not 0/)
  assert.throws(() => device.prepareLaunch(fn, { grid: [2, 1, 1] }, [7, 0]), /must be a tensor map/)
  assert.throws(
    () => device.prepareLaunch(fn, { grid: [3, 1, 1] }, [good, 0]),
    /a grid of 3 x 1 x 1 cannot be cut into clusters of 2 CTAs along x/,
  )
})

test.run()
