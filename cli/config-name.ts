import { createHash } from 'node:crypto'
import type { Config } from '../codegen/program.ts'
import { canonicalJson } from '../runtime/canonical-json.ts'

const longest = 60

/**
 * A name of a kernel's configuration that can stand in a file name: what there is room for of its constants, then six
 * digits of a hash of all of them. `rmsNorm-f16-H512-1f0c3a`; just `add` for a kernel without constants.
 */
export function configName(kernel: string, config: Config): string {
  const entries = Object.entries(config)
  if (entries.length === 0) return kernel
  let name = kernel
  for (const [key, value] of entries) {
    const part = partName(key, value)
    if (name.length + part.length >= longest) break
    name += `-${part}`
  }
  const hash = createHash('sha256').update(canonicalJson(config, 'the configuration')).digest('hex')
  return `${name}-${hash.slice(0, 6)}`
}

function partName(key: string, value: unknown): string {
  const text =
    typeof value === 'string'
      ? value
      : typeof value === 'boolean'
        ? `${value ? '' : 'no-'}${key}`
        : `${key}${value}`
  return text.replaceAll(/[^\w.-]+/g, '_')
}
