import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Config, Program } from '../../codegen/program.ts'

/** What a compiler might give for a kernel of the file `source`: a text of some kilobytes that the inputs decide. */
export function compiledFrom(source: string, name: string, config: Config): Program {
  const text = readFileSync(source)
  const line = `// ${name} ${JSON.stringify(config)} ${text.toString('utf8')}\n`
  return {
    name,
    target: 'sm_80',
    config,
    ptx: line.repeat(Math.ceil(4096 / line.length)),
    params: [],
    block: [32, 1, 1],
    cluster: 1,
    overlaps: false,
    sharedBytes: 0,
    sources: [{ path: source, sha256: createHash('sha256').update(text).digest('hex') }],
  }
}
