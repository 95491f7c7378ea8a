import type { Config, Program } from '../../codegen/program.ts'
import type { Target } from '../../codegen/target.ts'
import type { Dims, Kernel } from '../../dsl/kernel.ts'
import { canonicalJson } from '../canonical-json.ts'
import type { Measured, Rejected, Resources } from './protocol.ts'
import { ptxHash, type RecordFile, type Timing } from './record-file.ts'
import { dimsKey, type Failure, type ProgramFacts, shapeDistance } from './records.ts'

/** A configuration of a tuning space, and what the kernel is compiled for to have it. */
export interface TuneCandidate {
  readonly kernel: Kernel
  /** As the space has it. */
  readonly config: Config
  /** All constants of the kernel. */
  readonly constants: Config
  /** The extents among the constants; none where one program serves every shape. */
  readonly dims?: Dims
}

/** What is tuned: shapes, and the configurations that each of them may take. */
export interface TuneTask {
  readonly cells: readonly Dims[]
  candidates(dims: Dims): readonly TuneCandidate[]
}

/** What the tuner needs of a compiler: see `CompilePool`. */
export interface Compiler {
  compile(kernel: Kernel, constants: Config, target: Target): Promise<Program>
}

/** What the tuner needs of a device: see `Measurer`. */
export interface Measuring {
  load(id: number, program: Program): Promise<Resources | null>
  measure(
    dims: Dims,
    candidates: readonly { readonly id: number; readonly config: Config }[],
  ): Promise<{ readonly results: readonly Measured[]; readonly rejected: readonly Rejected[] }>
}

export interface TuneOptions {
  readonly target: Target
  readonly file: RecordFile
  readonly compiler: Compiler
  readonly measurer: Measuring
  /** Measures what is on record again. */
  readonly again?: boolean
  readonly onProgress?: (progress: TuneProgress) => void
}

export interface TuneProgress {
  /** Shapes. */
  readonly done: number
  readonly all: number
}

/** Everything that was measured at a shape; the record file keeps the fastest few. */
export interface CellOutcome {
  readonly key: Dims
  readonly timings: readonly (Timing & ProgramFacts)[]
}

export interface TuneOutcome {
  /** Shapes that were to be measured now; those where no candidate could be have no times. */
  readonly cells: readonly CellOutcome[]
  /** Shapes that were on record. */
  readonly known: number
  readonly programs: number
  readonly failures: readonly FailedCandidate[]
}

export interface FailedCandidate {
  readonly config: Config
  readonly failure: Failure
  readonly reason: string
  readonly key: Dims | undefined
}

/** A candidate that was so much slower than the best at a neighbouring shape is left out. */
const hopeless = 2
/** Neighbours differ by this many doublings at most, all extents together. */
const neighbourhood = 1.5

/**
 * Measures what the record file lacks. Programs are compiled in the order in which shapes need them, while others run.
 *
 * A candidate that was more than twice as slow as the best at every neighbouring shape where it was measured is not
 * tried again: winners change slowly from shape to shape. One that was wrong or never ended once is trusted nowhere.
 */
export async function tune(task: TuneTask, options: TuneOptions): Promise<TuneOutcome> {
  const session = new Session(task, options)
  const cells: CellOutcome[] = []
  let known = 0
  for (const [done, key] of task.cells.entries()) {
    options.onProgress?.({ done, all: task.cells.length })
    const outcome = await session.measure(key)
    if (outcome) cells.push(outcome)
    else known++
  }
  options.onProgress?.({ done: task.cells.length, all: task.cells.length })
  return { cells, known, programs: session.programs, failures: session.failures }
}

/** A program that is being compiled and loaded, or has been; `undefined` for one that cannot be. */
type Ready = Promise<{ readonly id: number; readonly facts: ProgramFacts } | undefined>

class Session {
  readonly failures: FailedCandidate[] = []
  readonly #options: TuneOptions
  readonly #candidates: ReadonlyMap<Dims, readonly TuneCandidate[]>
  readonly #ready = new Map<string, Ready>()
  readonly #facts = new Map<number, ProgramFacts>()
  readonly #banned = new Set<number>()
  readonly #measured: { readonly key: Dims; readonly slowness: ReadonlyMap<number, number> }[] = []

  constructor(task: TuneTask, options: TuneOptions) {
    this.#options = options
    this.#candidates = new Map(task.cells.map((key) => [key, task.candidates(key)]))
    for (const candidates of this.#candidates.values()) for (const each of candidates) this.#prepare(each)
  }

  get programs(): number {
    return this.#facts.size
  }

  /** Measures a shape; `undefined` where everything is on record. */
  async measure(key: Dims): Promise<CellOutcome | undefined> {
    const { file, again, measurer } = this.#options
    const ready = await Promise.all(this.#candidates.get(key)!.map((each) => this.#prepare(each)))
    const usable = ready.flatMap((each) => (each && !this.#banned.has(each.id) ? [each] : []))
    const missing = again ? usable : usable.filter(({ id }) => !file.hasTried(key, id))
    if (usable.length === 0) return { key, timings: [] }
    if (missing.length === 0) return undefined
    // What is on record races along, so that the times compare.
    const recorded = new Set(file.timings(key).map(({ program }) => program))
    const racing = usable.filter((each) => recorded.has(each.id) || missing.includes(each))
    const promising = racing.filter(({ id }) => recorded.has(id) || !this.#isHopeless(key, id))
    const { results, rejected } = await measurer.measure(
      key,
      promising.map(({ id, facts }) => ({ id, config: facts.config })),
    )
    for (const { id, failure, reason } of rejected) this.#fail(id, failure, reason, key)
    const timings = results.map(({ id, us, interval }) => ({ program: id, us, interval }))
    file.cell(key, timings)
    this.#note(key, results)
    return { key, timings: timings.map((timing) => ({ ...this.#facts.get(timing.program)!, ...timing })) }
  }

  #prepare(candidate: TuneCandidate): Ready {
    const { kernel, constants } = candidate
    const name = `${kernel.url} ${kernel.name} ${canonicalJson(constants, 'the constants')}`
    let ready = this.#ready.get(name)
    if (!ready) {
      ready = this.#compileAndLoad(candidate)
      // Awaited later: until then a failure of the tuner itself must not count as unhandled.
      ready.catch(() => {})
      this.#ready.set(name, ready)
    }
    return ready
  }

  async #compileAndLoad({ kernel, config, constants, dims }: TuneCandidate): Ready {
    const { file, compiler, measurer, target } = this.#options
    const partial = { config, ...(dims && { dims }), registers: null, spills: null }
    let program: Program
    try {
      program = await compiler.compile(kernel, constants, target)
    } catch (error) {
      if ((error as Error).name !== 'CompileError') throw error
      this.#fail(file.program({ ...partial, shared: 0, ptxHash: '' }), 'compile', firstLine(error as Error))
      return undefined
    }
    const hash = ptxHash(program.ptx)
    const facts = { ...partial, shared: program.sharedBytes, ptxHash: hash }
    const id = file.program(facts)
    if (file.hasFailed(id) && !this.#options.again) return undefined
    try {
      const resources = await measurer.load(id, program)
      const full = resources
        ? { ...facts, registers: resources.registers, spills: resources.localBytes }
        : facts
      file.program(full)
      this.#facts.set(id, full)
      return { id, facts: full }
    } catch (error) {
      if ((error as Error).name !== 'LoadError') throw error
      this.#fail(id, 'launch', firstLine(error as Error))
      return undefined
    }
  }

  #fail(id: number, failure: Failure, reason: string, key?: Dims): void {
    const { file } = this.#options
    if (failure === 'wrong' || failure === 'hung' || key === undefined) this.#banned.add(id)
    if (!file.hasFailed(id)) file.fail(id, failure, reason, key)
    const config = this.#facts.get(id)?.config ?? file.configOf(id)
    this.failures.push({ config, failure, reason, key })
  }

  #note(key: Dims, results: readonly Measured[]): void {
    const best = Math.min(...results.map(({ us }) => us))
    this.#measured.push({ key, slowness: new Map(results.map(({ id, us }) => [id, us / best])) })
  }

  #isHopeless(key: Dims, id: number): boolean {
    const near = this.#measured
      .filter((cell) => dimsKey(cell.key) !== dimsKey(key) && shapeDistance(cell.key, key) <= neighbourhood)
      .flatMap(({ slowness }) => slowness.get(id) ?? [])
    return near.length > 0 && near.every((slowness) => slowness > hopeless)
  }
}

/** Diagnostics have a frame below their sentence. */
const firstLine = ({ message }: Error): string => message.split('\n')[0]!
