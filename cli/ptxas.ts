import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Program } from '../codegen/program.ts'

/** What NVIDIA's assembler makes of a kernel. */
export interface Assembled {
  readonly registers: number
  readonly spillBytes: number
}

/** Whether `ptxas` is on the path. */
export const hasPtxas = (): boolean => spawnSync('ptxas', ['--version'], { stdio: 'ignore' }).status === 0

/** Registers of a thread and bytes that it spills, by `ptxas -v`. Throws when `ptxas` refuses the text: a bug of ours. */
export function assemble({ name, target, ptx }: Program): Assembled {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-ptxas-'))
  try {
    const run = spawnSync('ptxas', ['-v', '-arch', target, '-o', join(folder, 'cubin'), '-'], {
      input: ptx,
      encoding: 'utf8',
    })
    const said = run.stdout + run.stderr
    if (run.status !== 0) throw new Error(`ptxas refuses kernel ${name}: ${said.trim()}`)
    const number = (pattern: RegExp) => Number(said.match(pattern)?.[1] ?? 0)
    return {
      registers: number(/Used (\d+) registers/),
      spillBytes: number(/(\d+) bytes spill stores/) + number(/(\d+) bytes spill loads/),
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
