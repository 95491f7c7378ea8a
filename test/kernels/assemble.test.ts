import { test } from 'uvu'
import { compileKernel } from '../../codegen/compile.ts'
import { type TargetName, targets } from '../../codegen/target.ts'
import { builtinKernels } from '../../kernels/builtin.ts'
import { assemble } from '../support/ptxas.ts'

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
      try {
        assemble(ptx, name)
      } catch (error) {
        throw new Error(`${kernel.name} ${JSON.stringify(config)}: ${(error as Error).message}`)
      }
    }
  })
}

test.run()
