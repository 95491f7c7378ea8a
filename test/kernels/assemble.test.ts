import { test } from 'uvu'
import { compileKernel } from '../../codegen/compile.ts'
import { type TargetName, targets } from '../../codegen/target.ts'
import { builtinKernels } from '../../kernels/builtin.ts'
import { assemble } from '../support/ptxas.ts'

/** Texts for targets that run whatever their elders do, without the line that names the target. */
const assembled = new Set<string>()
const isFamily = (name: TargetName): boolean => /^sm_8\d$/.test(name)

for (const name of Object.keys(targets) as TargetName[]) {
  test(`every built-in kernel assembles for ${name}`, () => {
    const target = targets[name]
    const seen = new Set<string>()
    for (const { kernel, config } of builtinKernels(target)) {
      // Every configuration for one target; one per kernel, cache format and zero handling for the others.
      const variant = `${kernel.name} ${config.kv} ${config.zero}`
      if (name !== 'sm_90a' && seen.has(variant)) continue
      seen.add(variant)
      const { ptx } = compileKernel(kernel, config, target)
      const text = ptx.replace(/^\.target .*$/m, '')
      if (isFamily(name) && assembled.has(text)) continue
      if (isFamily(name)) assembled.add(text)
      try {
        assemble(ptx, name)
      } catch (error) {
        throw new Error(`${kernel.name} ${JSON.stringify(config)}: ${(error as Error).message}`)
      }
    }
  })
}

test.run()
