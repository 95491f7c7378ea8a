import type { Program } from '../../codegen/program.ts'
import type { Dims } from '../../dsl/kernel.ts'
import type { DeviceFunction } from '../device.ts'

/** A device as the tuner's records name it. */
export interface DeviceFacts {
  /** `cuda:0`. */
  readonly name: string
  /** Folder of its records. */
  readonly slug: string
  readonly description: string
  readonly target: string
  readonly driver: string | null
  /** Whether its times mean anything: the emulator's do not, and a cost model stands in for them. */
  readonly measures: boolean
}

/**
 * What the measuring process asks of the kernel that is tuned: to run a program on a shape and to know a right result.
 * A module that a process is started with exports a `BenchFactory` as `openBench`.
 *
 * `E` is a program bound to the data of a shape.
 */
export interface Bench<E = unknown> {
  readonly device: DeviceFacts
  load(programs: readonly Program[]): Promise<readonly DeviceFunction[]>
  /** Makes the data of a shape ready; until the next call, `enter` binds programs to it. */
  open(dims: Dims): Promise<void>
  /** Runs a program once into poisoned output. Throws `WrongResult` when what it writes is not right. */
  enter(program: Program, candidate: Candidate): Promise<E>
  /** One time of each in microseconds of a launch, one after the other. */
  sample(entries: readonly E[]): Promise<readonly number[]>
  /**
   * Where a kernel that ran before takes the power of the next one: times of some, each alone after rests. `undefined`
   * elsewhere.
   */
  sampleRested?(entries: readonly E[]): Promise<readonly number[] | undefined>
  /** Gives back what `enter` took. */
  leave(entry: E): void
  close(): Promise<void>
}

export type BenchFactory = (device: string | undefined, problem: unknown) => Promise<Bench>

/** A configuration as the tuning space has it, and the constants that the kernel was compiled for. */
export interface Candidate {
  readonly id: number
  readonly config: Readonly<Record<string, unknown>>
}

/** A kernel computes something else than its reference. */
export class WrongResult extends Error {
  override readonly name = 'WrongResult'
}
