import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Program } from '../codegen/program.ts'
import { spilledBytes, spillsInLoops, wgmmaFault } from '../codegen/ptx/advisories.ts'

/** What NVIDIA's assembler makes of a kernel. */
export interface Assembled {
  readonly registers: number
  readonly spillBytes: number
  /** What makes the kernel slow beyond measure, each in a sentence. Spills count where a disassembler is on the path. */
  readonly faults: readonly string[]
}

const isOnPath = (name: string): boolean => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0

/** Whether `ptxas` is on the path. */
export const hasPtxas = (): boolean => isOnPath('ptxas')

/** Assembles a kernel with `ptxas -v`. Throws when `ptxas` refuses the text: a bug of ours. */
export function assemble(program: Program): Assembled {
  const { name, target, ptx } = program
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-ptxas-'))
  try {
    const cubin = join(folder, 'cubin')
    const run = spawnSync('ptxas', ['-v', '-lineinfo', '-arch', target, '-o', cubin, '-'], {
      input: ptx,
      encoding: 'utf8',
    })
    const said = run.stdout + run.stderr
    if (run.status !== 0) throw new Error(`ptxas refuses kernel ${name}: ${said.trim()}`)
    const spillBytes = spilledBytes(said)
    const serialized = wgmmaFault(program, said)
    return {
      registers: Number(said.match(/Used (\d+) registers/)?.[1] ?? 0),
      spillBytes,
      faults: [...(serialized ? [serialized] : []), ...(spillBytes > 0 ? spillFaults(name, cubin) : [])],
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function spillFaults(name: string, cubin: string): string[] {
  const sass = disassemble(cubin)
  const spills = sass === undefined ? [] : spillsInLoops(sass)
  if (spills.length === 0) return []
  const places = [...new Set(spills.map(({ location }) => location ?? 'a line that is not known'))]
  return [
    `kernel ${name} spills registers inside a loop, at ${places.slice(0, 4).join(', ')}: give it ` +
      'fewer accumulators, or more registers',
  ]
}

/** The machine code as text; undefined without a disassembler on the path. */
function disassemble(cubin: string): string | undefined {
  const tools = [
    ['nvdisasm', '--print-line-info'],
    ['cuobjdump', '-sass'],
  ] as const
  const tool = tools.find(([name]) => isOnPath(name))
  if (!tool) return undefined
  const run = spawnSync(tool[0], [tool[1], cubin], { encoding: 'utf8', maxBuffer: 2 ** 28 })
  return run.status === 0 ? run.stdout : undefined
}
