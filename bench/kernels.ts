import { Command } from 'commander'
import { UsageError } from '../cli/failure.ts'
import { wholeNumbers } from '../cli/options.ts'
import { progressBar } from '../cli/progress.ts'
import type { Device } from '../runtime/device.ts'
import { deviceSlug } from '../runtime/device-slug.ts'
import { loadProgram } from '../runtime/program-cache.ts'
import { type Ceilings, ceilings, floorMicroseconds } from '../runtime/tune/roofline.ts'
import { kernelCases, llama3of8B } from './cases/index.ts'
import type { KernelCase } from './cases/kernel-case.ts'
import { runBench } from './command.ts'
import { launchMicroseconds } from './measure.ts'
import { openGpu } from './open-gpu.ts'
import { prepareCase } from './prepare-case.ts'
import { type Row, updateResults } from './results.ts'
import { table } from './table.ts'

interface KernelsOptions {
  readonly device?: string
  readonly quick?: boolean
  readonly only?: readonly string[]
  readonly tokens?: readonly number[]
  readonly commit?: string
}

/**
 * Compiles all programs and lets the driver load them, which it does with the first while the next are compiled; returns why
 * some could not be, by case.
 */
async function compileAll(device: Device, cases: readonly KernelCase[]): Promise<Map<KernelCase, string>> {
  const failures = new Map<KernelCase, string>()
  const bar = progressBar('Compiling')
  let done = 0
  await Promise.all(
    cases.map(async (c) => {
      try {
        await device.loadAll([await loadProgram(c.kernel, c.config, device.target)])
      } catch (error) {
        failures.set(c, (error as Error).message)
      }
      bar.update(++done, cases.length)
    }),
  )
  bar.stop()
  return failures
}

async function measure(device: Device, c: KernelCase, ceiling: Ceilings | undefined): Promise<Row> {
  const { launches, free } = await prepareCase(device, c)
  try {
    const us = await launchMicroseconds(device, launches)
    const { bytes, ops } = c
    const floorUs = ceiling ? floorMicroseconds(c, ceiling) : null
    return { kernel: c.kernel.name, ...c.parameters, us, bytes, ops, floorUs }
  } finally {
    free()
  }
}

/** Figures of a row; the rest says what was measured. */
const figures = new Set(['us', 'bytes', 'ops', 'floorUs', 'error', 'date', 'commit'])

/** A result for people: the figures that follow from it, and short numbers. */
function readable({ us, bytes, ops, floorUs, ...row }: Row): Row {
  if (typeof us !== 'number') return row
  const rate = (amount: Row[string] | undefined) => (amount ? Number(amount) / us / 1e6 : null)
  const slowness = typeof floorUs === 'number' ? us / floorUs : null
  return { ...row, us, 'us / floor': slowness, 'TB/s': rate(bytes), 'TOP/s': rate(ops) }
}

await runBench(
  new Command('bench:kernels')
    .description('Every kernel of ours at the shapes of Llama 3 8B, on a GPU.')
    .option('--device <name>', 'cuda:0, cuda:1, … (default: the first GPU)')
    .option('--quick', 'a decode step and a batch of 64, W4A8KV4 alone')
    .option('--only <text,...>', 'only kernels with one of these in their name', (text) => text.split(','))
    .option('--tokens <n,...>', 'only so many rows', wholeNumbers(1))
    .option('--commit <id>', 'the commit, where git is not there (default: QUATTUOR_COMMIT)')
    .action(async (options: KernelsOptions) => {
      const device = await openGpu('bench:kernels', options.device)
      try {
        const { only, tokens } = options
        const cases = kernelCases(llama3of8B, device, options.quick ?? false).filter(
          ({ kernel, parameters }) =>
            (!only || only.some((text) => kernel.name.includes(text))) &&
            (!tokens || tokens.includes(Number(parameters.tokens))),
        )
        if (cases.length === 0)
          throw new UsageError('no kernel is left; ask for others with --only or --tokens')
        const started = performance.now()
        const failures = await compileAll(device, cases)
        const compiled = performance.now()
        const ceiling = ceilings[deviceSlug(device)]
        const rows: Row[] = []
        const bar = progressBar('Measuring')
        for (const [i, c] of cases.entries()) {
          bar.update(i, cases.length)
          try {
            const failure = failures.get(c)
            if (failure !== undefined) throw new Error(failure)
            rows.push(await measure(device, c, ceiling))
          } catch (error) {
            rows.push({ kernel: c.kernel.name, ...c.parameters, error: (error as Error).message })
          }
        }
        bar.stop()
        const measured = performance.now()
        const seconds = (from: number, to: number) => ((to - from) / 1000).toFixed(1)
        console.log(table(rows.map(readable)))
        const failed = rows.filter((row) => 'error' in row).length
        console.log(
          `${rows.length} rows, ${failed} failed; compiled in ${seconds(started, compiled)} s, ` +
            `measured in ${seconds(compiled, measured)} s`,
        )
        console.log(`wrote ${updateResults(device, 'kernels', rows, figures, options)}`)
        if (failed === rows.length) process.exitCode = 1
      } finally {
        await device.close()
      }
    }),
)
