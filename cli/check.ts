import { Command } from 'commander'
import { Diagnostic } from '../codegen/diagnostics.ts'
import type { Config } from '../codegen/program.ts'
import type { Target } from '../codegen/target.ts'
import type { Kernel } from '../dsl/kernel.ts'
import { colored } from './color.ts'
import { Reported } from './failure.ts'
import { checkConstants, missingConstants } from './kernel-constants.ts'
import {
  type ConfiguredKernel,
  checkFileName,
  chooseTarget,
  chosen,
  configOption,
  configurationsOf,
  type KernelChoice,
  kernelOption,
  kernelsOf,
  targetOption,
} from './kernel-files.ts'
import { jsonOption } from './options.ts'

interface CheckOptions extends KernelChoice {
  readonly target?: string
  readonly json?: boolean
}

export const checkCommand = (): Command =>
  new Command('check')
    .description("Type-check kernel files and compile their kernels, showing errors in the source's lines.")
    .argument('<files...>', 'TypeScript files that export kernels')
    .addOption(targetOption())
    .addOption(kernelOption())
    .addOption(configOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Kernels whose constants have neither a --config nor a tuning space are type-checked alone.

Examples:
  $ quattuor check examples/1-vector-add.ts
  $ quattuor check examples/2-rmsnorm.ts --config '{"H": 512}'`,
    )
    .action(check)

/** What came of a file. */
interface Checked {
  readonly file: string
  readonly errors: readonly Diagnostic[]
  /** Configurations compiled, by kernel; 0 where constants were missing. */
  readonly kernels: Readonly<Record<string, number>>
}

async function check(files: readonly string[], options: CheckOptions): Promise<void> {
  for (const file of files) checkFileName(file)
  const target = await chooseTarget(options.target)
  const results: Checked[] = []
  for (const file of files) results.push(await checkOne(file, options, target))
  const errors = results.flatMap((result) => result.errors)
  if (options.json) console.log(JSON.stringify({ target: target.name, files: results }))
  else {
    for (const error of errors) console.error(`${colored(error.render())}\n`)
    for (const result of results) if (result.errors.length === 0) console.log(summary(result))
  }
  if (errors.length > 0)
    throw new Reported(options.json ? '' : `${errors.length} ${errors.length > 1 ? 'errors' : 'error'}`)
}

async function checkOne(file: string, options: CheckOptions, target: Target): Promise<Checked> {
  const { checkFile } = await import('../codegen/compile.ts')
  const errors: Diagnostic[] = []
  try {
    errors.push(...checkFile(file))
  } catch (error) {
    if (!(error instanceof Diagnostic)) throw error
    errors.push(error)
  }
  // A kernel of a file with type errors would only repeat them.
  if (errors.length > 0) return { file, errors, kernels: {} }
  const counts: Record<string, number> = {}
  for (const kernel of chosen((await kernelsOf([file])).get(file)!, options.kernel)) {
    const configs = configurationsOf(kernel, options.config, target).filter((config) =>
      isComplete(kernel, config, options.config.length > 0),
    )
    counts[kernel.name] = configs.length
    for (const config of configs) {
      const error = await compileError({ kernel, config }, target)
      // Configurations of one kernel mostly share their errors.
      if (error && !errors.some((other) => other.message === error.message)) errors.push(error)
    }
  }
  return { file, errors, kernels: counts }
}

/** Whether a configuration has a kernel's constants; one that was given must. */
function isComplete(kernel: Kernel, config: Config, given: boolean): boolean {
  if (given) checkConstants(kernel, config)
  return missingConstants(kernel, config).size === 0
}

async function compileError(
  { kernel, config }: ConfiguredKernel,
  target: Target,
): Promise<Diagnostic | undefined> {
  const { compileKernel } = await import('../codegen/compile.ts')
  try {
    compileKernel(kernel, config, target)
    return undefined
  } catch (error) {
    if (error instanceof Diagnostic) return error
    throw error
  }
}

function summary({ file, kernels }: Checked): string {
  const parts = Object.entries(kernels).map(([name, count]) =>
    count === 0
      ? `${name} (types alone: give its constants with --config)`
      : `${name}${count > 1 ? ` in ${count} configurations` : ''}`,
  )
  return `${file}: no errors in ${parts.join(', ')}`
}
