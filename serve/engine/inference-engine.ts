import type { ScheduleLimits } from '../schedule/request.ts'
import type { EngineStats, RequestListener } from './engine.ts'
import type { EngineRequest, ModelBounds } from './request.ts'

/** What requests are given to: one engine, or several that look like one. */
export interface InferenceEngine {
  readonly limits: ScheduleLimits
  /** What requests may ask of what steps run on. */
  readonly bounds: ModelBounds
  readonly stats: EngineStats
  /** The engines that it is made of. */
  readonly engines: readonly InferenceEngine[]
  /** Why no requests are taken any more; `undefined` while they are. */
  readonly closed: Error | undefined
  /** Ends when it is closed or has given up, or has drained. */
  readonly finished: Promise<void>
  /** Whether it has given up, because steps fail over and over. */
  readonly failed: boolean
  /** Takes a request and returns its number. Throws `RefusalError`, or `EngineError` when it is closed. */
  add(request: EngineRequest, listener: RequestListener): number
  /** Drops a request; its listener hears nothing more. */
  cancel(id: number): void
  /** Takes no more requests and waits for those that it has. */
  drain(): Promise<void>
  /** Ends the requests that are left with an error, and closes what steps run on. */
  close(): Promise<void>
}
