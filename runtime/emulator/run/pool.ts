import { MessageChannel, type MessagePort, receiveMessageOnPort, type Worker } from 'node:worker_threads'
import { startThread } from '../../start-thread.ts'
import { Arena } from './arena.ts'
import type { CtaRunner } from './cta.ts'
import { KernelFault } from './fault.ts'
import type { Heap } from './heap.ts'
import type { LoadedKernel } from './kernel.ts'
import type { LaunchRecord } from './launch.ts'
import { control, type WorkerData, type WorkerFailure, type WorkerMessage } from './worker-protocol.ts'

interface Member {
  readonly worker: Worker
  readonly port: MessagePort
  readonly arena: Arena
}

/** Worker threads that run CTAs beside the calling thread, over the same memory. They start in the background. */
export class WorkerPool {
  private readonly heap: Heap
  private readonly words = new Int32Array(new SharedArrayBuffer(4 * control.words))
  private readonly members: readonly Member[]
  private readonly ids = new Map<LoadedKernel, number>()
  private closed = false
  /** Why a worker did not start; launches then do without. */
  problem: Error | undefined

  constructor(count: number, heap: Heap) {
    this.heap = heap
    this.members = Array.from({ length: count }, () => {
      const { port1, port2 } = new MessageChannel()
      const data: WorkerData = {
        memory: heap.memory,
        control: this.words.buffer as SharedArrayBuffer,
        port: port2,
      }
      const worker = startThread(import.meta.url, './worker', { workerData: data, transferList: [data.port] })
      worker.unref()
      worker.on('error', (error) => {
        this.problem = error
      })
      port1.unref()
      return { worker, port: port1, arena: new Arena() }
    })
  }

  /** Whether all workers have started; before, a launch must do without them. */
  get ready(): boolean {
    return Atomics.load(this.words, control.ready) === this.members.length
  }

  /** Runs the CTAs of a launch; `runner` runs those that the calling thread takes. */
  run({ fn, grid, params }: LaunchRecord, seed: number | undefined, runner: CtaRunner): void {
    const { words } = this
    const { loaded } = fn
    for (const member of this.members) {
      const { arena } = member
      if (arena.require(this.heap, loaded.layout.bytes))
        send(member, { kind: 'arena', address: arena.address })
      this.heap.bytes(arena.address + loaded.layout.params, params.length).set(params)
    }
    words[control.kernel] = this.idOf(loaded, fn.program.block)
    words.set(grid, control.grid)
    words[control.shuffled] = Number(seed !== undefined)
    words[control.seed] = seed ?? 0
    const count = (grid[0] * grid[1] * grid[2]) / loaded.cluster
    words[control.count] = count
    words[control.done] = 0
    Atomics.store(words, control.next, 0)
    Atomics.add(words, control.launch, 1)
    Atomics.notify(words, control.launch)
    try {
      runner.runAll(count, () => Atomics.add(words, control.next, 1))
    } finally {
      Atomics.store(words, control.next, count)
      for (let done = 0; done < this.members.length; done = Atomics.load(words, control.done))
        Atomics.wait(words, control.done, done)
    }
    this.throwFailure()
  }

  private throwFailure(): void {
    const failures = this.members.flatMap(({ port }) => {
      const received = receiveMessageOnPort(port)
      return received ? [received.message as WorkerFailure] : []
    })
    const [first] = failures
    if (!first) return
    if (first.code !== undefined) throw new KernelFault(first.code, first.message, first.instruction)
    throw Object.assign(new Error(first.message), { name: first.name })
  }

  private idOf(loaded: LoadedKernel, block: readonly [number, number, number]): number {
    let id = this.ids.get(loaded)
    if (id === undefined) {
      id = this.ids.size
      this.ids.set(loaded, id)
      for (const member of this.members)
        send(member, { kind: 'kernel', id, module: loaded.module, layout: loaded.layout, block })
    }
    return id
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    await Promise.all(
      this.members.map(({ worker, port }) => {
        port.close()
        return worker.terminate()
      }),
    )
  }
}

function send({ port }: Member, message: WorkerMessage): void {
  port.postMessage(message)
}
