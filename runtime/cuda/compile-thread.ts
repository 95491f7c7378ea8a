import { parentPort, workerData } from 'node:worker_threads'
import { loadDriver } from './driver.ts'
import { cudaResult } from './errors.ts'
import { type Compiled, type LinkInput, linkPtx, loadPtx } from './linker.ts'

/*
 * A thread that compiles: it takes programs one after the other, for the context that comes with them, until it is told
 * that there are no more.
 */

export interface CompileRequest extends LinkInput {
  /** The `CUcontext`, which is the process's. */
  readonly context: number
  /** Whether to load it as well, as a whole program. */
  readonly load: boolean
}

const driver = loadDriver(workerData as string)
const port = parentPort!

function compile({ context, name, ptx, load }: CompileRequest): Compiled {
  const result = driver.cuCtxSetCurrent(context)
  if (result !== cudaResult.success) return { result, log: '', errorLog: '' }
  return load ? loadPtx(driver, ptx) : linkPtx(driver, { name, ptx })
}

port.on('message', (request: CompileRequest | null) => {
  if (request === null) port.close()
  else port.postMessage(compile(request))
})
