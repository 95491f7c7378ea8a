import { z } from 'zod'

/** Names of rows that are no kernel: a replay of the whole step, and of the decoder layers alone. */
export const wholeNames = { step: 'step', layers: 'layers' } as const

/** A line of the results: a kernel of a decode step, or a whole. */
export const layerRow = z.object({
  weights: z.string(),
  /** Format of the output head. */
  head: z.string(),
  kv: z.string(),
  batch: z.int().positive(),
  /** Mean tokens that a sequence attends to. */
  context: z.number(),
  /** How far contexts lie from their mean at most, by the mean: 0 where all are alike. */
  spread: z.number(),
  kernel: z.string(),
  /** Launches of it in a step. */
  launches: z.int().positive(),
  /** Microseconds of one launch, alone, or of the whole. */
  us: z.number(),
  /** By how much a step is shorter without the kernel, for each of its launches; `null` for a whole. */
  marginalUs: z.number().nullable(),
  /** What one launch must move and compute. */
  bytes: z.number(),
  ops: z.number(),
  floorUs: z.number().nullable(),
  /** The run that it comes from, where that is not the file's last one. */
  run: z.object({ date: z.string(), commit: z.string().nullable().optional() }).optional(),
})

export type LayerRow = z.infer<typeof layerRow>

/** The rows of one step: its kernels in order, the layers and the whole. */
export interface StepRows {
  readonly weights: string
  readonly head: string
  readonly kv: string
  readonly batch: number
  readonly context: number
  readonly spread: number
  readonly kernels: readonly LayerRow[]
  readonly layers: LayerRow | undefined
  readonly step: LayerRow | undefined
}

const isWhole = ({ kernel }: LayerRow) => kernel === wholeNames.step || kernel === wholeNames.layers

/** Rows by step, in the order in which the steps come. */
export function stepsOf(rows: readonly LayerRow[]): StepRows[] {
  const groups = new Map<string, LayerRow[]>()
  for (const row of rows) {
    const group = groups.get(keyOf(row))
    if (group) group.push(row)
    else groups.set(keyOf(row), [row])
  }
  return [...groups.values()].map((group) => {
    const { weights, head, kv, batch, context, spread } = group[0]!
    return {
      ...{ weights, head, kv, batch, context, spread },
      kernels: group.filter((row) => !isWhole(row)),
      layers: group.find(({ kernel }) => kernel === wholeNames.layers),
      step: group.find(({ kernel }) => kernel === wholeNames.step),
    }
  })
}

const keyOf = ({ weights, head, kv, batch, context, spread }: LayerRow): string =>
  [weights, head, kv, batch, context, spread].join(' ')

/** Newer rows in place of the older ones of the same steps. */
export function mergeRows(older: readonly LayerRow[], newer: readonly LayerRow[]): LayerRow[] {
  const replaced = new Set(newer.map(keyOf))
  return [...older.filter((row) => !replaced.has(keyOf(row))), ...newer]
}

/** Rows as they are kept: those of the run that `date` is of do not say so. */
export const markEarlier = (rows: readonly LayerRow[], date: string): LayerRow[] =>
  rows.map(({ run, ...row }) => (run && run.date !== date ? { ...row, run } : row))

/** Microseconds of all launches of a kernel in a step. */
export const totalUs = ({ us, launches }: LayerRow): number => us * launches
