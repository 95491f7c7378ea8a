import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { wgmmaAdvisories } from '../../codegen/ptx/advisories.ts'
import type { TargetName } from '../../codegen/target.ts'

const found = spawnSync('ptxas', ['--version'], { stdio: 'ignore' }).status === 0
if (!found) console.log('skipped: assembling PTX, because ptxas is not on the path')

/** Whether NVIDIA's assembler is on the path; without it `assemble` accepts every text. */
export const hasPtxas = found

/**
 * Assembles PTX text for a target. Returns what `ptxas -v` printed; throws with its errors if it refuses the text, or will
 * not let its `wgmma`s run on.
 */
export function assemble(ptx: string, target: TargetName): string {
  if (!found) return ''
  const dir = mkdtempSync(join(tmpdir(), 'quattuor-ptxas-'))
  try {
    const file = join(dir, 'kernel.ptx')
    writeFileSync(file, ptx)
    const run = spawnSync('ptxas', ['-v', '-arch', target, '-o', join(dir, 'kernel.cubin'), file], {
      encoding: 'utf8',
    })
    if (run.status !== 0) throw new Error(`ptxas refuses the text for ${target}:\n${run.stdout}${run.stderr}`)
    const [advisory] = wgmmaAdvisories(run.stdout + run.stderr)
    if (advisory) throw new Error(`ptxas notes against the text: (${advisory.code}) ${advisory.text}`)
    return run.stdout + run.stderr
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
