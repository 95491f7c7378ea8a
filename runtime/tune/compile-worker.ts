import { parentPort } from 'node:worker_threads'
import type { Config } from '../../codegen/program.ts'
import type { Target } from '../../codegen/target.ts'
import type { Kernel } from '../../dsl/kernel.ts'
import { loadProgram } from '../program-cache.ts'
import type { CompileReply, CompileRequest } from './compile-pool.ts'

/** A thread that compiles kernels, or takes them from the cache on disk. */

async function compile({ url, kernel, config, target }: CompileRequest): Promise<CompileReply> {
  const exported = Object.values((await import(url)) as Record<string, Kernel<unknown, Config>>)
  const found = exported.find((each) => each?.name === kernel && typeof each.url === 'string')
  if (!found) return { error: `${url} exports no kernel ${kernel}` }
  return { program: await loadProgram(found, config as Config, target as Target) }
}

parentPort!.on('message', (request: CompileRequest) => {
  compile(request)
    .catch((error: unknown): CompileReply => ({ error: (error as Error).message }))
    .then((reply) => parentPort!.postMessage(reply))
})
