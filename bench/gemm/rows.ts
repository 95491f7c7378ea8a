import { existsSync, readFileSync } from 'node:fs'
import { z } from 'zod'
import { UsageError } from '../../cli/failure.ts'

/** One product: out[tokens, n] = x[tokens, k] · W[n, k]ᵀ. */
export interface Cell {
  readonly n: number
  readonly k: number
  readonly tokens: number
}

const cell = { n: z.number(), k: z.number(), tokens: z.number() }
const group = z.number().default(0)
/** The run that a row comes from, where that is not the file's last one. */
const run = z.object({ date: z.string(), commit: z.string().nullable().optional() }).optional()

const gemmRow = z.object({
  ...cell,
  /** As `--formats` names it. */
  format: z.string(),
  /** Columns that share parameters; 0 where a row has one scale alone. */
  group,
  /** Microseconds of a launch; `null` where it failed. */
  us: z.number().nullable(),
  /** The same with launches that begin before their predecessor has ended; `null` where the kernel cannot. */
  usChained: z.number().nullable(),
  tops: z.number().nullable(),
  tbPerS: z.number().nullable(),
  /** What moving the bytes and multiplying take at least. */
  floorUs: z.number().nullable(),
  registers: z.number().nullable(),
  config: z.record(z.string(), z.unknown()),
  error: z.string().optional(),
  run,
})

/** A product as our kernels compute it. */
export type GemmRow = z.infer<typeof gemmRow>

const rivalRow = z.object({
  ...cell,
  /** Who made it: the hand-written kernels give none. */
  source: z.enum(['cuda', 'cublas']).default('cuda'),
  format: z.string(),
  group,
  variant: z.string().nullable().default(null),
  us: z.number(),
  usChained: z.number().nullable().default(null),
  run,
})

/** A product as others compute it. */
export type RivalRow = z.infer<typeof rivalRow>

/** Reads rows of our kernels, each with the run that it comes from; none where there is no file. */
export const readGemmRows = (path: string): GemmRow[] => readRows(path, gemmRow)

/** The same of others' rows; a file without a date is a rival's own. */
export const readRivalRows = (path: string): RivalRow[] => readRows(path, rivalRow)

function readRows<T extends typeof gemmRow | typeof rivalRow>(path: string, row: T): z.infer<T>[] {
  if (!existsSync(path)) return []
  try {
    const { rows, date, commit } = z
      .object({ date: z.string().optional(), commit: z.string().nullable().optional(), rows: z.array(row) })
      .parse(JSON.parse(readFileSync(path, 'utf8')))
    return date === undefined ? rows : rows.map((own) => ({ run: { date, commit }, ...own }))
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message
    throw new UsageError(`${path} is no result of this bench (${reason}); remove it or name another file`)
  }
}

/** What tells rows apart. */
export const keyOf = (row: GemmRow | RivalRow): string =>
  [
    'source' in row ? row.source : '',
    row.format,
    row.group,
    row.n,
    row.k,
    row.tokens,
    'variant' in row && row.source === 'cublas' ? row.variant : '',
  ].join(' ')

/** Newer rows in place of older ones of the same cells; rows of one cell stay together. */
export function mergeRows<R extends GemmRow | RivalRow>(older: readonly R[], newer: readonly R[]): R[] {
  const replaced = new Set(newer.map(keyOf))
  return [...older.filter((row) => !replaced.has(keyOf(row))), ...newer]
}

export const sameCell = (a: Cell, b: Cell): boolean => a.n === b.n && a.k === b.k && a.tokens === b.tokens
