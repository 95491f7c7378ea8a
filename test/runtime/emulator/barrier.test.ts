import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { rng } from '../../support/rng.ts'
import { kernelText, moduleText, run } from './support.ts'

const registers = '.reg .pred %p<9>; .reg .b32 %r<40>; .reg .f32 %f<20>; .reg .b64 %rd<20>;'

/** A tree reduction in shared memory with a barrier in a uniform loop; the CTA is two-dimensional. */
const tree = kernelText(
  'tree',
  ['u64', 'u64'],
  [16, 8, 2],
  `${registers}
  ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1];
  mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %tid.z; mov.u32 %r4, %ctaid.y;
  mad.lo.u32 %r5, %r3, 8, %r2; mad.lo.u32 %r5, %r5, 16, %r1;
  mad.lo.u32 %r6, %r4, 256, %r5; mad.wide.u32 %rd3, %r6, 4, %rd1; ld.global.u32 %r7, [%rd3];
  mov.u32 %r8, smem; mad.lo.u32 %r9, %r5, 4, %r8; st.shared.u32 [%r9], %r7;
  mov.u32 %r10, 128;
  LOOP: bar.sync 0;
  setp.ge.u32 %p1, %r5, %r10; @%p1 bra SKIP;
  mad.lo.u32 %r11, %r10, 4, %r9; ld.shared.u32 %r12, [%r11]; ld.shared.u32 %r13, [%r9];
  add.u32 %r13, %r13, %r12; st.shared.u32 [%r9], %r13;
  SKIP: shr.u32 %r10, %r10, 1; setp.ne.u32 %p2, %r10, 0; @%p2 bra LOOP;
  setp.ne.u32 %p3, %r5, 0; @%p3 bra END;
  ld.shared.u32 %r14, [smem]; mad.wide.u32 %rd4, %r4, 4, %rd2; st.global.u32 [%rd4], %r14;
  END:`,
)

/** Two groups of warps, each with a named barrier of its own: producers fill what consumers add up, in four rounds. */
const named = kernelText(
  'named',
  ['u64'],
  [128, 1, 1],
  `${registers}
  ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; shr.u32 %r2, %r1, 6; and.b32 %r3, %r1, 63;
  mov.u32 %r4, smem; mov.u32 %r5, 0; mov.u32 %r6, 0;
  mad.lo.u32 %r7, %r2, 256, %r4; mad.lo.u32 %r8, %r3, 4, %r7;
  xor.b32 %r9, %r3, 33; mad.lo.u32 %r9, %r9, 4, %r7;
  setp.ne.u32 %p1, %r2, 0; @%p1 bra OTHER;
  LOOP: add.u32 %r10, %r3, %r5; st.shared.u32 [%r8], %r10;
  bar.sync 1, 64; ld.shared.u32 %r11, [%r9]; add.u32 %r6, %r6, %r11; bar.sync 1, 64;
  add.u32 %r5, %r5, 1; setp.lt.u32 %p2, %r5, 4; @%p2 bra LOOP;
  bra JOIN;
  OTHER: mul.lo.u32 %r10, %r3, 7; add.u32 %r10, %r10, %r5; st.shared.u32 [%r8], %r10;
  barrier.sync 2, 64; ld.shared.u32 %r11, [%r9]; add.u32 %r6, %r6, %r11; barrier.sync 2, 64;
  add.u32 %r5, %r5, 1; setp.lt.u32 %p2, %r5, 6; @%p2 bra OTHER;
  JOIN: bar.sync 0;
  mad.wide.u32 %rd2, %r1, 4, %rd1; st.global.u32 [%rd2], %r6;`,
)

/** Two groups of warps that hand a tile to and fro: each arrives for the other without waiting, and syncs for its own turn. */
const handOver = kernelText(
  'hand_over',
  ['u64'],
  [128, 1, 1],
  `${registers}
  ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; mov.u32 %r4, smem; and.b32 %r3, %r1, 63; mov.u32 %r5, 0;
  mad.lo.u32 %r8, %r3, 4, %r4; xor.b32 %r9, %r3, 37; mad.lo.u32 %r9, %r9, 4, %r4;
  setp.ge.u32 %p1, %r1, 64; @%p1 bra SECOND; st.shared.u32 [%r8], %r3; bar.arrive 1, 128;
  FIRST: bar.sync 2, 128; ld.shared.u32 %r6, [%r9]; bar.sync 3, 64; mad.lo.u32 %r6, %r6, 3, 1;
  st.shared.u32 [%r8], %r6; barrier.arrive.aligned 1, 128;
  add.u32 %r5, %r5, 1; setp.lt.u32 %p2, %r5, 3; @%p2 bra FIRST; bra JOIN;
  SECOND: bar.sync 1, 128; ld.shared.u32 %r6, [%r9]; bar.sync 4, 64; add.u32 %r6, %r6, 5;
  st.shared.u32 [%r8], %r6; bar.arrive 2, 128;
  add.u32 %r5, %r5, 1; setp.lt.u32 %p2, %r5, 3; @%p2 bra SECOND; bar.sync 1, 128;
  JOIN: bar.sync 0; ld.shared.u32 %r6, [%r8]; mad.wide.u32 %rd2, %r1, 4, %rd1; st.global.u32 [%rd2], %r6;`,
)

/** RMS normalization of a row: registers and uniform values live across barriers and shuffles. */
const rms = kernelText(
  'rms',
  ['u64', 'u64', 's32', 'f32'],
  [96, 1, 1],
  `.shared .align 4 .b8 partial[128]; ${registers}
  ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; ld.param.s32 %r1, [p2]; ld.param.f32 %f1, [p3];
  mov.u32 %r2, %tid.x; mov.u32 %r3, %ctaid.x; mul.lo.s32 %r4, %r3, %r1;
  mad.wide.s32 %rd1, %r4, 4, %rd1; mad.wide.s32 %rd2, %r4, 4, %rd2;
  mov.f32 %f2, 0f00000000; mov.u32 %r5, %r2;
  SUM: setp.ge.s32 %p1, %r5, %r1; @%p1 bra SUMMED;
  mad.wide.s32 %rd3, %r5, 4, %rd1; ld.global.f32 %f3, [%rd3]; fma.rn.f32 %f2, %f3, %f3, %f2;
  add.s32 %r5, %r5, 96; bra SUM;
  SUMMED: shfl.sync.bfly.b32 %f4, %f2, 16, 31, -1; add.f32 %f2, %f2, %f4;
  shfl.sync.bfly.b32 %f4, %f2, 8, 31, -1; add.f32 %f2, %f2, %f4;
  shfl.sync.bfly.b32 %f4, %f2, 4, 31, -1; add.f32 %f2, %f2, %f4;
  shfl.sync.bfly.b32 %f4, %f2, 2, 31, -1; add.f32 %f2, %f2, %f4;
  shfl.sync.bfly.b32 %f4, %f2, 1, 31, -1; add.f32 %f2, %f2, %f4;
  shr.u32 %r6, %r2, 5; and.b32 %r7, %r2, 31; mov.u32 %r8, partial; mad.lo.u32 %r9, %r6, 4, %r8;
  setp.eq.u32 %p2, %r7, 0; @%p2 st.shared.f32 [%r9], %f2;
  bar.sync 0;
  ld.shared.f32 %f5, [partial]; ld.shared.f32 %f6, [partial+4]; ld.shared.f32 %f7, [partial+8];
  add.f32 %f5, %f5, %f6; add.f32 %f5, %f5, %f7;
  cvt.rn.f32.s32 %f8, %r1; div.rn.f32 %f5, %f5, %f8; add.f32 %f5, %f5, %f1; rsqrt.approx.f32 %f9, %f5;
  mov.u32 %r5, %r2;
  SCALE: setp.ge.s32 %p1, %r5, %r1; @%p1 bra DONE;
  mad.wide.s32 %rd3, %r5, 4, %rd1; ld.global.f32 %f3, [%rd3]; mul.f32 %f3, %f3, %f9;
  mad.wide.s32 %rd4, %r5, 4, %rd2; st.global.f32 [%rd4], %f3; add.s32 %r5, %r5, 96; bra SCALE;
  DONE:`,
)

/** A named barrier whose number is computed behind a branch on what was loaded, which all lanes of a warp take alike. */
const loaded = kernelText(
  'loaded',
  ['u64', 'u64'],
  [128, 1, 1],
  `${registers}
  ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; mov.u32 %r1, %tid.x; mov.u32 %r4, smem;
  mad.wide.u32 %rd3, %r1, 4, %rd1; ld.global.u32 %r2, [%rd3];
  mad.lo.u32 %r8, %r1, 4, %r4; xor.b32 %r9, %r1, 37; mad.lo.u32 %r9, %r9, 4, %r4; st.shared.u32 [%r8], %r1; mov.u32 %r6, 0;
  setp.eq.u32 %p1, %r2, 0; @%p1 bra DONE;
  shr.u32 %r5, %r1, 6; add.u32 %r5, %r5, %r2; shl.b32 %r7, %r2, 6;
  bar.sync %r5, %r7; ld.shared.u32 %r6, [%r9];
  DONE: mad.wide.u32 %rd4, %r1, 4, %rd2; st.global.u32 [%rd4], %r6;`,
)

const ptx = moduleText([tree, named, handOver, loaded, rms])
const schedules = [
  { schedule: 'in-order' },
  { schedule: 'shuffled', seed: 1 },
  { schedule: 'shuffled', seed: 2 },
] as const

for (const options of schedules)
  for (const checks of [false, true]) {
    const how = `${options.schedule}${'seed' in options ? ` ${options.seed}` : ''}${checks ? ', checked' : ''}`

    test(`a tree reduction with a barrier in a loop, ${how}`, async () => {
      const random = rng(11)
      const x = Uint32Array.from({ length: 3 * 256 }, () => random.integer(0, 1e6))
      const y = new Uint32Array(3)
      await run({ name: 'tree', ptx, block: [16, 8, 2], sharedBytes: 1024 }, [1, 3, 1], [x, y], {
        ...options,
        checks,
      })
      assert.equal(
        [...y],
        [0, 1, 2].map((cta) => x.slice(256 * cta, 256 * cta + 256).reduce((a, b) => a + b)),
      )
    })

    test(`named barriers between groups of warps, ${how}`, async () => {
      const y = new Uint32Array(128)
      await run({ name: 'named', ptx, block: [128, 1, 1], sharedBytes: 512 }, [1, 1, 1], [y], {
        ...options,
        checks,
      })
      assert.equal(
        [...y],
        Array.from({ length: 128 }, (_, t) => {
          const other = (t & 63) ^ 33
          return t < 64 ? 4 * other + 6 : 6 * 7 * other + 15
        }),
      )
    })

    test(`arrivals without waiting, ${how}`, async () => {
      const y = new Uint32Array(128)
      await run({ name: 'hand_over', ptx, block: [128, 1, 1], sharedBytes: 256 }, [1, 1, 1], [y], {
        ...options,
        checks,
      })
      let tile = Array.from({ length: 64 }, (_, i) => i)
      const pass = (f: (value: number) => number): void => {
        tile = tile.map((_, i) => f(tile[i ^ 37]!))
      }
      for (let turn = 0; turn < 3; turn++) {
        pass((value) => value + 5)
        pass((value) => 3 * value + 1)
      }
      assert.equal([...y], [...tile, ...tile])
    })

    test(`a barrier's number behind a branch on loaded values, ${how}`, async () => {
      const x = new Uint32Array(128).fill(1, 0, 64)
      const y = new Uint32Array(128)
      await run({ name: 'loaded', ptx, block: [128, 1, 1], sharedBytes: 512 }, [1, 1, 1], [x, y], {
        ...options,
        checks,
      })
      assert.equal(
        [...y],
        Array.from({ length: 128 }, (_, t) => (t < 64 ? t ^ 37 : 0)),
      )
    })

    test(`RMS normalization, ${how}`, async () => {
      const random = rng(12)
      const [rows, length, epsilon] = [3, 250, 1e-5]
      const x = Float32Array.from({ length: rows * length }, () => random.normal())
      const y = new Float32Array(rows * length)
      await run({ name: 'rms', ptx, block: [96, 1, 1] }, [rows, 1, 1], [x, y, length, epsilon], {
        ...options,
        checks,
      })
      for (let row = 0; row < rows; row++) {
        const values = x.slice(row * length, row * length + length)
        const scale = 1 / Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / length + epsilon)
        // Sums of 250 squares in f32 are good to some 2^-21.
        values.forEach((v, i) => {
          assert.ok(Math.abs(y[row * length + i]! - v * scale) <= 2 ** -20 * Math.abs(v * scale))
        })
      }
    })
  }

test.run()
