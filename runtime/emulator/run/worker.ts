import { receiveMessageOnPort, workerData } from 'node:worker_threads'
import { windowStride } from '../translate/layout.ts'
import { CopyEngine } from './copy-engine.ts'
import { CtaRunner, type WarpFunction } from './cta.ts'
import { KernelFault } from './fault.ts'
import { instantiate } from './instance.ts'
import { control, type WorkerData, type WorkerFailure, type WorkerMessage } from './worker-protocol.ts'

/*
 * A worker of the emulator: sleeps until the calling thread announces a launch, then takes CTAs as long as there are
 * any. It never returns to its event loop; messages are picked up when a launch wakes it.
 */

type KernelMessage = Extract<WorkerMessage, { kind: 'kernel' }>

const { memory, control: buffer, port } = workerData as WorkerData
const words = new Int32Array(buffer)
const kernels = new Map<number, KernelMessage>()
const warps = new Map<number, { warp: WarpFunction; engine: CopyEngine }>()
let arena = 0

function receive(): void {
  for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
    const message = next.message as WorkerMessage
    if (message.kind === 'kernel') kernels.set(message.id, message)
    else {
      arena = message.address
      warps.clear()
    }
  }
}

function warpOf(id: number, { module, layout }: KernelMessage): WarpFunction {
  let known = warps.get(id)
  if (!known) {
    const engine = new CopyEngine(memory, windowStride(layout.sharedBytes))
    const scratch = arena + layout.scratch
    known = { warp: instantiate(module, memory, { scratch }, engine.imports), engine }
    warps.set(id, known)
  }
  known.engine.refresh()
  return known.warp
}

function takeCtas(): void {
  const id = words[control.kernel]!
  const kernel = kernels.get(id)!
  const grid = [words[control.grid]!, words[control.grid + 1]!, words[control.grid + 2]!] as const
  const seed = words[control.shuffled] === 1 ? words[control.seed]! : undefined
  const plan = { grid, block: kernel.block, layout: kernel.layout, seed }
  const runner = new CtaRunner(plan, warpOf(id, kernel), memory, arena)
  runner.runAll(words[control.count]!, () => Atomics.add(words, control.next, 1))
}

function describe(error: unknown): WorkerFailure {
  const { name, message } = error as Error
  const fault = error instanceof KernelFault ? error : undefined
  return { name, message, code: fault?.code, instruction: fault?.instruction }
}

Atomics.add(words, control.ready, 1)
for (let seen = 0; ; ) {
  Atomics.wait(words, control.launch, seen)
  seen = Atomics.load(words, control.launch)
  try {
    receive()
    takeCtas()
  } catch (error) {
    // The others stop before their next CTA.
    Atomics.store(words, control.next, words[control.count]!)
    port.postMessage(describe(error))
  }
  Atomics.add(words, control.done, 1)
  Atomics.notify(words, control.done)
}
