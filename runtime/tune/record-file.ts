import { createHash } from 'node:crypto'
import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Config } from '../../codegen/program.ts'
import type { Dims } from '../../dsl/kernel.ts'
import { canonicalJson } from '../canonical-json.ts'
import { makeFolder } from '../make-folder.ts'
import {
  dimsKey,
  type Failure,
  type FailureRecord,
  type ProgramFacts,
  type RunFacts,
  type TuneRecord,
} from './records.ts'

/** The time of one program at one shape. */
export interface Timing {
  readonly program: number
  readonly us: number
  readonly interval: readonly [low: number, high: number] | null
}

interface ProgramEntry extends ProgramFacts {
  readonly id: number
  /** The run that first knew it: cells of later runs have tried it. */
  readonly run: number
}

interface CellEntry {
  readonly key: Dims
  readonly run: number
  readonly timings: readonly Timing[]
}

interface FailureEntry {
  readonly program: number
  readonly run: number
  readonly failure: Failure
  readonly reason: string
  readonly key: Dims | undefined
}

/** Configurations of a shape that are kept; the rest were slower. */
const kept = 4

/**
 * The records of one weight format on one GPU: a text file of one JSON object a line, in four kinds.
 *
 *   {"run": 1, "kernel": …, "gpu": …}            what the records of a run share
 *   {"program": 7, "run": 1, "config": {…}, …}   a configuration, its resources and the hash of its PTX
 *   {"key": {"N": …, "K": …, "M": …}, "run": 1, "us": [[7, 10.2, 10.1, 10.4], …]}   program, median, interval
 *   {"failed": 9, "run": 1, "failure": "wrong", "reason": …}
 *
 * Lines are appended as they become known, so that a run that is killed loses the shape that it was at; a line that is
 * cut short is ignored. A later line about the same thing replaces an earlier one. A shape of run r has tried every
 * program of runs up to r, which is why a configuration that is added later is all that is measured then.
 *
 * A configuration whose PTX has changed is another program. Times of the one before stay until their shape is measured
 * again: a run that ends earlier must not lose who was fastest.
 */
export class RecordFile {
  readonly path: string | null
  readonly #runs = new Map<number, RunFacts>()
  readonly #programs = new Map<number, ProgramEntry>()
  /** The last program of a configuration. */
  readonly #current = new Map<string, number>()
  readonly #cells = new Map<string, CellEntry>()
  readonly #failures: FailureEntry[] = []
  #run = 0
  #endsLine = true

  /** @param path `null` for records that are not kept. */
  constructor(path: string | null) {
    this.path = path
    const text = path === null ? '' : readText(path)
    this.#endsLine = text === '' || text.endsWith('\n')
    for (const line of text.split('\n')) this.#take(line)
  }

  /** Whether there is anything in it. */
  get empty(): boolean {
    return this.#cells.size === 0 && this.#failures.length === 0
  }

  /** Starts a run; what is recorded from now on belongs to it. */
  begin(facts: RunFacts): void {
    this.#run = Math.max(0, ...this.#runs.keys()) + 1
    if (this.path !== null) makeFolder(dirname(this.path))
    this.state(facts)
  }

  /** Says again, and better, what the records of this run share. */
  state(facts: RunFacts): void {
    this.#runs.set(this.#run, facts)
    this.#append({ run: this.#run, ...facts })
  }

  /** The number of a program, which is recorded if the file does not have it. */
  program(facts: ProgramFacts): number {
    const known = this.#find(facts)
    if (known && known.ptxHash === facts.ptxHash && known.registers === facts.registers) return known.id
    const same = known?.ptxHash === facts.ptxHash
    const id = this.#withText(facts)?.id ?? Math.max(-1, ...this.#programs.keys()) + 1
    if (known && !same) this.#forgetFailures(known.id)
    const entry = { id, run: same ? known.run : this.#run, ...facts }
    this.#keep(entry)
    this.#append(programLine(entry))
    return id
  }

  /** Records the times of a shape, those of earlier runs replaced. */
  cell(key: Dims, timings: readonly Timing[]): void {
    const entry = { key, run: this.#run, timings: [...timings].sort((a, b) => a.us - b.us) }
    this.#cells.set(dimsKey(key), entry)
    this.#append(cellLine(entry))
  }

  fail(program: number, failure: Failure, reason: string, key?: Dims): void {
    const entry = { program, run: this.#run, failure, reason, key }
    this.#failures.push(entry)
    this.#append(failureLine(entry))
  }

  /** Whether a shape has been measured with a program among the candidates, or the program has failed. */
  hasTried(key: Dims, program: number): boolean {
    if (this.#failures.some((each) => each.program === program)) return true
    const cell = this.#cells.get(dimsKey(key))
    return cell !== undefined && this.#programs.get(program)!.run <= cell.run
  }

  /** The configuration of a program of this file. */
  configOf(program: number): Config {
    return this.#programs.get(program)!.config
  }

  /** What a shape has on record. */
  timings(key: Dims): readonly Timing[] {
    return this.#cells.get(dimsKey(key))?.timings ?? []
  }

  /** Whether a program has failed, whatever the shape. */
  hasFailed(program: number): boolean {
    return this.#failures.some((each) => each.program === program)
  }

  records(): TuneRecord[] {
    return [...this.#cells.values()].flatMap(({ key, run, timings }) =>
      timings.flatMap(({ program, us, interval }) => {
        const entry = this.#programs.get(program)
        const facts = this.#runs.get(run)
        if (!entry || !facts) return []
        return [{ ...facts, ...factsOf(entry), key, us, interval }]
      }),
    )
  }

  failures(): FailureRecord[] {
    return this.#failures.flatMap(({ program, run, failure, reason, key }) => {
      const entry = this.#programs.get(program)
      const facts = this.#runs.get(run)
      if (!entry || !facts) return []
      const { config, dims, ptxHash } = entry
      return [{ ...facts, config, ...(dims && { dims }), ptxHash, failure, reason, key }]
    })
  }

  /** Rewrites the file with what is current: the few fastest of each shape, and each program's first failure. */
  compact(): void {
    if (this.path === null) return
    const failed = new Set<number>()
    const failures = this.#failures.filter(({ program }) => {
      const first = !failed.has(program)
      failed.add(program)
      return first
    })
    const cells = [...this.#cells.values()].map((cell) => ({ ...cell, timings: cell.timings.slice(0, kept) }))
    const timed = new Set(cells.flatMap(({ timings }) => timings.map(({ program }) => program)))
    const programs = [...this.#programs.values()].filter((each) => {
      return timed.has(each.id) || this.#find(each)!.id === each.id
    })
    const used = new Set([...cells, ...programs, ...failures].map(({ run }) => run))
    const lines = [
      ...[...this.#runs].filter(([run]) => used.has(run)).map(([run, facts]) => ({ run, ...facts })),
      ...programs.map(programLine),
      ...failures.map(failureLine),
      ...cells.map(cellLine),
    ]
    const temporary = `${this.path}.${process.pid}.partial`
    writeFileSync(temporary, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    renameSync(temporary, this.path)
  }

  /** The program that a configuration has now: its last one. */
  #find({ config, dims }: Pick<ProgramFacts, 'config' | 'dims'>): ProgramEntry | undefined {
    const id = this.#current.get(programName(config, dims))
    return id === undefined ? undefined : this.#programs.get(id)
  }

  /** The program of a configuration and a text, its last one or not. */
  #withText({ config, dims, ptxHash }: ProgramFacts): ProgramEntry | undefined {
    const name = programName(config, dims)
    const programs = [...this.#programs.values()]
    return programs.find((each) => each.ptxHash === ptxHash && programName(each.config, each.dims) === name)
  }

  #keep(entry: ProgramEntry): void {
    this.#programs.set(entry.id, entry)
    this.#current.set(programName(entry.config, entry.dims), entry.id)
  }

  #forgetFailures(program: number): void {
    for (let i = this.#failures.length - 1; i >= 0; i--)
      if (this.#failures[i]!.program === program) this.#failures.splice(i, 1)
  }

  #append(line: object): void {
    if (this.path === null) return
    const text = `${JSON.stringify(line)}\n`
    appendFileSync(this.path, this.#endsLine ? text : `\n${text}`)
    this.#endsLine = true
  }

  #take(text: string): void {
    const line = parseLine(text)
    if (!line) return
    if ('us' in line) {
      const { key, run, us } = line as { key: Dims; run: number; us: number[][] }
      const timings = us.map(([program, median, low, high]) => ({
        program: program!,
        us: median!,
        interval: low === undefined || high === undefined ? null : ([low, high] as const),
      }))
      this.#cells.set(dimsKey(key), { key, run, timings })
    } else if ('program' in line) {
      const { program, ...entry } = line as unknown as ProgramFacts & { program: number; run: number }
      const known = this.#find(entry)
      if (known && known.id !== program) this.#forgetFailures(known.id)
      this.#keep({ id: program, ...entry })
    } else if ('failed' in line) {
      const { failed, ...entry } = line as unknown as Omit<FailureEntry, 'program'> & { failed: number }
      this.#failures.push({ ...entry, program: failed, key: entry.key })
    } else if ('run' in line) {
      const { run, ...facts } = line as unknown as RunFacts & { run: number }
      this.#runs.set(run, facts)
      this.#run = run
    }
  }
}

/** SHA-256 of a program's PTX, shortened, without what names source files, positions and, in its last sections, functions. */
export function ptxHash(ptx: string): string {
  const text = ptx.replaceAll(/^[ \t]*\.(?:file|loc)\b.*\n/gm, '').replace(/^\s*\.section\b[\s\S]*/m, '')
  return createHash('sha256').update(text).digest('hex').slice(0, 12)
}

const programName = (config: Config, dims: Dims | undefined): string =>
  `${canonicalJson(config, 'the configuration')} ${dims ? dimsKey(dims) : ''}`

const factsOf = ({ id: _id, run: _run, ...facts }: ProgramEntry): ProgramFacts => facts

const programLine = ({ id, run, ...facts }: ProgramEntry) => ({ program: id, run, ...facts })

const failureLine = ({ program, run, failure, reason, key }: FailureEntry) => ({
  failed: program,
  run,
  failure,
  reason,
  ...(key && { key }),
})

const cellLine = ({ key, run, timings }: CellEntry) => ({
  key,
  run,
  us: timings.map(({ program, us, interval }) => [
    program,
    fourDigits(us),
    ...(interval ?? []).map(fourDigits),
  ]),
})

/** Times vary by more than the rest. */
const fourDigits = (us: number): number => Number(us.toPrecision(4))

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}

function parseLine(text: string): Record<string, unknown> | undefined {
  if (text === '') return undefined
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch {
    return undefined
  }
}
