import { fileURLToPath } from 'node:url'
import { findKernel } from '../codegen/frontend/kernels.ts'
import { type Module, Modules } from '../codegen/frontend/names.ts'
import { type TypeNode, textOf } from '../codegen/frontend/syntax.ts'
import { suggest } from '../codegen/suggest.ts'
import type { Kernel } from '../dsl/kernel.ts'
import { UsageError } from './failure.ts'

/** A compile-time constant that a kernel declares. */
export interface Constant {
  readonly name: string
  readonly optional: boolean
  /** Its type as the source spells it. */
  readonly type: string
}

/** The constants that a kernel's second parameter declares; `undefined` where its type does not list them. */
function constantsOf(kernel: Kernel): readonly Constant[] | undefined {
  const modules = new Modules()
  const module = modules.loadProgram(fileURLToPath(kernel.url))
  const parameter = findKernel(module, kernel.name).params[1]
  if (!parameter) return []
  return parameter.type && membersOf(modules, module, parameter.type)
}

/** The types of the constants that a configuration lacks, by name. */
export function missingConstants(
  kernel: Kernel,
  config: Readonly<Record<string, unknown>>,
): ReadonlyMap<string, string> {
  const required = constantsOf(kernel)?.filter(
    ({ name, optional }) => !optional && !Object.hasOwn(config, name),
  )
  return new Map(required?.map(({ name, type }) => [name, type]))
}

/**
 * Refuses a configuration that lacks constants of the kernel. Others than its own may be there: they fix shape words of
 * its tensors.
 */
export function checkConstants(kernel: Kernel, config: Readonly<Record<string, unknown>>): void {
  const missing = missingConstants(kernel, config)
  if (missing.size === 0) return
  const [constants, them] = missing.size > 1 ? ['constants', 'them'] : ['constant', 'it']
  const names = [...missing.keys()]
  const typo = names
    .map((name) => [name, suggest(name, Object.keys(config))] as const)
    .find(([, near]) => near !== undefined && !constantsOf(kernel)?.some(({ name }) => name === near))
  throw new UsageError(
    `kernel ${kernel.name} needs the ${constants} ${[...missing].map(([name, type]) => `${name}: ${type}`).join(', ')}; ` +
      (typo
        ? `did you mean '${typo[0]}' by '${typo[1]}'?`
        : `give ${them} as --config '{${names.map((name) => `"${name}": …`).join(', ')}}'`),
  )
}

function membersOf(modules: Modules, module: Module, type: TypeNode): readonly Constant[] | undefined {
  if (type.kind === 'members')
    return type.members.map((member) => ({
      name: member.name,
      optional: member.optional,
      type: member.type ? textOf(member.type).replaceAll(/\s+/g, ' ') : 'unknown',
    }))
  if (type.kind === 'intersection') {
    const parts = type.parts.map((part) => membersOf(modules, module, part))
    return parts.every((part) => part !== undefined) ? parts.flat() : undefined
  }
  if (type.kind !== 'reference') return undefined
  const definition = modules.findType(module, type.name)
  return definition?.kind === 'type'
    ? membersOf(modules, definition.module, definition.declaration.type)
    : undefined
}
