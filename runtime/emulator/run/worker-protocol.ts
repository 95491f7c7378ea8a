import type { MessagePort } from 'node:worker_threads'
import type { WasmMemory, WasmModule } from '../wasm/host.ts'
import type { ArenaLayout } from './arena.ts'

/** Words of the control block that the calling thread and its workers share. */
export const control = {
  /** Counts launches; workers sleep on it. */
  launch: 0,
  /** The next CTA, or cluster of CTAs, to take. */
  next: 1,
  count: 2,
  /** Workers that are done with the launch; the calling thread sleeps on it. */
  done: 3,
  /** Workers that have started. */
  ready: 4,
  kernel: 5,
  /** Three words. */
  grid: 6,
  shuffled: 9,
  seed: 10,
  words: 16,
} as const

export interface WorkerData {
  readonly memory: WasmMemory
  readonly control: SharedArrayBuffer
  readonly port: MessagePort
}

/** What a worker is sent before the first launch that needs it. */
export type WorkerMessage =
  | {
      readonly kind: 'kernel'
      readonly id: number
      readonly module: WasmModule
      readonly layout: ArenaLayout
      readonly block: readonly [number, number, number]
    }
  | { readonly kind: 'arena'; readonly address: number }

/** What a worker answers when a kernel failed. */
export interface WorkerFailure {
  readonly name: string
  readonly message: string
  readonly code: string | undefined
  readonly instruction: number | undefined
}
