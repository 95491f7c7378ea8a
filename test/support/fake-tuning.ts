import type { Config, Program } from '../../codegen/program.ts'
import { targets } from '../../codegen/target.ts'
import type { Dims, Kernel } from '../../dsl/kernel.ts'
import type { RunFacts } from '../../runtime/tune/records.ts'
import type { Compiler, TuneTask } from '../../runtime/tune/tune.ts'

export const fakeTarget = targets.sm_80

export const fakeFacts: RunFacts = {
  kernel: 'fake',
  format: 'w4a8',
  gpu: 'Fake GPU',
  target: 'sm_80',
  driver: '1.0',
  clocks: { sm: 1500, memory: 2000 },
  date: '2026-01-02T03:04:05.000Z',
  status: 'measured',
}

const kernel: Kernel = { name: 'fake', url: 'file:///fake.ts', options: { grid: () => [1], block: [32] } }

/** Every name is a candidate at every shape; programs serve all shapes. */
export const fakeTask = (names: readonly string[], cells: readonly Dims[]): TuneTask => ({
  cells,
  candidates: () => names.map((name) => ({ kernel, config: { name }, constants: { name, dtype: 'f16' } })),
})

export const fakeProgram = (config: Config): Program => ({
  name: 'fake',
  target: 'sm_80',
  config,
  ptx: `.version 8.0\n// ${JSON.stringify(config)}`,
  params: [],
  block: [32, 1, 1],
  cluster: 1,
  overlaps: false,
  sharedBytes: 1024,
  sources: [],
})

/** Compiles nothing; `refuses` are the names that do not compile. */
export function fakeCompiler(refuses: readonly string[] = []): Compiler & { readonly compiled: string[] } {
  const compiled: string[] = []
  return {
    compiled,
    async compile(_kernel, config) {
      const name = String(config.name)
      compiled.push(name)
      if (refuses.includes(name))
        throw Object.assign(new Error(`E0309  ${name} does not fit\n  with a frame`), {
          name: 'CompileError',
        })
      return fakeProgram(config)
    },
  }
}

export const cell = (M: number, N = 4096, K = 4096): Dims => ({ N, K, M })
