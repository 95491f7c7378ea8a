/**
 * Preloaded with `--import`: when the process ends, writes to the file QUATTUOR_TRACE, as JSON, which modules it loaded
 * through `require` (ts-morph and typescript come that way, also when imported), and when it set performance marks, in
 * milliseconds of time passed and of processor time used since the process began.
 */
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'

export interface Trace {
  readonly required: readonly string[]
  readonly marks: Readonly<Record<string, { readonly wall: number; readonly cpu: number }>>
}

const marks: Record<string, { wall: number; cpu: number }> = {}
const mark = performance.mark.bind(performance)
performance.mark = (name, options) => {
  const { user, system } = process.cpuUsage()
  marks[name] = { wall: performance.now(), cpu: (user + system) / 1000 }
  return mark(name, options)
}

process.on('exit', () => {
  const trace: Trace = { required: Object.keys(createRequire(import.meta.url).cache), marks }
  writeFileSync(process.env.QUATTUOR_TRACE!, JSON.stringify(trace))
})
