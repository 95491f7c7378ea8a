import type { Program } from '../../codegen/program.ts'
import type { Dims } from '../../dsl/kernel.ts'
import type { Candidate, DeviceFacts } from './bench.ts'
import type { Failure } from './records.ts'

/** What the tuner tells its measuring process. Every request is answered by one message with its number. */
export type Request =
  | {
      readonly kind: 'open'
      readonly request: number
      readonly device: string | undefined
      readonly problem: unknown
    }
  | { readonly kind: 'load'; readonly request: number; readonly id: number; readonly program: Program }
  | {
      readonly kind: 'measure'
      readonly request: number
      readonly dims: Dims
      readonly candidates: readonly Candidate[]
      /** Takes samples one by one, each announced, to find out which program never ends. */
      readonly careful: boolean
    }

export type Reply =
  | { readonly kind: 'opened'; readonly request: number; readonly device: DeviceFacts }
  | { readonly kind: 'loaded'; readonly request: number; readonly resources: Resources | null }
  | {
      readonly kind: 'measured'
      readonly request: number
      readonly results: readonly Measured[]
      readonly rejected: readonly Rejected[]
    }
  | { readonly kind: 'failed'; readonly request: number; readonly reason: string }

/** Unasked: which candidate runs from now on; `null` for several at once. Its coming says that the process lives. */
export interface Sign {
  readonly kind: 'at'
  readonly id: number | null
}

export interface Resources {
  readonly registers: number
  readonly localBytes: number
}

export interface Measured {
  readonly id: number
  readonly us: number
  readonly interval: readonly [low: number, high: number] | null
}

export interface Rejected {
  readonly id: number
  readonly failure: Failure
  readonly reason: string
}
