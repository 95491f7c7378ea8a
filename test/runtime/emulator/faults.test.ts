import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { DeviceError } from '../../../runtime/device.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { kernelText, moduleText, programOf } from './support.ts'

const registers = '.reg .pred %p<9>; .reg .b32 %r<40>; .reg .f32 %f<20>; .reg .b64 %rd<20>;'
const start = `${registers} ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; mov.u32 %r1, %tid.x;
  mad.wide.u32 %rd3, %r1, 4, %rd1; mad.wide.u32 %rd4, %r1, 4, %rd2; mov.u32 %r3, smem; mad.lo.u32 %r4, %r1, 4, %r3;`

interface Fault {
  readonly name: string
  /** p0: 256 bytes that were written, p1: 256 bytes that were not. The line at fault is kernels/fault.ts:7. */
  readonly body: string
  readonly code: string
  readonly message: RegExp
  readonly grid?: number
  /** Whether the fault is found with checks off too. */
  readonly always?: boolean
}

const line = (n: number): string => `.loc 1 ${n} 3\n`

const faults: Fault[] = [
  {
    name: 'store_past_the_end',
    body: `${line(6)} ld.global.u32 %r2, [%rd3];
    ${line(7)} st.global.u32 [%rd4+4], %r2;`,
    code: 'EMULATOR_OUT_OF_BOUNDS',
    message: /Thread 63 of CTA 0 writes 4 bytes of global memory/,
  },
  {
    name: 'load_before_the_start',
    body: `${line(7)} ld.global.u32 %r2, [%rd3+-8]; ${line(8)} st.global.u32 [%rd4], %r2;`,
    code: 'EMULATOR_OUT_OF_BOUNDS',
    message: /Thread 0 of CTA 0 reads 4 bytes/,
  },
  {
    name: 'wild_address',
    // The low 32 bits alone would be right.
    body: `add.u64 %rd3, %rd3, 0x100000000; ${line(7)} ld.global.u32 %r2, [%rd3]; st.global.u32 [%rd4], %r2;`,
    code: 'EMULATOR_OUT_OF_BOUNDS',
    message: /Thread (0|32) of CTA 0 reads/,
  },
  {
    name: 'shared_store_past_the_window',
    body: `${line(7)} st.shared.u32 [%r4+16], %r1;`,
    code: 'EMULATOR_OUT_OF_BOUNDS',
    message: /Thread 60 of CTA 0 writes 4 bytes of shared memory/,
  },
  {
    name: 'read_of_memory_that_nothing_wrote',
    body: `${line(7)} ld.global.u32 %r2, [%rd4]; ${line(8)} st.global.u32 [%rd3], %r2;`,
    code: 'EMULATOR_UNINITIALISED_READ',
    message: /reads 4 bytes of global memory .* which nothing has written/,
  },
  {
    name: 'read_of_shared_memory_that_nothing_wrote',
    body: `${line(7)} ld.shared.u32 %r2, [%r4]; ${line(8)} st.global.u32 [%rd4], %r2;`,
    code: 'EMULATOR_UNINITIALISED_READ',
    message: /reads 4 bytes of shared memory/,
  },
  {
    name: 'misaligned_vector_load',
    body: `and.b32 %r2, %r1, 7; mad.wide.u32 %rd5, %r2, 4, %rd1;
    ${line(7)} ld.global.v4.u32 {%r5, %r6, %r7, %r8}, [%rd5]; st.global.u32 [%rd4], %r5;`,
    code: 'EMULATOR_MISALIGNED',
    message: /Thread (1|33) of CTA 0 reads 16 bytes .* not a multiple of 16/,
  },
  {
    name: 'missing_barrier',
    body: `${line(6)} st.shared.u32 [%r4], %r1; xor.b32 %r5, %r1, 32; mad.lo.u32 %r6, %r5, 4, %r3;
    ${line(7)} ld.shared.u32 %r7, [%r6]; ${line(8)} st.global.u32 [%rd4], %r7;`,
    code: 'EMULATOR_RACE',
    message: /with no barrier between them/,
  },
  {
    name: 'missing_warp_barrier',
    body: `${line(6)} st.shared.u32 [%r4], %r1; xor.b32 %r5, %r1, 1; mad.lo.u32 %r6, %r5, 4, %r3;
    shfl.sync.bfly.b32 %r8, %r1, 1, 31, -1; add.u32 %r6, %r6, %r8; sub.u32 %r6, %r6, %r8;
    ${line(7)} ld.shared.u32 %r7, [%r6]; ${line(8)} st.global.u32 [%rd4], %r7;`,
    code: 'EMULATOR_RACE',
    message: /with no bar.warp.sync between them/,
  },
  {
    name: 'race_between_ctas',
    body: `${line(7)} st.global.u32 [%rd4], %r1;`,
    grid: 2,
    code: 'EMULATOR_RACE',
    message: /of CTA 0 .* no order between the two CTAs/,
  },
  {
    name: 'copy_not_waited_for',
    body: `${line(6)} cp.async.ca.shared.global [%r4], [%rd3], 4; cp.async.commit_group;
    ${line(7)} ld.shared.u32 %r5, [%r4]; ${line(8)} st.global.u32 [%rd4], %r5;`,
    code: 'EMULATOR_PENDING_COPY',
    message: /wait for its group/,
  },
  {
    name: 'copy_of_another_thread_without_a_barrier',
    body: `xor.b32 %r5, %r1, 40; mad.lo.u32 %r6, %r5, 4, %r3;
    ${line(6)} cp.async.ca.shared.global [%r4], [%rd3], 4; cp.async.wait_all;
    ${line(7)} ld.shared.u32 %r5, [%r6]; ${line(8)} st.global.u32 [%rd4], %r5;`,
    code: 'EMULATOR_RACE',
    message: /with no barrier between them/,
  },
  {
    name: 'barrier_in_a_divergent_branch',
    body: `and.b32 %r2, %r1, 1; setp.eq.u32 %p1, %r2, 1; @%p1 bra SKIP;
    ${line(7)} bar.sync 0;
    SKIP: st.global.u32 [%rd4], %r1;`,
    code: 'EMULATOR_DIVERGENT_BARRIER',
    message: /only some of the warp’s threads arrive/,
    always: true,
  },
  {
    name: 'shuffle_without_the_lanes_of_its_mask',
    body: `and.b32 %r2, %r1, 1; setp.eq.u32 %p1, %r2, 1; mov.u32 %r5, 0; @%p1 bra SKIP;
    ${line(7)} shfl.sync.bfly.b32 %r5, %r1, 2, 31, 0xffffffff;
    SKIP: st.global.u32 [%rd4], %r5;`,
    code: 'EMULATOR_DIVERGENT_COLLECTIVE',
    message: /not those that its mask asks for/,
    always: true,
  },
  {
    name: 'trap_instruction',
    body: `setp.eq.u32 %p1, %r1, 5; ${line(7)} @%p1 trap;`,
    code: 'EMULATOR_TRAP',
    message: /the kernel executed trap/,
    always: true,
  },
]

const ptx = moduleText(
  faults.map(({ name, body }) => kernelText(name, ['u64', 'u64'], [64, 1, 1], start + body)),
  ['kernels/fault.ts'],
)

async function launch(fault: Fault, checks: boolean, schedule: 'in-order' | 'shuffled'): Promise<void> {
  const device = openEmulator({ checks, schedule })
  const [written, fresh] = [device.allocate(256), device.allocate(256)]
  device.write(written, new Uint8Array(256).fill(7))
  const fn = device.load(programOf({ name: fault.name, ptx, block: [64, 1, 1], sharedBytes: 256 }))
  device.prepareLaunch(fn, { grid: [fault.grid ?? 1, 1, 1] }, [written.address, fresh.address]).run()
  await device.synchronize()
}

for (const fault of faults) {
  for (const checks of fault.always ? [true, false] : [true])
    test(`${fault.name.replace(/_/g, ' ')}${checks ? '' : ', checks off'}`, async () => {
      for (const schedule of ['in-order', 'shuffled'] as const) {
        let error: unknown
        await launch(fault, checks, schedule).catch((thrown) => {
          error = thrown
        })
        assert.instance(error, DeviceError)
        const { code, kernel, message, location } = error as DeviceError
        assert.is(code, fault.code, message)
        assert.is(kernel, fault.name)
        assert.match(message, fault.message)
        // A race is told at whichever of its two accesses comes later; the message names both.
        if (fault.code === 'EMULATOR_RACE') assert.match(message, 'kernels/fault.ts:7')
        else assert.is(location, 'kernels/fault.ts:7', message)
      }
    })
}

test('after a fault nothing runs until it is reported, and then everything does again', async () => {
  const device = openEmulator()
  const [written, fresh] = [device.allocate(256), device.allocate(256)]
  device.write(written, new Uint8Array(256).fill(7))
  const fn = device.load(programOf({ name: 'trap_instruction', ptx, block: [64, 1, 1], sharedBytes: 256 }))
  device.prepareLaunch(fn, { grid: [1, 1, 1] }, [written.address, fresh.address]).run()
  device.fill(written, 1)
  const bytes = new Uint8Array(4)
  try {
    await device.read(bytes, written)
    assert.unreachable('the fault is reported by the read')
  } catch (error) {
    assert.instance(error, DeviceError)
  }
  await device.read(bytes, written)
  assert.equal([...bytes], [7, 7, 7, 7])
})

test('an address in freed memory is told as such', async () => {
  const device = openEmulator({ checks: true })
  const [kept, freed] = [device.allocate(256), device.allocate(256)]
  device.fill(kept, 1)
  freed.free()
  const fn = device.load(programOf({ name: 'store_past_the_end', ptx, block: [64, 1, 1], sharedBytes: 256 }))
  device.prepareLaunch(fn, { grid: [1, 1, 1] }, [kept.address, freed.address]).run()
  let code = ''
  await device.synchronize().catch((error: DeviceError) => {
    code = error.code
  })
  assert.is(code, 'EMULATOR_USE_AFTER_FREE')
})

test('reports count sectors, bank conflicts and instructions by class', async () => {
  // Each thread reads a word 8 bytes from the next one's, and writes a column of 32-word rows.
  const body = `${registers} ld.param.u64 %rd1, [p0]; mov.u32 %r1, %tid.x;
    mad.wide.u32 %rd2, %r1, 8, %rd1; ld.global.u32 %r2, [%rd2];
    mov.u32 %r3, smem; mad.lo.u32 %r4, %r1, 128, %r3; st.shared.u32 [%r4], %r2;
    shfl.sync.bfly.b32 %r5, %r2, 1, 31, -1; cvt.rn.f32.u32 %f1, %r5; fma.rn.f32 %f1, %f1, %f1, %f1;
    mad.wide.u32 %rd3, %r1, 4, %rd1; st.global.f32 [%rd3+256], %f1;`
  const text = moduleText([kernelText('counted', ['u64'], [32, 1, 1], body)])
  const device = openEmulator({ checks: true })
  const memory = device.allocate(512)
  device.fill(memory, 3)
  const fn = device.load(programOf({ name: 'counted', ptx: text, block: [32, 1, 1], sharedBytes: 4096 }))
  device.prepareLaunch(fn, { grid: [1, 1, 1] }, [memory.address]).run()
  await device.synchronize()
  const [report] = device.takeReports()
  const [load, shared, store] = report!.memory
  assert.equal([load!.requests, load!.sectors, load!.idealSectors], [1, 8, 4])
  assert.equal([shared!.wavefronts, shared!.bankConflicts], [32, 31])
  assert.equal([store!.requests, store!.sectors, store!.idealSectors], [1, 4, 4])
  assert.is(report!.instructions['global memory'], 64)
  assert.is(report!.instructions['shared memory'], 32)
  assert.is(report!.instructions.shuffle, 32)
  assert.is(report!.instructions.fp32, 32)
  assert.is(report!.instructions.conversion, 32)
  assert.equal(device.takeReports(), [])
})

test('an instruction that the emulator does not know is an error with its line', () => {
  const device = openEmulator()
  const text = [
    '.version 8.0',
    '.target sm_90a',
    '.address_size 64',
    '.file 1 "kernels/odd.ts"',
    '.visible .entry odd() {',
    '.reg .b32 %r<3>;',
    '.loc 1 12 1',
    'vadd4.u32.u32.u32 %r1, %r2, %r1, %r2;',
    'ret;',
    '}',
  ].join('\n')
  try {
    device.load(programOf({ name: 'odd', ptx: text, block: [32, 1, 1] }))
    assert.unreachable()
  } catch (error) {
    const { code, message, location, kernel } = error as DeviceError
    assert.is(code, 'EMULATOR_UNKNOWN_INSTRUCTION')
    assert.is(location, 'kernels/odd.ts:12')
    assert.is(kernel, 'odd')
    assert.match(message, "PTX line 8 (kernels/odd.ts:12): the emulator does not know the instruction 'vadd4")
  }
})

test.run()
