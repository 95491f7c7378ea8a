import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join, relative } from 'node:path'
import type { Device } from '../runtime/device.ts'
import { deviceSlug } from '../runtime/device-slug.ts'
import { packageRoot } from '../runtime/package-root.ts'
import { gpuState } from '../runtime/tune/gpu-state.ts'

/** One line of a result: names of what was measured and figures. */
export type Row = Readonly<Record<string, string | number | boolean | null>>

/** What says how the rows came about. */
export interface ResultHeader {
  /** The command that measures again. */
  readonly command: string
  readonly date: string
  /** `null` where neither git nor the caller knows it. */
  readonly commit: string | null
  readonly device: string
  /** `2 x ` and the model of the processor. */
  readonly cpu: string
  /** The driver's version; `null` on the emulator. */
  readonly driver: string | null
  /** Clock of the multiprocessors at the end of the measurement; `null` where nvidia-smi does not say. */
  readonly smClockMHz: number | null
  /** The same after parts of the measurement. */
  readonly smClockMHzAfter?: Readonly<Record<string, number>>
}

/** The path of a file with a device's results of `npm run bench:NAME`. */
export const resultsPath = (device: Device, file: string): string =>
  join(packageRoot(), 'bench', 'results', deviceSlug(device), file)

/** Says how the rows of `npm run bench:NAME` come about. */
export function resultHeader(
  device: Device,
  name: string,
  options: { readonly commit?: string | undefined } = {},
): ResultHeader {
  const { driver, clocks } = gpuState(device.name)
  return {
    command: commandOf(name, process.argv.slice(2)),
    date: new Date().toISOString(),
    commit: options.commit ?? process.env.QUATTUOR_COMMIT ?? gitCommit(),
    device: device.properties.description,
    cpu: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`,
    driver: driver ?? (device.properties.driver && `CUDA ${device.properties.driver}`),
    smClockMHz: clocks?.sm ?? null,
  }
}

/** Options that say where something goes, or what is known anyway. */
const placeOptions = ['--json', '--html', '--keep', '--commit']

/** The command that measures again, without its `placeOptions`. */
export function commandOf(name: string, args: readonly string[]): string {
  // Elsewhere steps are what is measured.
  const places = new Set(name === 'throughput' ? [...placeOptions, '--steps'] : placeOptions)
  const kept = args.filter((arg, i) => !places.has(arg) && !places.has(args[i - 1] ?? ''))
  if (kept[0] === 'bench') return `quattuor ${kept.join(' ')}`
  return `npm run bench:${name}${kept.length > 0 ? ` -- ${kept.join(' ')}` : ''}`
}

/** Writes `bench/results/DEVICE/NAME.json` of `npm run bench:NAME`; returns its path from the package's folder. */
export function writeResults(
  device: Device,
  name: string,
  rows: readonly Row[],
  options: { readonly commit?: string | undefined } = {},
): string {
  const path = resultsPath(device, `${name}.json`)
  writeRows(path, resultHeader(device, name, options), rows)
  return relative(packageRoot(), path)
}

/**
 * The same for a run of a part of the bench: rows that are on file for what it did not measure stay, with the date and commit
 * of the run that they are from.
 */
export function updateResults(
  device: Device,
  name: string,
  rows: readonly Row[],
  figures: ReadonlySet<string>,
  options: { readonly commit?: string | undefined } = {},
): string {
  const path = resultsPath(device, `${name}.json`)
  const kept = existsSync(path)
    ? (JSON.parse(readFileSync(path, 'utf8')) as ResultHeader & { readonly rows: Row[] })
    : undefined
  writeRows(path, resultHeader(device, name, options), kept ? mergeResults(kept, rows, figures) : rows)
  return relative(packageRoot(), path)
}

/** Rows of an earlier run with newer ones in their places; `figures` names what of a row does not say what was measured. */
export function mergeResults(
  { date, commit, rows: older }: Pick<ResultHeader, 'date' | 'commit'> & { readonly rows: readonly Row[] },
  newer: readonly Row[],
  figures: ReadonlySet<string>,
): Row[] {
  const key = (row: Row) =>
    JSON.stringify(
      Object.entries(row)
        .filter(([name]) => !figures.has(name))
        .sort(([one], [other]) => (one < other ? -1 : 1)),
    )
  const left = new Map(newer.map((row) => [key(row), row]))
  const merged = older.map((row) => {
    const measured = left.get(key(row))
    left.delete(key(row))
    return measured ?? { ...row, date: row.date ?? date, commit: row.commit ?? commit }
  })
  return [...merged, ...left.values()]
}

/** Writes a header and rows, one line a row, so that two runs can be compared line by line. */
export function writeRows(path: string, header: object, rows: readonly object[]): void {
  mkdirSync(dirname(path), { recursive: true })
  const lines = rows.map((row) => `    ${JSON.stringify(row, sixDigits)}`).join(',\n')
  const head = JSON.stringify(header, null, 2).replace(/\n\}$/, '')
  writeFileSync(path, `${head},\n  "rows": [\n${lines}\n  ]\n}\n`)
}

/** Measured figures have no more that mean anything. */
const sixDigits = (_key: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value

/** The commit, with `-dirty` where files differ from it. */
const gitCommit = (): string | null =>
  outputOf('git', ['-C', packageRoot(), 'describe', '--always', '--dirty', '--abbrev=12', '--exclude=*'])

/** What a program prints; `null` where it is not there or fails. */
function outputOf(program: string, args: readonly string[]): string | null {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return null
  }
}
