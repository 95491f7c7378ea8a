import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { swizzledTile } from '../../../dsl/layout/index.ts'
import { DeviceError } from '../../../runtime/device.ts'
import { matrixChunks } from '../../../runtime/emulator/checks/matrix.ts'
import { kernelText, moduleText, run } from './support.ts'
import { descriptorBits } from './wgmma-kernel.ts'

/* Who must execute warpgroup instructions, where tiles must lie, and which registers products may share. */

/** Registers and the descriptors of A and B (32-byte swizzle, 64 and 8 rows) of shared memory that is all ones. */
const prologue = `.reg .b32 %r<10>, %a<4>, %c<8>; .reg .b64 %rd<10>; .reg .pred %p<5>;
  mov.u32 %r1, %tid.x; mov.u32 %r2, smem; ld.param.u64 %rd1, [p0];
  mov.u32 %r3, 0x01010101; mov.u32 %r4, %r1;
  FILL: shl.b32 %r5, %r4, 2; add.u32 %r5, %r5, %r2; st.shared.b32 [%r5], %r3;
  add.u32 %r4, %r4, 128; setp.lt.u32 %p1, %r4, 576; @%p1 bra FILL;
  fence.proxy.async.shared::cta; bar.sync 0;
  shr.u32 %r6, %r2, 4; cvt.u64.u32 %rd2, %r6; or.b64 %rd2, %rd2, 0xC000001000010000; add.u64 %rd3, %rd2, 128;
  mov.u32 %a0, %r3; mov.u32 %a1, %r3; mov.u32 %a2, %r3; mov.u32 %a3, %r3;
  mad.lo.u32 %c0, %r1, 3, 1; mad.lo.u32 %c1, %r1, 5, 2; mad.lo.u32 %c2, %r1, 7, 3; mad.lo.u32 %c3, %r1, 9, 4;
  shr.u32 %r7, %r1, 5; setp.ge.u32 %p1, %r1, 0; setp.lt.u32 %p2, %r1, 0; wgmma.fence.sync.aligned;`
const store = `mul.wide.u32 %rd4, %r1, 16; add.u64 %rd1, %rd1, %rd4; st.global.v4.b32 [%rd1], {%c0, %c1, %c2, %c3};`
const epilogue = `wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; ${store}`
const opcode = 'wgmma.mma_async.sync.aligned.m64n8k32.s32.s8.s8'
const registers = `${opcode} {%c0, %c1, %c2, %c3}, {%a0, %a1, %a2, %a3}, %rd3, %p1;`

const bodies = {
  plain: registers,
  overwrites: `${opcode} {%c0, %c1, %c2, %c3}, %rd2, %rd3, %p2;`,
  overwritesByNegation: `not.pred %p3, %p2; ${opcode} {%c0, %c1, %c2, %c3}, %rd2, %rd3, %p3;`,
  sharesRegisters: `${registers} ${opcode} {%c2, %c1, %c3, %c0}, %rd2, %rd3, %p1;
    ${opcode} {%c3, %c1, %c2, %c0}, {%a0, %a1, %a2, %a3}, %rd3, %p1;`,
  changesRegisters: `setmaxnreg.inc.sync.aligned.u32 240; ${registers} setmaxnreg.dec.sync.aligned.u32 40;`,
  differsByLane: `and.b32 %r8, %r1, 31; setp.ne.u32 %p3, %r8, 7; @!%p3 bra SKIP; ${registers} SKIP:`,
  differsByWarp: `setp.ne.u32 %p3, %r7, 2; @!%p3 bra SKIP; ${registers} SKIP:`,
  commitsApart: `${registers} setp.ne.u32 %p3, %r7, 2; @!%p3 bra SKIP; wgmma.commit_group.sync.aligned; SKIP:`,
  beginsBetweenRows: `add.u64 %rd3, %rd3, 2; ${registers}`,
  beginsBetweenSteps: `add.u64 %rd3, %rd3, 1; ${registers}`,
  reachesBeyond: `add.u64 %rd3, %rd3, 64; ${registers}`,
  differsInMatrices: `cvt.u64.u32 %rd5, %r7; shl.b64 %rd5, %rd5, 4; add.u64 %rd3, %rd2, %rd5; ${registers}`,
  differsInLanes: `setp.ne.u32 %p1, %r1, 77; ${registers}`,
  neverCommits: `${store} wgmma.fence.sync.aligned; ${registers} ret;`,
  neverWaits: `${store} wgmma.fence.sync.aligned; ${registers} wgmma.commit_group.sync.aligned; ret;`,
} as const
type Name = keyof typeof bodies

const kernelOf = (name: Name, threads = 128): string =>
  kernelText(name, ['u64'], [threads, 1, 1], `${prologue} ${bodies[name]} ${epilogue}`)
/** What ptxas accepts without a note; the others are against its advice, or wrong. */
const assembled: readonly Name[] = ['plain', 'overwrites', 'overwritesByNegation']
moduleText(assembled.map((name) => kernelOf(name)))
const unassembled = (kernels: readonly string[]): string =>
  `.version 8.4\n.target sm_90a\n.address_size 64\n.extern .shared .align 1024 .b8 smem[];\n${kernels.join('\n')}`
const text = unassembled((Object.keys(bodies) as Name[]).map((name) => kernelOf(name)))
const sharedBytes = 2048 + 256

async function accumulators(name: Name, checks: boolean, threads = 128): Promise<Int32Array> {
  const out = new Int32Array(threads * 4)
  const ptx = threads === 128 ? text : unassembled([kernelOf(name, threads)])
  await run({ name, ptx, block: [threads, 1, 1], sharedBytes }, [1, 1, 1], [out], { checks })
  return out
}

async function refuses(code: string, pattern: RegExp, launch: () => Promise<unknown>): Promise<void> {
  try {
    await launch()
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error
    assert.is(error.code, code, error.message)
    assert.match(error.message, pattern)
    return
  }
  assert.unreachable('it was not refused')
}

const initial = (thread: number, i: number): number => (3 + 2 * i) * thread + i + 1
/** Every product of rows of 32 ones is 32. */
const added = (products: number) => (thread: number, i: number) => initial(thread, i) + 32 * products

for (const checks of [false, true]) {
  const mode = checks ? ', checked' : ''
  const results: readonly [Name, (thread: number, i: number) => number][] = [
    ['plain', added(1)],
    ['overwrites', () => 32],
    ['overwritesByNegation', added(1)],
    ['sharesRegisters', added(3)],
    ['changesRegisters', added(1)],
  ]
  for (const [name, expected] of results)
    test(`${name}${mode}`, async () => {
      const out = await accumulators(name, checks)
      for (let thread = 0; thread < 128; thread++)
        for (let i = 0; i < 4; i++) assert.is(out[4 * thread + i], expected(thread, i))
    })

  test(`a lane that stays away is a fault${mode}`, () =>
    refuses('EMULATOR_DIVERGENT_COLLECTIVE', /32 lanes/, () => accumulators('differsByLane', checks)))

  test(`a tile that does not begin with its swizzle is a fault${mode}`, async () => {
    for (const name of ['beginsBetweenRows', 'beginsBetweenSteps'] as const)
      await refuses('EMULATOR_MISALIGNED', /eight swizzled rows/, () => accumulators(name, checks))
  })

  test(`a warp of no whole warpgroup is a fault${mode}`, () =>
    refuses('EMULATOR_DIVERGENT_WARPGROUP', /no whole warpgroup/, () =>
      accumulators('plain', checks, 128 + 32),
    ))
}

test('a warp that stays away is a fault, checked', () =>
  refuses('EMULATOR_DIVERGENT_WARPGROUP', /Warp \d/, () => accumulators('differsByWarp', true)))

test('a warp that leaves out a commit is a fault, checked', () =>
  refuses('EMULATOR_DIVERGENT_WARPGROUP', /Warp \d/, () => accumulators('commitsApart', true)))

test('warps with matrices of their own are a fault, checked', () =>
  refuses('EMULATOR_DIVERGENT_WARPGROUP', /another matrix descriptor/, () =>
    accumulators('differsInMatrices', true),
  ))

test('lanes with predicates of their own are a fault, checked', () =>
  refuses('EMULATOR_DIVERGENT_COLLECTIVE', /different descriptors or predicates/, () =>
    accumulators('differsInLanes', true),
  ))

test('setmaxnreg takes multiples of 8 alone', async () => {
  for (const count of [20, 100, 264]) {
    const ptx = unassembled([
      kernelText('k', ['u64'], [128, 1, 1], `setmaxnreg.inc.sync.aligned.u32 ${count};`),
    ])
    await refuses('EMULATOR_INVALID_PTX', /multiple of 8 from 24 to 256/, () =>
      run({ name: 'k', ptx, block: [128, 1, 1] }, [1, 1, 1], [new Int32Array(1)]),
    )
  }
})

test('a product that nobody commits or waits for is a fault, checked', async () => {
  await refuses('EMULATOR_WGMMA_WAIT', /without a wgmma.commit_group/, () =>
    accumulators('neverCommits', true),
  )
  await refuses('EMULATOR_WGMMA_WAIT', /without a wgmma.wait_group/, () => accumulators('neverWaits', true))
})

test('a matrix that reaches beyond shared memory is a fault, checked', () =>
  refuses('EMULATOR_OUT_OF_BOUNDS', /outside the CTA's 2304 bytes/, () =>
    accumulators('reachesBeyond', true),
  ))

test('the checker finds the rows of a tile where the compiler puts them', () => {
  for (const bytes of [32, 64, 128] as const) {
    const tile = swizzledTile([3, 16, bytes], 'u8')
    for (const window of [0, 7 * 1024, 255 * 1024])
      for (let step = 0; step < bytes / 32; step++) {
        const start = BigInt(((window + 2 * 16 * bytes + 32 * step) & 0x3ffff) >> 4)
        const chunks = matrixChunks(BigInt(descriptorBits(bytes)) | start, window, 0, 16)
        for (let row = 0; row < 16; row++)
          for (const half of [0, 1]) assert.is(chunks[2 * row + half], tile(2, row, 32 * step + 16 * half))
      }
  }
})

test('factors of -1 and transposed operands are refused by name', async () => {
  const half = 'wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16'
  const tail = ['-1, 1, 0, 0', '1, -1, 0, 0', '1, 1, 1, 0', '1, 1, 0, 1']
  for (const [i, immediates] of tail.entries()) {
    const body = `${prologue.replace('%c<8>', '%d<8>; .reg .f32 %c<8>').replace(/mad\.lo\.u32 %c\d[^;]*;/g, '')}
      ${half} {%c0, %c1, %c2, %c3}, %rd2, %rd3, %p1, ${immediates};`
    const ptx = unassembled([kernelText('k', ['u64'], [128, 1, 1], body)])
    const launch = () =>
      run({ name: 'k', ptx, block: [128, 1, 1], sharedBytes }, [1, 1, 1], [new Int32Array(1)])
    await refuses('EMULATOR_INVALID_PTX', i < 2 ? /by 1 only/ : /transposed/, launch)
  }
})

test('integers have no 40 columns', async () => {
  const list = Array.from({ length: 20 }, (_, i) => `%c${i}`).join(', ')
  const body = `.reg .b32 %c<20>; .reg .b64 %rd<2>; .reg .pred %p1;
    wgmma.mma_async.sync.aligned.m64n40k32.s32.s8.s8 {${list}}, %rd0, %rd1, %p1;`
  const ptx = unassembled([kernelText('k', ['u64'], [128, 1, 1], body)])
  await refuses('EMULATOR_INVALID_PTX', /40 columns/, () =>
    run({ name: 'k', ptx, block: [128, 1, 1] }, [1, 1, 1], [new Int32Array(1)]),
  )
})

test.run()
