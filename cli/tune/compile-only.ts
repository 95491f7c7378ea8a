import type { Config } from '../../codegen/program.ts'
import type { WeightFormatName } from '../../kernels/formats/index.ts'
import type { GemmShape } from '../../kernels/gemm/mma-tiles.ts'
import { gemmTask } from '../../models/tune/gemm-task.ts'
import { canonicalJson } from '../../runtime/canonical-json.ts'
import { cacheFolder } from '../../runtime/program-cache.ts'
import { CompilePool } from '../../runtime/tune/compile-pool.ts'
import type { TuneCandidate } from '../../runtime/tune/tune.ts'
import { Reported, UsageError } from '../failure.ts'
import { chooseTarget } from '../kernel-files.ts'
import { progressBar } from '../progress.ts'
import { failureLines } from './failure-lines.ts'

/** Compiles the candidates of all shapes into the cache of this user. */
export async function compileOnly(
  formats: readonly WeightFormatName[],
  shapes: readonly GemmShape[],
  options: { readonly target?: string; readonly json?: boolean },
): Promise<void> {
  const folder = cacheFolder()
  if (folder === null)
    throw new UsageError('QUATTUOR_CACHE is off, and compiled programs would be lost; name a folder there')
  const target = await chooseTarget(options.target)
  const candidates = new Map<string, TuneCandidate>()
  for (const format of formats) {
    const task = gemmTask(format, shapes, target, true)
    for (const candidate of task.cells.flatMap((cell) => task.candidates(cell)))
      candidates.set(`${candidate.kernel.name} ${canonicalJson(candidate.constants)}`, candidate)
  }
  const compiler = new CompilePool()
  const bar = progressBar('Compiling')
  const failures: { config: Config; failure: 'compile'; reason: string }[] = []
  let done = 0
  try {
    const compileOne = async ({ kernel, config, constants }: TuneCandidate) => {
      try {
        await compiler.compile(kernel, constants, target)
      } catch (error) {
        failures.push({ config, failure: 'compile', reason: (error as Error).message })
      }
      bar.update(++done, candidates.size)
    }
    await Promise.all([...candidates.values()].map(compileOne))
  } finally {
    bar.stop()
    await compiler.close()
  }
  const result = { target: target.name, programs: done - failures.length, failures, folder }
  if (options.json) console.log(JSON.stringify(result))
  else {
    console.log(`${result.programs} programs for ${target.name} in ${folder}`)
    for (const line of failureLines(failures)) console.error(line)
  }
  if (failures.length > 0)
    throw new Reported(options.json ? '' : `${failures.length} of ${done} candidates do not compile`)
}
