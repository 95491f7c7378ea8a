import type { Row } from '../results.ts'

/** Names of rows that are no kernel: a replay of the whole step, and of the decoder layers alone. */
export const wholeNames = { step: 'step', layers: 'layers' } as const

/** A line of the results: a kernel of a decode step, or a whole. */
export interface LayerRow extends Row {
  readonly weights: string
  readonly kv: string
  readonly batch: number
  /** Mean tokens that a sequence attends to. */
  readonly context: number
  /** Whether all sequences have that many, or from 1 to twice as many. */
  readonly even: boolean
  readonly kernel: string
  /** Launches of it in a step. */
  readonly launches: number
  /** Microseconds of one launch, alone, or of the whole. */
  readonly us: number
  /** What one launch must move and compute. */
  readonly bytes: number
  readonly ops: number
  readonly floorUs: number | null
}

/** The rows of one step: its kernels in order, the layers and the whole. */
export interface StepRows {
  readonly weights: string
  readonly kv: string
  readonly batch: number
  readonly context: number
  readonly even: boolean
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
    const { weights, kv, batch, context, even } = group[0]!
    return {
      ...{ weights, kv, batch, context, even },
      kernels: group.filter((row) => !isWhole(row)),
      layers: group.find(({ kernel }) => kernel === wholeNames.layers),
      step: group.find(({ kernel }) => kernel === wholeNames.step),
    }
  })
}

const keyOf = ({ weights, kv, batch, context, even }: LayerRow): string =>
  [weights, kv, batch, context, even].join(' ')

/** Microseconds of all launches of a kernel in a step. */
export const totalUs = ({ us, launches }: LayerRow): number => us * launches
