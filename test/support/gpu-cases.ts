import { type Callback, suite, type Test } from 'uvu'
import type { Target } from '../../codegen/target.ts'
import type { Device } from '../../runtime/device.ts'
import { describeDevices, openDevice } from '../../runtime/open-device.ts'
import { loadProgram } from '../../runtime/program-cache.ts'
import { type KernelCase, runCase } from './run-kernel.ts'

/** A case whose inputs are made shortly before its turn: those of a whole file would fill the memory. */
export interface NamedCase {
  readonly name: string
  make(): KernelCase
}

/** Cases whose programs are on their way while another one runs. */
const ahead = 8
const progressMs = 5000

export const anyGpu = { needs: 'no GPU', serves: (_: Target) => true }
export const hopperGpu = {
  needs: 'no GPU of the target sm_90a',
  serves: (target: Target) => target.name === 'sm_90a',
}

/**
 * Runs a suite on the first GPU that serves; without one says why it is skipped. `fill` adds the tests, those of kernels
 * through `add`. `QUATTUOR_TEST_NAMES` chooses among the names, `QUATTUOR_TEST_EVERY` among what `add` was called with.
 */
export async function testOnGpu(
  title: string,
  { needs, serves }: typeof anyGpu,
  fill: (add: (name: string, make: () => KernelCase) => void, device: Device, test: Test) => void,
): Promise<void> {
  const { gpus } = await describeDevices()
  const gpu = gpus.find(({ target }) => target && serves(target))
  const test = suite(title)
  if (gpu) {
    // Not in a `before` hook, whose errors uvu does not show.
    const device = await openDevice(gpu.name)
    const cases: NamedCase[] = []
    const { QUATTUOR_TEST_EVERY: every, QUATTUOR_TEST_NAMES: names } = process.env
    const add = (name: string, make: () => KernelCase) => {
      if (isNamed(name, names)) cases.push({ name, make })
    }
    const addTest = (name: string, run: Callback<unknown>) => {
      if (isNamed(name, names)) test(name, run)
    }
    fill(add, device, Object.assign(addTest, test))
    testCases(test, device, someOf(cases, every))
    test.after(() => device.close())
  } else {
    console.log(`skipped: ${title}, because ${needs}`)
    test.skip(needs, () => {})
  }
  test.run()
}

/** Whether a name fits a regular expression; all do without one. */
export const isNamed = (name: string, pattern: string | undefined): boolean =>
  pattern === undefined || new RegExp(pattern).test(name)

/** Every n-th case, for tools that make the GPU slower by orders of magnitude; all without a number. */
export function someOf<C>(cases: readonly C[], every: string | undefined): C[] {
  const step = Math.max(1, Number(every ?? 1) || 1)
  return cases.filter((_, i) => i % step === 0)
}

/**
 * Adds a test for each case, which run in order. While one runs, the device compiles the programs of the next ones. How
 * far they are goes to standard error now and then.
 */
export function testCases(test: Test, device: Device, cases: readonly NamedCase[]): void {
  const begun: (Promise<KernelCase> | undefined)[] = []
  const start = performance.now()
  let told = start
  cases.forEach(({ name }, i) => {
    test(name, async () => {
      for (let next = i; next <= i + ahead && next < cases.length; next++)
        begun[next] ??= begin(device, cases[next]!)
      const ready = await begun[i]!
      begun[i] = undefined
      await runCase(device, ready)
      const now = performance.now()
      if (now - told < progressMs) return
      told = now
      console.error(`progress: ${i + 1} of ${cases.length} cases in ${((now - start) / 1000).toFixed(0)} s`)
    })
  })
}

function begin(device: Device, { make }: NamedCase): Promise<KernelCase> {
  const begun = (async () => {
    const ready = make()
    const program = await loadProgram(ready.kernel, ready.config, device.target)
    // What fails here fails again, and is told, when the case runs.
    device.loadAll([program]).catch(() => {})
    return ready
  })()
  begun.catch(() => {})
  return begun
}

/** `name` with the options that a case is made of. */
export const caseName = (name: string, options: object): string =>
  [
    name,
    ...Object.entries(options)
      .filter(([, value]) => value !== undefined && value !== false)
      .map(([key, value]) => `${key}=${typeof value === 'object' ? JSON.stringify(value) : value}`),
  ].join(' ')
