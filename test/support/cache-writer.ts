/**
 * A process of the program cache's concurrency test: loads each of a few kernels once, compiling (slowly, for so small
 * a program) what is not there, and prints hits and misses.
 *
 *   cache-writer FOLDER SOURCE
 */
import { pathToFileURL } from 'node:url'
import { targets } from '../../codegen/target.ts'
import { kernel } from '../../dsl/kernel.ts'
import { ProgramCache } from '../../runtime/program-cache.ts'
import { ProgramStore } from '../../runtime/program-store.ts'
import { compiledFrom } from './compiled-from.ts'

const [folder, source] = process.argv.slice(2) as [string, string]
const cache = new ProgramCache({
  stores: [new ProgramStore(folder)],
  fingerprint: () => 'test',
  compile: async (k, config) => {
    await new Promise((resolve) => setTimeout(resolve, 5))
    return compiledFrom(source, k.name, config)
  },
})
const declared = kernel(pathToFileURL(source).href, { grid: () => [1], block: [32] }, function shared() {})
for (let size = 1; size <= 12; size++) {
  const program = await cache.load(declared, { size }, targets.sm_80)
  if (program.ptx !== compiledFrom(source, 'shared', { size }).ptx)
    throw new Error(`wrong program for ${size}`)
}
const { hits, misses } = await cache.statistics()
console.log(JSON.stringify({ hits, misses }))
