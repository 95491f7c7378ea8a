import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { type Rng, rng } from '../../support/rng.ts'
import { kernelText, moduleText, programOf, run } from './support.ts'

const registers = '.reg .pred %p<9>; .reg .b32 %r<40>; .reg .f32 %f<9>; .reg .b64 %rd<20>;'

/** Thread 0 initializes the barrier at offset 0 of shared memory for one arrival; the tile is at 1024. */
const start = `${registers}
  mov.u32 %r1, %tid.x; mov.u32 %r2, smem; add.u32 %r3, %r2, 1024; setp.eq.u32 %p1, %r1, 0;
  @%p1 mbarrier.init.shared::cta.b64 [%r2], 1; @%p1 fence.mbarrier_init.release.cluster; bar.sync 0;`
const wait = (parity: number, label: string): string =>
  `${label}: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], ${parity}; @!%p2 bra ${label};`
/** Copies the tile to global memory at %rd2, word by word. */
const dump = (bytes: number): string => `
  mov.u32 %r20, %r1;
  DUMP: mad.lo.u32 %r21, %r20, 4, %r3; ld.shared.u32 %r22, [%r21]; mad.wide.u32 %rd9, %r20, 4, %rd2;
  st.global.u32 [%rd9], %r22; add.u32 %r20, %r20, 64; setp.lt.u32 %p3, %r20, ${bytes / 4}; @%p3 bra DUMP;`
/** Fills the tile from global memory at %rd1. */
const fill = (bytes: number): string => `
  mov.u32 %r20, %r1;
  FILL: mad.wide.u32 %rd9, %r20, 4, %rd1; ld.global.u32 %r22, [%rd9]; mad.lo.u32 %r21, %r20, 4, %r3;
  st.shared.u32 [%r21], %r22; add.u32 %r20, %r20, 64; setp.lt.u32 %p3, %r20, ${bytes / 4}; @%p3 bra FILL;
  fence.proxy.async.shared::cta; bar.sync 0;`

/** Two halves of a tile, both counted on one phase, with a cache policy. */
const bulkLoad = kernelText(
  'bulk_load',
  ['u64', 'u64'],
  [64, 1, 1],
  `${start} ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1];
  createpolicy.fractional.L2::evict_first.b64 %rd5, 1.0;
  @!%p1 bra WAIT;
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 1024;
  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%r3], [%rd1], 512, [%r2], %rd5;
  add.u32 %r4, %r3, 512; mov.u32 %r5, 512;
  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r4], [%rd1+768], %r5, [%r2];
  ${wait(0, 'WAIT')} ${dump(1024)}`,
)

const tensorLoad = (name: string, dims: 2 | 3, bytes: number): string =>
  kernelText(
    name,
    ['map', 'u64', 's32', 's32', 's32'],
    [64, 1, 1],
    `${start} ld.param.u64 %rd2, [p1]; ld.param.s32 %r5, [p2]; ld.param.s32 %r6, [p3]; ld.param.s32 %r7, [p4];
    mov.b64 %rd3, p0; cvta.param.u64 %rd4, %rd3;
    @!%p1 bra WAIT;
    prefetch.tensormap [%rd4];
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], ${bytes};
    cp.async.bulk.tensor.${dims}d.shared::cluster.global.mbarrier::complete_tx::bytes [%r3], [%rd4, {%r5, %r6${dims === 3 ? ', %r7' : ''}}], [%r2];
    ${wait(0, 'WAIT')} ${dump(bytes)}`,
  )

const tensorStore = kernelText(
  'tensor_store',
  ['u64', 'map', 's32', 's32'],
  [64, 1, 1],
  `${start} ld.param.u64 %rd1, [p0]; ld.param.s32 %r5, [p2]; ld.param.s32 %r6, [p3];
  ${fill(2048)}
  mov.b64 %rd3, p1; cvta.param.u64 %rd4, %rd3;
  @!%p1 bra END;
  cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd4, {%r5, %r6}], [%r3];
  cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0;
  END:`,
)

const bulkStore = kernelText(
  'bulk_store',
  ['u64', 'u64', 'u64', 'u64'],
  [64, 1, 1],
  `${start} ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; ld.param.u64 %rd3, [p2]; ld.param.u64 %rd4, [p3];
  mov.u32 %r8, %ctaid.x; mad.wide.u32 %rd2, %r8, 512, %rd2;
  ${fill(512)}
  @!%p1 bra END;
  cp.async.bulk.global.shared::cta.bulk_group [%rd2], [%r3], 512;
  cp.reduce.async.bulk.global.shared::cta.bulk_group.add.s32 [%rd3], [%r3], 256;
  add.u32 %r4, %r3, 256;
  cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%rd4], [%r4], 256;
  cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;
  END:`,
)

/** 32 barriers: lane l of warp 0 waits for its own, to which thread 32 + l arrives. */
const waitsByLane = kernelText(
  'waits_by_lane',
  ['u64'],
  [64, 1, 1],
  `${registers} ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x; mov.u32 %r2, smem;
  and.b32 %r4, %r1, 31; mad.lo.u32 %r5, %r4, 8, %r2; setp.lt.u32 %p1, %r1, 32; add.u32 %r6, %r5, 1024;
  @%p1 mbarrier.init.shared::cta.b64 [%r5], 1; bar.sync 0;
  @%p1 bra WAIT;
  mad.lo.u32 %r7, %r1, 3, 5; st.shared.u32 [%r6], %r7; mbarrier.arrive.shared::cta.b64 _, [%r5];
  bra END;
  WAIT: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r5], 0; @!%p2 bra WAIT;
  ld.shared.u32 %r8, [%r6]; mad.wide.u32 %rd2, %r1, 4, %rd1; st.global.u32 [%rd2], %r8;
  END:`,
)

/** Waits of one thread, behind which the others of its warp still have work that needs uniform registers. */
const waitsApart = kernelText(
  'waits_apart',
  ['u64', 'u32'],
  [64, 1, 1],
  `${start} ld.param.u64 %rd1, [p0]; ld.param.u32 %r30, [p1]; mul.lo.u32 %r31, %r30, 7;
  shr.u32 %r10, %r1, 5; setp.ne.u32 %p4, %r10, 0; @%p4 bra OTHER;
  mov.u32 %r12, 0; @!%p1 bra JOIN;
  ${wait(0, 'FIRST')}
  ld.shared.u32 %r12, [%r3];
  bra JOIN;
  OTHER: setp.eq.u32 %p5, %r1, 40; mov.u32 %r13, 77; mov.u32 %r12, 5;
  @%p5 st.shared.u32 [%r3], %r13; @%p5 mbarrier.arrive.shared::cta.b64 _, [%r2];
  JOIN: add.u32 %r12, %r12, %r31; mad.wide.u32 %rd2, %r1, 4, %rd1; st.global.u32 [%rd2], %r12;`,
)

const ptx = moduleText([
  bulkLoad,
  tensorLoad('tensor_2d', 2, 4096),
  tensorLoad('tensor_2d_64', 2, 2048),
  tensorLoad('tensor_2d_32', 2, 1024),
  tensorLoad('tensor_3d', 3, 4096),
  tensorStore,
  bulkStore,
  waitsByLane,
  waitsApart,
])
const block = [64, 1, 1] as const
const kernel = (name: string) => ({ name, ptx, block, sharedBytes: 8192 })
const bytes = (random: Rng, length: number): Uint8Array =>
  Uint8Array.from({ length }, () => random.integer(0, 256))
const each = (name: string, body: (options: object, random: Rng) => Promise<void>): void => {
  for (const checks of [false, true])
    for (const seed of [undefined, 1, 2]) {
      const order = seed === undefined ? {} : ({ schedule: 'shuffled', seed } as const)
      test(`${name}${checks ? ', checked' : ''}${seed === undefined ? '' : `, schedule ${seed}`}`, () =>
        body({ checks, ...order }, rng(seed ?? 7)))
    }
}

each('bulk copies to shared memory complete one phase together', async (options, random) => {
  const x = bytes(random, 2048)
  const y = new Uint8Array(1024)
  await run(kernel('bulk_load'), [1, 1, 1], [x, y], options)
  assert.equal(y, Uint8Array.of(...x.slice(0, 512), ...x.slice(768, 1280)))
})

/** What a tile of `rows` rows of `rowBytes` bytes looks like in shared memory that begins at a multiple of 1024. */
function tile(rows: readonly Uint8Array[], rowBytes: number, swizzle: number): Uint8Array {
  const result = new Uint8Array(rows.length * rowBytes)
  rows.forEach((row, r) => {
    row.forEach((value, column) => {
      const at = r * rowBytes + column
      const chunk = Math.floor(at / 16)
      // Chunks of a span are exchanged by the number of the 128-byte line that they lie in.
      const span = Math.max(swizzle / 16, 1)
      result[(chunk ^ (Math.floor(at / 128) % span)) * 16 + (at % 16)] = value
    })
  })
  return result
}

/** The box of a tensor [slabs][rows][columns] at a place; zeros outside. */
function box(
  x: Uint8Array,
  extents: readonly [number, number, number],
  [columnStride, slabStride]: readonly [number, number],
  place: readonly number[],
  [columns, rows, slabs]: readonly [number, number, number],
): Uint8Array[] {
  return Array.from({ length: slabs * rows }, (_, r) =>
    Uint8Array.from({ length: columns }, (_, c) => {
      const at = [place[0]! + c, place[1]! + (r % rows), place[2]! + Math.floor(r / rows)]
      const exists = at.every((index, axis) => index >= 0 && index < extents[axis]!)
      return exists ? x[at[2]! * slabStride + at[1]! * columnStride + at[0]!]! : 0
    }),
  )
}

for (const [name, swizzle] of [
  ['tensor_2d', 128],
  ['tensor_2d_64', 64],
  ['tensor_2d_32', 32],
  ['tensor_2d_32', 0],
] as const)
  each(`a 2-dimensional tile, swizzled over ${swizzle} bytes`, async (options, random) => {
    const extents = [155, 50, 1] as const
    const columns = swizzle || 32
    const x = bytes(random, 50 * 160)
    const map = {
      data: x,
      dtype: 'u8',
      extents: extents.slice(0, 2),
      strides: [160],
      box: [columns, 32],
      swizzle,
    } as const
    for (const [column, row] of [
      [0, 0],
      [16, 7],
      [-3, -2],
      [120, 41],
      [3, 54],
      [400, 3],
    ] as const) {
      const y = new Uint8Array(columns * 32)
      await run(kernel(name), [1, 1, 1], [map, y, column, row, 0], options)
      const expected = box(x, extents, [160, 0], [column, row, 0], [columns, 32, 1])
      assert.equal(y, tile(expected, columns, swizzle))
    }
  })

each('a 3-dimensional tile of halves, swizzled over 64 bytes', async (options, random) => {
  // Slabs are parts of the columns: 32 halves each, of rows of 100 halves.
  const x = bytes(random, 20 * 208)
  const map = {
    data: x,
    dtype: 'f16',
    extents: [32, 20, 3],
    strides: [208, 64],
    box: [32, 16, 4],
    swizzle: 64,
  } as const
  for (const [row, slab] of [
    [0, 0],
    [7, 1],
    [-2, -1],
  ] as const) {
    const y = new Uint8Array(4096)
    await run(kernel('tensor_3d'), [1, 1, 1], [map, y, 0, row, slab], options)
    const expected = box(x, [64, 20, 3], [208, 64], [0, row, slab], [64, 16, 4])
    assert.equal(y, tile(expected, 64, 64))
  }
})

each('a tile is stored as far as the tensor has room', async (options, random) => {
  const x = bytes(random, 2048)
  const extents = [150, 30, 1] as const
  for (const [column, row] of [
    [0, 0],
    [32, 5],
    [-16, -3],
    [112, 20],
  ] as const) {
    const y = bytes(random, 30 * 160)
    const before = y.slice()
    const map = {
      data: y,
      dtype: 'u8',
      extents: extents.slice(0, 2),
      strides: [160],
      box: [128, 16],
      swizzle: 128,
    } as const
    await run(kernel('tensor_store'), [1, 1, 1], [x, map, column, row], options)
    // Swizzling twice gives the tile back.
    const rows = tile(
      Array.from({ length: 16 }, (_, r) => x.slice(r * 128, r * 128 + 128)),
      128,
      128,
    )
    const expected = before.slice()
    for (let r = 0; r < 16; r++)
      for (let c = 0; c < 128; c++) {
        const [toRow, toColumn] = [row + r, column + c]
        if (toRow >= 0 && toRow < 30 && toColumn >= 0 && toColumn < 150)
          expected[toRow * 160 + toColumn] = rows[r * 128 + c]!
      }
    assert.equal(y, expected)
  }
})

each('bulk stores and additions', async (options, random) => {
  const floats = Float32Array.from({ length: 64 }, () => random.integer(-1000, 1000) / 8)
  const integers = Int32Array.from({ length: 64 }, () => random.integer(-(2 ** 31), 2 ** 31))
  const x = new Uint8Array(512)
  x.set(new Uint8Array(integers.buffer))
  x.set(new Uint8Array(floats.buffer), 256)
  const y = new Uint8Array(1024)
  const sums = Int32Array.from({ length: 64 }, () => random.integer(-(2 ** 31), 2 ** 31))
  const floatSums = Float32Array.from({ length: 64 }, () => random.integer(-1000, 1000) / 8)
  const expected = [sums.map((s, i) => s + 2 * integers[i]!), floatSums.map((s, i) => s + 2 * floats[i]!)]
  await run(kernel('bulk_store'), [2, 1, 1], [x, y, sums, floatSums], options)
  assert.equal(y, Uint8Array.of(...x, ...x))
  assert.equal([sums, floatSums], expected)
})

test('a checked launch reports the bytes that the copy engine moved', async () => {
  const device = openEmulator({ checks: true })
  const buffers = [512, 1024, 256, 256].map((bytes) => device.allocate(bytes))
  for (const buffer of buffers) device.fill(buffer, 0)
  const addresses = buffers.map(({ address }) => address)
  device.prepareLaunch(device.load(programOf(kernel('bulk_store'))), { grid: [2, 1, 1] }, addresses).run()
  await device.synchronize()
  assert.equal(device.takeReports()[0]!.copiedBytes, { 'shared to global': 1024, 'added to global': 1024 })
  await device.close()
})

each('lanes of a warp wait for barriers of their own', async (options) => {
  const y = new Uint32Array(32)
  await run(kernel('waits_by_lane'), [1, 1, 1], [y], options)
  assert.equal(
    [...y],
    Array.from({ length: 32 }, (_, lane) => 3 * (32 + lane) + 5),
  )
})

each('one thread of a warp waits while the others wait for it', async (options) => {
  const y = new Uint32Array(64)
  await run(kernel('waits_apart'), [1, 1, 1], [y, 9], options)
  assert.equal(
    [...y],
    Array.from({ length: 64 }, (_, thread) => 63 + (thread === 0 ? 77 : thread < 32 ? 0 : 5)),
  )
})

test.run()
