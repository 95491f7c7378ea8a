import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { DeviceError } from '../../../runtime/device.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { kernelText, moduleText, programOf } from './support.ts'

/* Launches that may begin before their predecessors have ended. */

const registers = '.reg .pred %p<9>; .reg .b32 %r<9>; .reg .b64 %rd<9>;'
const place = `${registers} ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; mov.u32 %r1, %tid.x;
  mad.wide.u32 %rd3, %r1, 4, %rd1; mad.wide.u32 %rd4, %r1, 4, %rd2; setp.eq.u32 %p1, %r1, 0;`
const increment = 'ld.global.u32 %r2, [%rd3]; add.u32 %r2, %r2, 1; st.global.u32 [%rd4], %r2;'
const kernels = {
  waits_first: `griddepcontrol.wait; griddepcontrol.launch_dependents; ${increment}`,
  waits_late: `griddepcontrol.launch_dependents; .loc 1 5 1
    ${increment} griddepcontrol.wait;`,
  one_waits: `griddepcontrol.launch_dependents; @%p1 griddepcontrol.wait; bar.sync 0; ${increment}`,
  writes_early: `ld.global.u32 %r2, [%rd1+1024]; .loc 1 6 1
    st.global.u32 [%rd4], %r2; griddepcontrol.wait;`,
  never_waits: `griddepcontrol.launch_dependents; ${increment}`,
} as const
type Name = keyof typeof kernels
const ptx = moduleText(
  Object.entries(kernels).map(([name, body]) =>
    kernelText(name, ['u64', 'u64'], [64, 1, 1], `${place} .loc 1 1 1\n${body}`),
  ),
  ['kernels/overlap.ts'],
)

/** Launches kernels that each read what the one before wrote; gives the code and message of the first fault. */
async function chain(
  names: readonly Name[],
  options: { readonly overlap?: boolean; readonly between?: boolean } = {},
): Promise<DeviceError | undefined> {
  const device = openEmulator({ checks: true })
  try {
    const buffers = [0, 1, 2, 3].map(() => device.allocate(2048))
    for (const buffer of buffers) device.fill(buffer, 1)
    names.forEach((name, i) => {
      const program = { ...programOf({ name, ptx, block: [64, 1, 1] }), overlaps: true }
      const shape = { grid: [1, 1, 1], overlap: options.overlap ?? true } as const
      const args = [buffers[i]!.address, buffers[i + 1]!.address]
      device.prepareLaunch(device.load(program), shape, args).run()
      if (options.between) device.fill(buffers[3]!, 2)
    })
    await device.synchronize()
    return undefined
  } catch (error) {
    if (error instanceof DeviceError) return error
    throw error
  } finally {
    await device.close()
  }
}

/** Runs launches, each of a kernel, the buffer that it reads, and the one that it writes; gives the first fault. */
async function faultOf(
  launches: readonly (readonly [name: Name, from: number, to: number])[],
): Promise<DeviceError | undefined> {
  const device = openEmulator({ checks: true })
  try {
    const buffers = [0, 1, 2, 3].map(() => device.allocate(2048))
    for (const buffer of buffers) device.fill(buffer, 1)
    for (const [name, from, to] of launches) {
      const program = { ...programOf({ name, ptx, block: [64, 1, 1] }), overlaps: true }
      const args = [buffers[from]!.address, buffers[to]!.address]
      device.prepareLaunch(device.load(program), { grid: [1, 1, 1] }, args).run()
    }
    await device.synchronize()
    return undefined
  } catch (error) {
    if (error instanceof DeviceError) return error
    throw error
  } finally {
    await device.close()
  }
}

test('what waits before it reads, or learns that another thread has waited, is in order', async () => {
  assert.is(await chain(['waits_first', 'waits_first', 'one_waits']), undefined)
})

test('reading before the wait what the predecessor writes is a fault', async () => {
  const error = await chain(['waits_first', 'waits_late'])
  assert.is(error?.code, 'EMULATOR_EARLY_DEPENDENT')
  assert.is(error?.location, 'kernels/overlap.ts:5')
  assert.match(
    error!.message,
    /reads 4 bytes of global memory .* before waitForPrevious\(\), and kernel waits_first .* writes it/,
  )
})

test('so is writing before the wait what the predecessor reads or writes', async () => {
  const error = await faultOf([
    ['waits_first', 0, 1],
    ['writes_early', 1, 0],
  ])
  assert.is(error?.code, 'EMULATOR_EARLY_DEPENDENT')
  assert.match(error!.message, /writes 4 bytes .* kernel waits_first .* reads it/)
})

test('without overlap, or with other work between, the order is the stream’s', async () => {
  assert.is(await chain(['waits_first', 'waits_late'], { overlap: false }), undefined)
  assert.is(await chain(['waits_first', 'waits_late'], { between: true }), undefined)
})

/** The fault of three launches of which the last, `reader`, reads what the first has written. */
const skipping = (middle: Name, reader: Name) =>
  faultOf([
    ['waits_first', 0, 1],
    [middle, 0, 2],
    [reader, 1, 3],
  ])

test('a launch that lets others start before it waits may be overtaken with its predecessors unfinished', async () => {
  assert.is(await skipping('waits_first', 'waits_late'), undefined)
  assert.is((await skipping('one_waits', 'waits_late'))?.code, 'EMULATOR_EARLY_DEPENDENT')
})

test('who waits for a launch that waits at its end has waited for those before it; for one that does not wait, not', async () => {
  assert.is(await skipping('waits_late', 'waits_first'), undefined)
  const error = await skipping('never_waits', 'waits_first')
  assert.is(error?.code, 'EMULATOR_EARLY_DEPENDENT')
  assert.match(
    error!.message,
    /reads 4 bytes .* behind a launch that ends without waitForPrevious\(\), and kernel waits_first .* writes it/,
  )
})

test.run()
