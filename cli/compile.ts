import { join } from 'node:path'
import { Command, Option } from 'commander'
import type { Program } from '../codegen/program.ts'
import type { Target } from '../codegen/target.ts'
import { makeFolder } from '../runtime/make-folder.ts'
import { configName } from './config-name.ts'
import { UsageError } from './failure.ts'
import {
  type ConfiguredKernel,
  chooseTarget,
  configOption,
  configuredKernels,
  type KernelChoice,
  kernelOption,
  sourceFileOf,
  targetOption,
} from './kernel-files.ts'
import { jsonOption } from './options.ts'
import { progressBar } from './progress.ts'
import { countInstructions, instructionClasses } from './ptx-statistics.ts'
import { assemble, hasPtxas } from './ptxas.ts'
import { tableText } from './table.ts'
import { writeWhole } from './write-whole.ts'

interface CompileOptions extends KernelChoice {
  readonly target?: string
  readonly emit: 'ptx' | 'ir' | 'stats'
  readonly out?: string
  readonly all?: boolean
  readonly assemble?: boolean
  readonly json?: boolean
}

export const compileCommand = (): Command =>
  new Command('compile')
    .description('Compile the kernels of TypeScript files; needs no GPU.')
    .argument('[files...]', 'TypeScript files that export kernels')
    .addOption(targetOption())
    .addOption(new Option('-e, --emit <what>', 'what to give').choices(['ptx', 'ir', 'stats']).default('ptx'))
    .option('-o, --out <folder>', 'write a file for each kernel and configuration')
    .addOption(kernelOption())
    .addOption(configOption())
    .option('--all', 'every kernel that comes with Quattuor, as a small model would run it')
    .option(
      '--assemble',
      'assemble with ptxas too, and fail where it makes a kernel slow: needs the CUDA toolkit',
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Without --config, a kernel is compiled for each configuration of its tuning space.

Examples:
  $ quattuor compile examples/1-vector-add.ts
  $ quattuor compile examples/2-rmsnorm.ts --config '{"H": 512}' --emit stats
  $ quattuor compile my-kernels.ts --target sm_80 --out ptx
  $ quattuor compile --all --target sm_90a --out ptx`,
    )
    .action(compile)

async function compile(files: readonly string[], options: CompileOptions): Promise<void> {
  const { emit, out, json } = options
  if (files.length === 0 && !options.all)
    throw new UsageError(
      'there is nothing to compile; name TypeScript files, or give --all for the kernels of Quattuor',
    )
  if (out !== undefined && emit === 'stats')
    throw new UsageError('--emit stats prints a table and writes no files; leave --out away')
  const target = await chooseTarget(options.target)
  const kernels = files.length > 0 ? await configuredKernels(files, options, target) : []
  if (options.all) kernels.push(...(await allBuiltin(target)))
  if (kernels.length > 1 && out === undefined && emit !== 'stats' && !json)
    throw new UsageError(
      `there are ${kernels.length} kernels and configurations; name a folder with --out, or one of them with --kernel and --config`,
    )
  checkNames(kernels)

  const bar = progressBar('Compiling')
  const results: Compiled[] = []
  try {
    for (const each of kernels) {
      results.push(await compileOne(each, target, emit))
      bar.update(results.length, kernels.length)
    }
  } finally {
    bar.stop()
  }
  if (out !== undefined) {
    makeFolder(out)
    for (const { name, text } of results) await writeWhole(join(out, `${name}.${emit}`), text)
  }
  if (options.assemble) checkAssembled(results)
  if (json) console.log(JSON.stringify(jsonOf(results, target, options)))
  else if (emit === 'stats') console.log(statisticsTable(results))
  else if (out === undefined) process.stdout.write(results[0]!.text)
  else for (const { name } of results) console.log(join(out, `${name}.${emit}`))
}

async function allBuiltin(target: Target): Promise<ConfiguredKernel[]> {
  const { builtinKernels } = await import('../kernels/builtin.ts')
  return builtinKernels(target).map(({ kernel, config }) => ({
    kernel,
    config: config as ConfiguredKernel['config'],
  }))
}

/** File names come from kernels' names, which must therefore differ. */
function checkNames(kernels: readonly ConfiguredKernel[]): void {
  const files = new Map<string, string>()
  for (const { kernel } of kernels) {
    const file = sourceFileOf(kernel)
    const other = files.get(kernel.name)
    if (other !== undefined && other !== file)
      throw new UsageError(`${other} and ${file} both have a kernel ${kernel.name}; compile one at a time`)
    files.set(kernel.name, file)
  }
}

interface Compiled {
  /** Of the kernel and its configuration. */
  readonly name: string
  readonly program: Program
  /** What was asked for: PTX or IR. */
  readonly text: string
}

async function compileOne(
  { kernel, config }: ConfiguredKernel,
  target: Target,
  emit: string,
): Promise<Compiled> {
  const { compileKernel } = await import('../codegen/compile.ts')
  const program = compileKernel(kernel, config, target)
  const name = configName(kernel.name, config)
  if (emit !== 'ir') return { name, program, text: program.ptx }
  const { lowerKernel } = await import('../codegen/frontend/lower-kernel.ts')
  const { printIr } = await import('../codegen/ir/index.ts')
  return { name, program, text: printIr(lowerKernel(kernel, config, target).ir) }
}

function jsonOf(results: readonly Compiled[], target: Target, { emit, out }: CompileOptions) {
  const resources = emit === 'stats' ? assembled(results) : undefined
  return {
    target: target.name,
    kernels: results.map(({ name, program, text }, i) => ({
      name,
      kernel: program.name,
      config: program.config,
      params: program.params,
      block: program.block,
      sharedBytes: program.sharedBytes,
      ...(emit === 'stats' && { instructions: countInstructions(program.ptx), ...resources?.[i] }),
      ...(emit !== 'stats' &&
        (out === undefined ? { [emit]: text } : { file: join(out, `${name}.${emit}`) })),
    })),
  }
}

/** Fails with what makes kernels slow that `ptxas` sees. */
function checkAssembled(results: readonly Compiled[]): void {
  if (!hasPtxas()) throw new UsageError('--assemble needs ptxas on the path; it comes with the CUDA toolkit')
  const faults = results.flatMap(({ program }) => assemble(program).faults)
  if (faults.length > 0) throw new UsageError(faults.join('\n'))
}

const assembled = (results: readonly Compiled[]) =>
  hasPtxas() ? results.map(({ program }) => assemble(program)) : undefined

function statisticsTable(results: readonly Compiled[]): string {
  const resources = assembled(results)
  const head = ['kernel', 'params', 'threads', 'shared B', ...instructionClasses]
  const rows = results.map(({ name, program }, i) => {
    const counts = countInstructions(program.ptx)
    return [
      name,
      program.params.length,
      program.block.reduce((a, b) => a * b),
      program.sharedBytes,
      ...instructionClasses.map((each) => counts[each]),
      ...(resources ? [resources[i]!.registers, resources[i]!.spillBytes] : []),
    ]
  })
  const table = tableText([...head, ...(resources ? ['registers', 'spill B'] : [])], rows)
  return resources ? table : `${table}\n(put ptxas on the path for registers and spills)`
}
