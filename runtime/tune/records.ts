import type { Config } from '../../codegen/program.ts'
import type { Dims } from '../../dsl/kernel.ts'

/** Why a configuration has no time. */
export type Failure = 'compile' | 'launch' | 'wrong' | 'hung'

export interface Clocks {
  /** MHz of the multiprocessors and of the memory, under load. */
  readonly sm: number
  readonly memory: number
}

/** What every record of a run of the tuner shares. */
export interface RunFacts {
  readonly kernel: string
  readonly format: string
  /** As the driver names it: `NVIDIA H200`. */
  readonly gpu: string
  readonly target: string
  readonly driver: string | null
  readonly clocks: Clocks | null
  /** ISO 8601. */
  readonly date: string
  readonly status: 'measured' | 'unmeasured'
}

/** What is known of a program, whatever it is launched on. */
export interface ProgramFacts {
  /** The configuration as the tuning space has it. */
  readonly config: Config
  /** The extents that the program was compiled for; none for a program that serves every shape. */
  readonly dims?: Dims
  /** Of a thread, and bytes that it spills; `null` where no driver has compiled it. */
  readonly registers: number | null
  readonly spills: number | null
  /** Bytes of shared memory of a CTA. */
  readonly shared: number
  /** Of the PTX without the lines that name files. */
  readonly ptxHash: string
}

/** One configuration at one shape on one GPU. */
export interface TuneRecord extends RunFacts, ProgramFacts {
  readonly key: Dims
  /** Median microseconds of a launch; of an `unmeasured` record, what the cost model says. */
  readonly us: number
  /** The 95 % interval of the median; `null` where too few samples bound it. */
  readonly interval: readonly [low: number, high: number] | null
}

/** A configuration that has no times. */
export interface FailureRecord extends RunFacts, Omit<ProgramFacts, 'registers' | 'spills' | 'shared'> {
  readonly failure: Failure
  readonly reason: string
  /** The shape that it failed at; none for one that cannot be compiled or loaded. */
  readonly key: Dims | undefined
}

/** Extents in an order that does not depend on how they were written. */
export const dimsKey = (dims: Dims): string =>
  Object.keys(dims)
    .sort()
    .map((word) => `${word}=${dims[word]}`)
    .join(' ')

/** How far apart two shapes are: the sum of the magnitudes of the logarithms of the ratios of their extents. */
export function shapeDistance(a: Dims, b: Dims): number {
  let distance = 0
  for (const [word, extent] of Object.entries(a)) {
    const other = b[word]
    if (other === undefined) return Number.POSITIVE_INFINITY
    distance += Math.abs(Math.log2(extent / other))
  }
  return distance
}

/** A winner, and how near the shape that it was found at is. */
export interface Winner {
  readonly record: TuneRecord
  /** 0 for the very shape that was asked for. */
  readonly distance: number
}

/**
 * The fastest configuration of the very shape, or of the nearest among `records` that has one which `accept` takes: what
 * is best at one shape may not be possible at another.
 */
export function nearestWinner(
  records: readonly TuneRecord[],
  key: Dims,
  accept: (config: Config) => boolean,
): Winner | undefined {
  const cells = new Map<string, { distance: number; records: TuneRecord[] }>()
  for (const record of records) {
    const name = dimsKey(record.key)
    const cell = cells.get(name) ?? { distance: shapeDistance(key, record.key), records: [] }
    cell.records.push(record)
    cells.set(name, cell)
  }
  const near = [...cells.values()]
    .filter(({ distance }) => Number.isFinite(distance))
    .sort((a, b) => a.distance - b.distance)
  for (const { distance, records: here } of near) {
    const possible = distance === 0 ? here : here.filter(({ config }) => accept(config))
    const [record] = possible.sort((a, b) => a.us - b.us)
    if (record) return { record, distance }
  }
  return undefined
}
