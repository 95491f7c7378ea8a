import type { Config } from '../../codegen/program.ts'
import type { WeightFormatName } from '../../kernels/formats/index.ts'
import { gemmWork } from '../../models/tune/gemm-work.ts'
import { slugOf } from '../../runtime/device-slug.ts'
import { dimsKey, type TuneRecord } from '../../runtime/tune/records.ts'
import { ceilings, floorMicroseconds } from '../../runtime/tune/roofline.ts'
import { tableText } from '../table.ts'

/** A shape's fastest configuration, and what follows from its time. */
export interface WinnerRow {
  readonly format: string
  readonly N: number
  readonly K: number
  readonly M: number
  readonly us: number
  readonly interval: readonly [number, number] | null
  readonly terabytesPerSecond: number
  readonly teraopsPerSecond: number
  /** Least time by bytes and operations, as a fraction of the time; `null` for a GPU whose ceilings are not known. */
  readonly ofCeiling: number | null
  readonly config: Config
  readonly registers: number | null
  readonly spills: number | null
  readonly shared: number
  readonly status: TuneRecord['status']
  readonly gpu: string
}

/** The fastest record of each shape, by shape. */
export function winnersOf(records: readonly TuneRecord[]): WinnerRow[] {
  const best = new Map<string, TuneRecord>()
  for (const record of records) {
    const name = `${record.gpu} ${record.format} ${dimsKey(record.key)}`
    const other = best.get(name)
    if (!other || record.us < other.us) best.set(name, record)
  }
  return [...best.values()]
    .map(rowOf)
    .sort(
      (a, b) =>
        (a.gpu < b.gpu ? -1 : a.gpu > b.gpu ? 1 : 0) ||
        (a.format < b.format ? -1 : a.format > b.format ? 1 : 0) ||
        a.N * a.K - b.N * b.K ||
        a.N - b.N ||
        a.M - b.M,
    )
}

function rowOf(record: TuneRecord): WinnerRow {
  const { format, key, us, interval, config, registers, spills, shared, status, gpu } = record
  const [N, K, M] = [key.N!, key.K!, key.M!]
  const work = gemmWork(format as WeightFormatName, { M, N, K })
  const ceiling = ceilings[slugOf(gpu)]
  return {
    ...{ format, N, K, M, us, interval },
    terabytesPerSecond: work.bytes / us / 1e6,
    teraopsPerSecond: work.ops / us / 1e6,
    ofCeiling: ceiling ? floorMicroseconds(work, ceiling) / us : null,
    ...{ config, registers, spills, shared, status, gpu },
  }
}

/** A configuration in few words: the values that not all of `among` have. */
export function tilesText(config: Config, among: readonly Config[]): string {
  const varies = (name: string) => new Set(among.map((other) => other[name])).size > 1
  const parts = Object.entries(config).filter(([name]) => among.length < 2 || varies(name))
  return parts.map(([name, value]) => (typeof value === 'string' ? value : `${name} ${value}`)).join(', ')
}

/** Winners as a table for people. */
export function winnersTable(rows: readonly WinnerRow[]): string {
  const configs = rows.map(({ config }) => config)
  const measured = rows.every(({ status }) => status === 'measured')
  const head = [
    'format',
    'N',
    'K',
    'tokens',
    measured ? 'µs' : 'estimated µs',
    '±',
    'TB/s',
    'TOP/s',
    '% of ceiling',
  ]
  return tableText(
    [...head, 'registers', 'tiles'],
    rows.map((row) => [
      row.format,
      row.N,
      row.K,
      row.M,
      Number(row.us.toPrecision(4)),
      row.interval ? ((row.interval[1] - row.interval[0]) / 2).toPrecision(2) : '–',
      Number(row.terabytesPerSecond.toFixed(2)),
      Math.round(row.teraopsPerSecond),
      row.ofCeiling === null ? '–' : Math.round(100 * row.ofCeiling),
      row.registers === null
        ? '–'
        : row.spills
          ? `${row.registers}, spills ${row.spills} B`
          : String(row.registers),
      tilesText(row.config, configs),
    ]),
  )
}
