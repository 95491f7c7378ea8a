import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { targets } from '../../codegen/target.ts'
import { builtinKernels } from '../../kernels/builtin.ts'

/** The kernels of a W4A8KV4 model with groups of 128, with the GEMM tiles of a decode step, a batch and a prompt. */
const target = targets.sm_90a
const programs = builtinKernels(target).filter(({ kernel, config }) => {
  if (/Grouped|Fp8|^gelu|^groupTiles/.test(kernel.name)) return false
  if (config.kv !== undefined) return config.kv === 'kv4'
  return kernel.name.startsWith('gemmW') ? config.format === 'w4a8-g128' && config.zero === 'epilogue' : true
})

test('all kernels of a model compile in a few seconds, the parser included', async () => {
  assert.ok(programs.length > 12, `${programs.length}`)
  const started = performance.now()
  const before = process.cpuUsage()
  const { compileKernel } = await import('../../codegen/compile.ts')
  for (const { kernel, config } of programs) compileKernel(kernel, config, target)
  const seconds = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(before)
  const used = (user + system) / 1e6
  console.log(
    `cold start: ${programs.length} programs in ${seconds.toFixed(1)} s (${used.toFixed(1)} s of processor time)`,
  )
  // Processor time does not count what else the machine does, but what runs on the same core and caches doubles it.
  assert.ok(used < 10, `${used} s`)
})

test.run()
