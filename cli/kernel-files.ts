import { existsSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Option } from 'commander'
import type { Config } from '../codegen/program.ts'
import { suggest } from '../codegen/suggest.ts'
import { type Target, type TargetName, targets } from '../codegen/target.ts'
import type { Kernel } from '../dsl/kernel.ts'
import { describeDevices } from '../runtime/open-device.ts'
import { UsageError } from './failure.ts'
import { collect } from './options.ts'

/** A kernel and one configuration of it. */
export interface ConfiguredKernel {
  readonly kernel: Kernel
  readonly config: Config
}

export interface KernelChoice {
  /** Names of kernels; none for every kernel of the files. */
  readonly kernel: readonly string[]
  /** Configurations; none for each kernel's own. */
  readonly config: readonly Config[]
}

/** `--kernel`, which chooses among the kernels of the files. */
export const kernelOption = () =>
  new Option('-k, --kernel <name>', 'only this kernel of the files; may be repeated')
    .argParser(collect)
    .default([], 'all')

/** `--config`, constants as JSON. */
export const configOption = () =>
  new Option('-c, --config <json>', 'constants of the kernels, such as \'{"H": 512}\'; may be repeated')
    .argParser((text: string, before: readonly Config[]) => [...before, parseConfig(text)])
    .default([], "each kernel's tuning space")

/** `--target`, as `chooseTarget` reads it. */
export const targetOption = () =>
  new Option('-t, --target <name>', "GPU architecture (default: this machine's, or sm_90a without a GPU)")

/** Parses the JSON of a configuration. */
function parseConfig(text: string): Config {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new UsageError(
      `--config ${text} is not JSON: ${(error as Error).message}; write '{"H": 512}', quoted for the shell`,
    )
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError(`--config ${text} is not a JSON object; write '{"H": 512}', quoted for the shell`)
  return value as Config
}

/** The target of that name; without one, that of the first GPU, or sm_90a. */
export async function chooseTarget(name: string | undefined): Promise<Target> {
  if (name === undefined) {
    const { gpus } = await describeDevices()
    return gpus.find((gpu) => gpu.target)?.target ?? targets.sm_90a
  }
  if (Object.hasOwn(targets, name)) return targets[name as TargetName]
  const known = Object.keys(targets)
  const near = known.find((each) => each.startsWith(name)) ?? suggest(name, known)
  throw new UsageError(
    `there is no target '${name}'${near ? `; did you mean '${near}'?` : '.'} There are ${known.join(', ')}`,
  )
}

/** The kernels that each file exports. Throws `UsageError` for a file that is none or exports none. */
export async function kernelsOf(files: readonly string[]): Promise<Map<string, readonly Kernel[]>> {
  for (const file of files) checkFileName(file)
  const { importExports } = await import('./load-typescript.ts')
  const modules = await importExports(files)
  return new Map(
    files.map((file, i) => {
      const kernels = new Set(Object.values(modules[i]!).filter(isKernel))
      if (kernels.size === 0)
        throw new UsageError(
          `${file} exports no kernel; write export const name = kernel(import.meta.url, options, function name(a, c) { … })`,
        )
      return [file, [...kernels]]
    }),
  )
}

/** Throws `UsageError` for what is no TypeScript file. */
export function checkFileName(file: string): void {
  if (!existsSync(file)) throw new UsageError(`${file} does not exist`)
  if (!statSync(file).isFile() || !/\.m?ts$/.test(file))
    throw new UsageError(
      `${file} is not a TypeScript file; kernels are compiled from their source, a .ts file`,
    )
}

/** The configurations of a kernel: those given, else those of its tuning space, else the empty one. */
export const configurationsOf = (
  kernel: Kernel,
  given: readonly Config[],
  target: Target,
): readonly Config[] =>
  given.length > 0 ? given : ((kernel.options.tune?.configurations(target) ?? [{}]) as Config[])

/** The chosen kernels of files with their configurations. Throws `UsageError` for one that lacks constants. */
export async function configuredKernels(
  files: readonly string[],
  choice: KernelChoice,
  target: Target,
): Promise<ConfiguredKernel[]> {
  const kernels = chosen([...(await kernelsOf(files)).values()].flat(), choice.kernel)
  const { checkConstants } = await import('./kernel-constants.ts')
  return kernels.flatMap((kernel) =>
    configurationsOf(kernel, choice.config, target).map((config) => {
      checkConstants(kernel, config)
      return { kernel, config }
    }),
  )
}

/** The kernels of those names; all where there is none. */
export function chosen(kernels: readonly Kernel[], names: readonly string[]): readonly Kernel[] {
  if (names.length === 0) return kernels
  return names.map((name) => {
    const kernel = kernels.find((each) => each.name === name)
    if (kernel) return kernel
    const known = kernels.map((each) => each.name)
    const near = suggest(name, known)
    throw new UsageError(
      `there is no kernel '${name}'${near ? `; did you mean '${near}'?` : '.'} The files export ${known.join(', ')}`,
    )
  })
}

function isKernel(value: unknown): value is Kernel {
  const { name, url, options } = (value ?? {}) as Partial<Kernel>
  return typeof name === 'string' && typeof url === 'string' && typeof options?.grid === 'function'
}

/** The source file of a kernel. */
export const sourceFileOf = (kernel: Kernel): string => fileURLToPath(kernel.url)
