import { Worker } from 'node:worker_threads'
import benny from 'benny'
import { Command } from 'commander'
import { type MmaForm, mma, mmaRegisters, mmaScratchBytes } from '../runtime/emulator/collectives/mma.ts'
import { WebAssembly } from '../runtime/emulator/wasm/host.ts'
import { ModuleBuilder } from '../runtime/emulator/wasm/module.ts'
import { runBench } from './command.ts'
import { table } from './table.ts'

/** Calls of the routine in one timed run of a worker. */
const calls = 20_000
const registerBytes = 128
/** Registers and scratch of one worker; far enough apart that workers share no cache line. */
const workerBytes = 65536

const forms: readonly MmaForm[] = [
  { k: 32, a: 's8', b: 's8', accumulator: 's32' },
  { k: 32, a: 'u8', b: 's8', accumulator: 's32' },
  { k: 16, a: 'bf16', b: 'bf16', accumulator: 'f32' },
  { k: 16, a: 'f16', b: 'f16', accumulator: 'f32' },
  { k: 16, a: 'f16', b: 'f16', accumulator: 'f16' },
]

/** Exports `run(base)`: `calls` times the routine on the registers from `base` on, into eight accumulators in turn. */
function encodeLoop(form: MmaForm): Uint8Array {
  const m = new ModuleBuilder()
  m.importMemory('env', 'memory', { minimum: 1, maximum: 64, shared: true })
  const w = m.function('run', ['i32'], [], { export: 'run' })
  const scratch = m.global('i32', 0)
  const routine = mma(m, scratch, form)
  const { d, a, b } = mmaRegisters(form)
  const base = w.args[0]
  w.setGlobal(scratch, w.i32.add(w.get(base), w.i32.const(workerBytes - mmaScratchBytes)))
  const registers = (first: number, count: number) =>
    Array.from({ length: count }, (_, i) => w.i32.add(w.get(base), w.i32.const((first + i) * registerBytes)))
  const round = w.local('i32')
  const chains = 8
  w.for(
    round,
    w.i32.const(0),
    () => w.i32.const(calls / chains),
    () => {
      for (let chain = 0; chain < chains; chain++) {
        const accumulators = a + b + chain * d
        w.call(
          routine,
          ...registers(accumulators, d),
          ...registers(0, a),
          ...registers(a, b),
          ...registers(accumulators, d),
        )
      }
    },
  )
  return m.encode()
}

/** In a worker: runs the loop whenever it is asked to. */
const workerSource = `
const { parentPort, workerData } = require('node:worker_threads')
const { exports } = new WebAssembly.Instance(workerData.module, { env: { memory: workerData.memory } })
parentPort.on('message', () => {
  exports.run(workerData.base)
  parentPort.postMessage('done')
})
`

async function measure(form: MmaForm, workers: number): Promise<number> {
  const module = new WebAssembly.Module(encodeLoop(form))
  const memory = new WebAssembly.Memory({ initial: 1 + workers, maximum: 64, shared: true })
  const threads = Array.from(
    { length: workers },
    (_, i) => new Worker(workerSource, { eval: true, workerData: { module, memory, base: i * workerBytes } }),
  )
  const run = () =>
    Promise.all(
      threads.map((thread) => {
        const done = new Promise((resolve) => thread.once('message', resolve))
        thread.postMessage('run')
        return done
      }),
    )
  // Long enough for the optimizing compiler to take over.
  for (let i = 0; i < 20; i++) await run()
  const { results } = await benny.suite(
    `m16n8k${form.k} ${form.a} x ${form.b} to ${form.accumulator}, ${workers} workers`,
    benny.add('mma', run, { minSamples: 10, maxTime: 1 }),
  )
  await Promise.all(threads.map((thread) => thread.terminate()))
  return (workers * calls * 16 * 8 * form.k) / results[0]!.details.median / 1e9
}

await runBench(
  new Command('bench:emulator-mma')
    .description(
      "Speed of the emulator's mma routine alone, on one and on two threads; the ceiling of a kernel.",
    )
    .action(async () => {
      const rows = []
      for (const form of forms) {
        const one = await measure(form, 1)
        const two = await measure(form, 2)
        rows.push({
          mma: `m16n8k${form.k} ${form.a} x ${form.b} to ${form.accumulator}`,
          '1 thread, G MAC/s': one,
          '2 threads, G MAC/s': two,
        })
      }
      console.log(table(rows))
    }),
)
