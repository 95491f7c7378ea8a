import { Worker, type WorkerOptions } from 'node:worker_threads'

/**
 * Starts a thread from the module `name`, written without its extension, beside the module whose `import.meta.url` is
 * `base`. Built code runs as it is. From the sources a thread of Node.js 20 needs tsx, which does not follow into threads
 * by itself.
 */
export function startThread(base: string, name: string, options: WorkerOptions = {}): Worker {
  if (!base.endsWith('.ts')) return new Worker(new URL(`${name}.js`, base), options)
  const tsx = import.meta.resolve('tsx/esm/api')
  const file = new URL(`${name}.ts`, base).href
  const source = `import(${JSON.stringify(tsx)}).then((tsx) => { tsx.register(); return import(${JSON.stringify(file)}) })`
  return new Worker(source, { ...options, eval: true })
}
