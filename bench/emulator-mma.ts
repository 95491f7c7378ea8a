import { Worker } from 'node:worker_threads'
import benny from 'benny'
import { Command } from 'commander'
import { type MmaForm, mma, mmaRegisters, mmaScratchBytes } from '../runtime/emulator/collectives/mma.ts'
import {
  multiply,
  stageRegisters,
  type WgmmaForm,
  wgmmaScratchBytes,
} from '../runtime/emulator/collectives/wgmma.ts'
import type { FunctionBuilder, Local } from '../runtime/emulator/wasm/function.ts'
import { WebAssembly } from '../runtime/emulator/wasm/host.ts'
import { type Global, ModuleBuilder } from '../runtime/emulator/wasm/module.ts'
import { runBench } from './command.ts'
import { table } from './table.ts'

const registerBytes = 128
/** Registers, shared memory and scratch of one worker; far enough apart that workers share no cache line. */
const workerBytes = 65536
const scratchAt = workerBytes - Math.max(mmaScratchBytes, wgmmaScratchBytes)

/** A routine of the emulator, as the loop calls it. */
interface Routine {
  readonly name: string
  /** Multiply-accumulates of a call. */
  readonly products: number
  /** Writes the call number `turn` of a round, on memory from `base` on. */
  write(w: FunctionBuilder, scratch: Global<'i32'>, base: Local<'i32'>, turn: number): void
}

const mmaForms: readonly MmaForm[] = [
  { k: 32, a: 's8', b: 's8', accumulator: 's32' },
  { k: 32, a: 'u8', b: 's8', accumulator: 's32' },
  { k: 16, a: 'bf16', b: 'bf16', accumulator: 'f32' },
  { k: 16, a: 'f16', b: 'f16', accumulator: 'f32' },
  { k: 16, a: 'f16', b: 'f16', accumulator: 'f16' },
]
const wgmmaForms: readonly WgmmaForm[] = [
  { a: 'u8', b: 's8', accumulator: 's32' },
  { a: 'bf16', b: 'bf16', accumulator: 'f32' },
  { a: 'f16', b: 'f16', accumulator: 'f32' },
  { a: 'e4m3', b: 'e4m3', accumulator: 'f32' },
]

/** `mma.sync` into one of eight accumulators in turn. */
function mmaRoutine(form: MmaForm): Routine {
  const { d, a, b } = mmaRegisters(form)
  return {
    name: `mma m16n8k${form.k} ${form.a} x ${form.b} to ${form.accumulator}`,
    products: 16 * 8 * form.k,
    write(w, scratch, base, turn) {
      const registers = (first: number, count: number) =>
        Array.from({ length: count }, (_, i) =>
          w.i32.add(w.get(base), w.i32.const((first + i) * registerBytes)),
        )
      const sums = a + b + turn * d
      const routine = mma(w.module, scratch, form)
      w.call(routine, ...registers(sums, d), ...registers(0, a), ...registers(a, b), ...registers(sums, d))
    },
  }
}

/** A warp's part of `wgmma`, A in registers, B in rows of 128 bytes. */
function wgmmaRoutine(form: WgmmaForm, columns: number): Routine {
  const k = form.a === 'f16' || form.a === 'bf16' ? 16 : 32
  const aAt = 128 * registerBytes
  const shared = 24 * 1024
  return {
    name: `wgmma m64n${columns}k${k} ${form.a} x ${form.b} to ${form.accumulator}`,
    products: 16 * columns * k,
    write(w, scratch, base) {
      const at = (offset: number) => w.i32.add(w.get(base), w.i32.const(offset))
      const fragments = () => [0, 1, 2, 3].map((i) => at(aAt + i * registerBytes))
      w.call(stageRegisters(w.module, scratch, form), ...fragments())
      const d = at(0)
      // Workers lie a multiple of 64 KiB apart, so the low 18 bits differ; the routine takes them from the window.
      const start = w.i64.extend_i32_u(
        w.i32.and(w.i32.shr_u(at(shared), w.i32.const(4)), w.i32.const(0x3fff)),
      )
      const descriptor = w.i64.or(start, w.i64.const((1n << 62n) | (64n << 32n) | (1n << 16n)))
      const blocks = [at(shared), w.i32.const(columns / 8), w.i32.const(1)]
      w.call(multiply(w.module, scratch, form), d, descriptor, ...blocks)
    },
  }
}

const routines: readonly Routine[] = [
  ...mmaForms.map(mmaRoutine),
  ...wgmmaForms.flatMap((form) => [16, 256].map((columns) => wgmmaRoutine(form, columns))),
]

const turns = 8
/** Calls of a routine in one timed run of a worker. */
const callsOf = ({ products }: Routine): number => Math.ceil(8e7 / products / turns) * turns

/** Exports `run(base)`: calls the routine again and again. */
function encodeLoop(routine: Routine): Uint8Array {
  const m = new ModuleBuilder()
  m.importMemory('env', 'memory', { minimum: 1, maximum: 64, shared: true })
  const w = m.function('run', ['i32'], [], { export: 'run' }) as unknown as FunctionBuilder
  const base = w.args[0] as Local<'i32'>
  const scratch = m.global('i32', 0)
  w.setGlobal(scratch, w.i32.add(w.get(base), w.i32.const(scratchAt)))
  const round = w.local('i32')
  w.for(
    round,
    w.i32.const(0),
    () => w.i32.const(callsOf(routine) / turns),
    () => {
      for (let turn = 0; turn < turns; turn++) routine.write(w, scratch, base, turn)
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

async function measure(routine: Routine, workers: number): Promise<number> {
  const module = new WebAssembly.Module(encodeLoop(routine))
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
    `${routine.name}, ${workers} workers`,
    benny.add('routine', run, { minSamples: 10, maxTime: 1 }),
  )
  await Promise.all(threads.map((thread) => thread.terminate()))
  return (workers * callsOf(routine) * routine.products) / results[0]!.details.median / 1e9
}

await runBench(
  new Command('bench:emulator-mma')
    .description(
      "Speed of the emulator's routines of matrix products alone, on one and on two threads: the ceiling of a kernel.",
    )
    .action(async () => {
      const rows = []
      for (const routine of routines) {
        const one = await measure(routine, 1)
        const two = await measure(routine, 2)
        rows.push({ routine: routine.name, '1 thread, G MAC/s': one, '2 threads, G MAC/s': two })
      }
      console.log(table(rows))
    }),
)
