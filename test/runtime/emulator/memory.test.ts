import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { rng } from '../../support/rng.ts'
import { kernelText, moduleText, run } from './support.ts'

const registers = '.reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<30>; .reg .f32 %f<9>; .reg .b64 %rd<20>;'

const vectors = kernelText(
  'vectors',
  ['u64', 'u64'],
  [32, 1, 1],
  `${registers}
  ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; mov.u32 %r1, %tid.x;
  mad.wide.u32 %rd3, %r1, 64, %rd1; mad.wide.u32 %rd4, %r1, 64, %rd2;
  ld.global.nc.L1::no_allocate.L2::128B.v4.b32 {%r2, %r3, %r4, %r5}, [%rd3];
  st.global.v4.b32 [%rd4], {%r5, %r4, %r3, %r2};
  ld.global.v2.b64 {%rd5, %rd6}, [%rd3+16];
  st.global.v2.b64 [%rd4+16], {%rd6, %rd5};
  ld.global.v4.b16 {%h1, %h2, %h3, %h4}, [%rd3+32];
  st.global.v4.b16 [%rd4+32], {%h4, %h3, %h2, %h1};
  ld.global.v4.u8 {%r2, %r3, %r4, %r5}, [%rd3+40];
  st.global.v4.u8 [%rd4+40], {%r5, %r4, %r3, %r2};
  add.u64 %rd3, %rd3, 64; add.u64 %rd4, %rd4, 64;
  ld.global.v2.f32 {%f1, %f2}, [%rd3+-16]; st.global.v2.f32 [%rd4+-16], {%f2, %f1};
  ld.global.s8 %r6, [%rd3+-8]; st.global.b16 [%rd4+-8], %r6;
  ld.global.s16 %r6, [%rd3+-6]; st.global.b32 [%rd4+-4], %r6;`,
)

const scalarParameters = kernelText(
  'scalar_parameters',
  ['u64', 'u32', 's32', 'f32'],
  [1, 1, 1],
  `${registers}
  ld.param.u64 %rd1, [p0]; ld.param.u32 %r1, [p1]; ld.param.s32 %r2, [p2]; ld.param.f32 %f1, [p3];
  ld.param.s32 %rd2, [p2];
  st.global.u32 [%rd1], %r1; st.global.s32 [%rd1+4], %r2; st.global.f32 [%rd1+8], %f1;
  st.global.b64 [%rd1+16], %rd2;`,
)

/** A static variable, then the dynamic window, both through their addresses and by register. */
const sharedWindows = kernelText(
  'shared_windows',
  ['u64', 'u64'],
  [64, 1, 1],
  `.shared .align 16 .b8 fixed[256]; ${registers}
  ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; mov.u32 %r1, %tid.x;
  mad.wide.u32 %rd3, %r1, 4, %rd1; mad.wide.u32 %rd4, %r1, 4, %rd2;
  ld.global.u32 %r2, [%rd3];
  mov.u32 %r3, fixed; mad.lo.u32 %r4, %r1, 4, %r3; st.shared.u32 [%r4], %r2;
  mov.u32 %r5, smem; mad.lo.u32 %r6, %r1, 4, %r5; add.u32 %r7, %r2, 1; st.shared.u32 [%r6], %r7;
  bar.sync 0;
  xor.b32 %r8, %r1, 63; mad.lo.u32 %r4, %r8, 4, %r3; mad.lo.u32 %r6, %r8, 4, %r5;
  ld.shared.u32 %r9, [%r4]; ld.shared.u32 %r10, [%r6];
  mul.lo.u32 %r9, %r9, %r10;
  // The first word of each window, addressed by name, and generic access through cvta.
  ld.shared.u32 %r11, [fixed]; ld.shared.u32 %r12, [smem+4];
  cvta.shared.u64 %rd5, %rd6; cvt.u64.u32 %rd6, %r4; cvta.shared.u64 %rd5, %rd6; ld.u32 %r13, [%rd5];
  add.u32 %r9, %r9, %r11; add.u32 %r9, %r9, %r12; add.u32 %r9, %r9, %r13;
  st.global.u32 [%rd4], %r9;`,
)

const atomics = kernelText(
  'atomics',
  ['u64', 'u64', 'u64'],
  [64, 1, 1],
  `.shared .align 4 .b8 counter[8]; ${registers}
  ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; ld.param.u64 %rd9, [p2];
  mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mad.lo.u32 %r3, %r2, 64, %r1;
  mad.wide.u32 %rd3, %r3, 4, %rd1; ld.global.s32 %r4, [%rd3]; cvt.rn.f32.s32 %f1, %r4;
  atom.global.add.u32 %r5, [%rd2], %r4;
  red.global.min.s32 [%rd2+4], %r4; red.global.max.s32 [%rd2+8], %r4;
  red.global.min.u32 [%rd2+12], %r4; red.global.max.u32 [%rd2+16], %r4;
  red.global.and.b32 [%rd2+20], %r4; red.global.or.b32 [%rd2+24], %r4; red.global.xor.b32 [%rd2+28], %r4;
  red.global.add.f32 [%rd2+32], %f1;
  cvt.s64.s32 %rd4, %r4; red.global.add.u64 [%rd2+40], %rd4; red.global.max.s64 [%rd2+48], %rd4;
  setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [counter], 0;
  bar.sync 0;
  // Each thread takes a ticket of its CTA, and leaves its number there.
  atom.shared.add.u32 %r6, [counter], 1;
  mad.lo.u32 %r6, %r2, 64, %r6; mad.wide.u32 %rd5, %r6, 4, %rd9; st.global.u32 [%rd5], %r1;
  RETRY: ld.global.u32 %r7, [%rd2+56]; add.u32 %r8, %r7, 3; atom.global.cas.b32 %r9, [%rd2+56], %r7, %r8;
  setp.ne.u32 %p2, %r9, %r7; @%p2 bra RETRY;
  atom.global.exch.b32 %r10, [%rd2+60], %r3;
  atom.relaxed.gpu.global.add.u32 %r11, [%rd2+64], %r10;`,
)

/** Copies 16, 8 and 4 bytes, whole, partly and not at all. */
const asyncCopies = kernelText(
  'async_copies',
  ['u64', 'u64'],
  [32, 1, 1],
  `${registers}
  ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; mov.u32 %r1, %tid.x; mov.u32 %r2, smem;
  mad.wide.u32 %rd3, %r1, 32, %rd1; mad.wide.u32 %rd4, %r1, 32, %rd2; mad.lo.u32 %r3, %r1, 32, %r2;
  and.b32 %r4, %r1, 15; and.b32 %r5, %r1, 3;
  setp.lt.u32 %p1, %r1, 16; selp.u32 %r4, %r4, 16, %p1;
  cp.async.cg.shared.global.L2::128B [%r3], [%rd3], 16, %r4;
  cp.async.commit_group;
  cp.async.ca.shared.global [%r3+16], [%rd3+16], 8;
  cp.async.ca.shared.global [%r3+24], [%rd3+24], 4, %r5;
  cp.async.ca.shared.global [%r3+28], [%rd3+28], 4, 0;
  cp.async.commit_group; cp.async.wait_group 0;
  ld.shared.v4.b32 {%r6, %r7, %r8, %r9}, [%r3]; st.global.v4.b32 [%rd4], {%r6, %r7, %r8, %r9};
  ld.shared.v4.b32 {%r6, %r7, %r8, %r9}, [%r3+16]; st.global.v4.b32 [%rd4+16], {%r6, %r7, %r8, %r9};`,
)

const ptx = moduleText([vectors, scalarParameters, sharedWindows, atomics, asyncCopies])

test('vector, narrow and widening loads and stores', async () => {
  const random = rng(5)
  const input = Uint8Array.from({ length: 32 * 64 }, () => random.integer(0, 255))
  const output = new Uint8Array(32 * 64)
  await run({ name: 'vectors', ptx, block: [32, 1, 1] }, [1, 1, 1], [input, output])
  for (let t = 0; t < 32; t++) {
    const x = new DataView(input.buffer, 64 * t, 64)
    const y = new DataView(output.buffer, 64 * t, 64)
    for (let i = 0; i < 4; i++) {
      assert.is(y.getUint32(4 * i), x.getUint32(12 - 4 * i))
      assert.is(y.getUint16(32 + 2 * i), x.getUint16(38 - 2 * i))
      assert.is(y.getUint8(40 + i), x.getUint8(43 - i))
    }
    assert.is(y.getBigUint64(16), x.getBigUint64(24))
    assert.is(y.getBigUint64(24), x.getBigUint64(16))
    assert.is(y.getUint32(48), x.getUint32(52))
    assert.is(y.getInt16(56, true), x.getInt8(56))
    assert.is(y.getInt32(60, true), x.getInt16(58, true))
  }
})

test('scalar parameters arrive by their types, negative ones extended', async () => {
  const output = new Uint8Array(24)
  await run({ name: 'scalar_parameters', ptx, block: [1, 1, 1] }, [1, 1, 1], [output, 0xfedcba98, -5, 1.25])
  const view = new DataView(output.buffer)
  assert.is(view.getUint32(0, true), 0xfedcba98)
  assert.is(view.getInt32(4, true), -5)
  assert.is(view.getFloat32(8, true), 1.25)
  assert.is(view.getBigInt64(16, true), -5n)
})

test('static and dynamic shared memory do not overlap, and generic addresses reach them', async () => {
  const random = rng(6)
  const x = Uint32Array.from({ length: 64 }, () => random.integer(0, 1000))
  const y = new Uint32Array(64)
  await run({ name: 'shared_windows', ptx, block: [64, 1, 1], sharedBytes: 256 }, [3, 1, 1], [x, y])
  assert.equal(
    [...y],
    [...x.keys()].map((t) => x[63 - t]! * (x[63 - t]! + 1) + x[0]! + x[1]! + 1 + x[63 - t]!),
  )
})

for (const schedule of ['in-order', 'shuffled'] as const)
  test(`atomics, ${schedule}`, async () => {
    const random = rng(7)
    const x = Int32Array.from({ length: 256 }, () => random.integer(-1000, 1000))
    const results = new Int32Array(24)
    results.set([5, 0, 0, 0x7fffffff, 0, -1, 0, 0], 0)
    const tickets = new Uint32Array(256)
    await run({ name: 'atomics', ptx, block: [64, 1, 1] }, [4, 1, 1], [x, results, tickets], { schedule })
    const unsigned = new Uint32Array(x.buffer)
    const sum = x.reduce((a, b) => a + b)
    const view = new DataView(results.buffer)
    assert.is(results[0], 5 + sum)
    assert.is(results[1], Math.min(0, ...x))
    assert.is(results[2], Math.max(0, ...x))
    assert.is(results[3], Math.min(0x7fffffff, ...unsigned))
    assert.is(results[4]! >>> 0, Math.max(...unsigned))
    assert.is(
      results[5],
      x.reduce((a, b) => a & b, -1),
    )
    assert.is(
      results[6],
      x.reduce((a, b) => a | b, 0),
    )
    assert.is(
      results[7],
      x.reduce((a, b) => a ^ b, 0),
    )
    assert.is(view.getFloat32(32, true), sum)
    assert.is(view.getBigInt64(40, true), BigInt(sum))
    assert.is(view.getBigInt64(48, true), BigInt(Math.max(0, ...x)))
    assert.is(results[14], 3 * 256)
    // The chain of exchanges hands every thread's number on, but for the last one's.
    assert.is(results[15]! + results[16]!, (255 * 256) / 2)
    for (let cta = 0; cta < 4; cta++)
      assert.equal(
        [...tickets.slice(64 * cta, 64 * cta + 64)].sort((a, b) => a - b),
        Array.from({ length: 64 }, (_, i) => i),
      )
  })

test('asynchronous copies, with fewer source bytes than bytes', async () => {
  const random = rng(8)
  const x = Uint8Array.from({ length: 1024 }, () => random.integer(1, 255))
  const y = new Uint8Array(1024)
  await run({ name: 'async_copies', ptx, block: [32, 1, 1], sharedBytes: 1024 }, [1, 1, 1], [x, y])
  const expected = x.map((value, i) => {
    const thread = i >> 5
    const byte = i & 31
    const limit = thread < 16 ? thread & 15 : 16
    if (byte < 16) return byte < limit ? value : 0
    if (byte < 24) return value
    return byte < 24 + (thread & 3) ? value : 0
  })
  assert.equal([...y], [...expected])
})

test.run()
