import { fileURLToPath } from 'node:url'
import { findKernel } from '../codegen/frontend/kernels.ts'
import { type Module, Modules } from '../codegen/frontend/names.ts'
import { type TypeMember, type TypeNode, textOf } from '../codegen/frontend/syntax.ts'
import { suggest } from '../codegen/suggest.ts'
import type { Kernel } from '../dsl/kernel.ts'
import { UsageError } from './failure.ts'

/** A compile-time constant that a kernel declares. */
export interface Constant {
  readonly name: string
  readonly optional: boolean
  /** Its type as the source spells it. */
  readonly type: string
  /** Its value, where its type is a literal. */
  readonly only?: unknown
}

/** The ways in which a kernel's second parameter may be filled; `undefined` where its type does not list constants. */
function alternativesOf(kernel: Kernel): readonly (readonly Constant[])[] | undefined {
  const modules = new Modules()
  const module = modules.loadProgram(fileURLToPath(kernel.url))
  const parameter = findKernel(module, kernel.name).params[1]
  if (!parameter) return [[]]
  return parameter.type && membersOf(modules, module, parameter.type)
}

/** The types of the constants that a configuration lacks, by name; of several ways to fill it, the nearest counts. */
export function missingConstants(
  kernel: Kernel,
  config: Readonly<Record<string, unknown>>,
): ReadonlyMap<string, string> {
  const alternatives = alternativesOf(kernel) ?? [[]]
  const others = (constants: readonly Constant[]) =>
    constants.filter(
      ({ name, only }) => only !== undefined && Object.hasOwn(config, name) && config[name] !== only,
    ).length
  const missing = (constants: readonly Constant[]) =>
    constants.filter(({ name, optional }) => !optional && !Object.hasOwn(config, name))
  const [nearest] = [...alternatives].sort(
    (a, b) => others(a) - others(b) || missing(a).length - missing(b).length,
  )
  return new Map(missing(nearest!).map(({ name, type }) => [name, type]))
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
    .find(
      ([, near]) =>
        near !== undefined &&
        !alternativesOf(kernel)
          ?.flat()
          .some(({ name }) => name === near),
    )
  throw new UsageError(
    `kernel ${kernel.name} needs the ${constants} ${[...missing].map(([name, type]) => `${name}: ${type}`).join(', ')}; ` +
      (typo
        ? `did you mean '${typo[0]}' by '${typo[1]}'?`
        : `give ${them} as --config '{${names.map((name) => `"${name}": …`).join(', ')}}'`),
  )
}

function membersOf(
  modules: Modules,
  module: Module,
  type: TypeNode,
): readonly (readonly Constant[])[] | undefined {
  if (type.kind === 'members') return [type.members.map(constantOf)]
  if (type.kind === 'intersection' || type.kind === 'union') {
    const parts = type.parts.map((part) => membersOf(modules, module, part))
    if (!parts.every((part) => part !== undefined)) return undefined
    if (type.kind === 'union') return parts.flat()
    return parts.reduce((all, part) => all.flatMap((before) => part.map((more) => [...before, ...more])))
  }
  if (type.kind !== 'reference') return undefined
  const definition = modules.findType(module, type.name)
  return definition?.kind === 'type'
    ? membersOf(modules, definition.module, definition.declaration.type)
    : undefined
}

const constantOf = ({ name, optional, type }: TypeMember): Constant => ({
  name,
  optional,
  type: type ? textOf(type).replaceAll(/\s+/g, ' ') : 'unknown',
  ...(type?.kind === 'literal' && { only: type.value }),
})
