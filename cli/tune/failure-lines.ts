import type { Config } from '../../codegen/program.ts'
import type { Target } from '../../codegen/target.ts'
import type { Dims } from '../../dsl/kernel.ts'
import type { Space } from '../../dsl/space.ts'
import type { Failure } from '../../runtime/tune/records.ts'

interface FailedCandidate {
  readonly config: Config
  readonly failure: Failure
  readonly reason: string
}

const names: Readonly<Record<Failure, string>> = {
  compile: 'did not compile',
  launch: 'could not be run',
  wrong: 'computed something else',
  hung: 'did not end',
}

/** How many candidates failed in each way, with one of them and what is said of it; `--json` has all. */
export function failureLines(failures: readonly FailedCandidate[]): string[] {
  const kinds = new Map<string, FailedCandidate[]>()
  for (const each of failures) {
    // Reasons that differ in their numbers alone are one.
    const kind = `${each.failure} ${each.reason.split('\n')[0]!.replaceAll(/\d+|0x[0-9a-f]+/g, '#')}`
    kinds.set(kind, [...(kinds.get(kind) ?? []), each])
  }
  return [...kinds.values()].map((these) => {
    const { config, failure, reason } = these[0]!
    return `  ${these.length} ${names[failure]}, such as ${JSON.stringify(config)}: ${reason}`
  })
}

/** For each product that no configuration of a space fits, the rules that leave them out. */
export function unfitLines<C>(space: Space<C>, target: Target, shapes: readonly Dims[]): string[] {
  const lines = shapes.map((dims) => {
    const rules = space.pruned(target, dims).removed.filter(({ count }) => count > 0)
    return `no tiles fit ${dims.N}x${dims.K} on ${target.name}: ${rules.map(({ why }) => why).join('; ')}`
  })
  return [...new Set(lines)]
}
