import type { Config } from '../../codegen/program.ts'
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
