/**
 * A process of the cubin cache's concurrency test: opens the GPU of a stub driver, loads a few programs at once, and
 * prints how many were compiled and how many taken from the cache.
 *
 *   cubin-loader LIBRARY FOLDER
 */
import { CubinCache } from '../../runtime/cuda/cubin-cache.ts'
import { openCuda } from '../../runtime/cuda/device.ts'
import { FileStore } from '../../runtime/file-store.ts'
import { vectorAdd } from './vector-add.ts'

const [library, folder] = process.argv.slice(2) as [string, string]
const cubins = new CubinCache(new FileStore(folder, '.cubin'))
const device = openCuda(0, { library, cubins })
const { ptx } = vectorAdd()
const programs = Array.from({ length: 8 }, (_, i) => vectorAdd('sm_80', { ptx: `${ptx}// ${i}\n` }))
for (const fn of await device.loadAll(programs))
  if (!fn.resources || !fn.log?.includes('10 registers')) throw new Error('a wrong function')
await device.close()
const { compiled, cached } = await cubins.statistics()
console.log(JSON.stringify({ compiled, cached }))
