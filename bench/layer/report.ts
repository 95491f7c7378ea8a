import { table } from '../table.ts'
import { type LayerRow, type StepRows, stepsOf, totalUs } from './rows.ts'

/** A table of a step: a line a kernel, their sum, the layers and the whole. */
export function stepText(step: StepRows): string {
  const { kernels, layers, step: whole } = step
  const all = kernels.reduce((total, row) => total + totalUs(row), 0)
  const marginal = kernels.reduce((total, row) => total + row.launches * (row.marginalUs ?? row.us), 0)
  const share = (us: number) => (whole ? (100 * us) / whole.us : null)
  const line = (name: string, { us, marginalUs, launches, bytes, floorUs }: LayerRow) => ({
    kernel: name,
    launches,
    us,
    MB: bytes / 1e6,
    'TB/s': bytes / us / 1e6,
    'floor us': floorUs,
    'us / floor': floorUs ? us / floorUs : null,
    'total us': us * launches,
    'in step us': marginalUs,
    'share %': share((marginalUs ?? us) * launches),
  })
  const rows = [
    ...kernels.map((row) => line(row.kernel, row)),
    { kernel: 'sum', 'total us': all, 'share %': share(marginal) },
    ...(layers ? [line('layers as one', layers)] : []),
    ...(whole ? [line('step as one', whole)] : []),
  ]
  return `${titleOf(step)}\n${table(rows)}`
}

/** A line a step. */
export function summaryText(rows: readonly LayerRow[]): string {
  const lines = stepsOf(rows).flatMap((step) => {
    const { step: whole, layers, kernels, batch } = step
    if (!whole || !layers) return []
    const sum = kernels.reduce((total, row) => total + totalUs(row), 0)
    return [
      {
        format: formatText(step),
        batch,
        context: step.context,
        'spread %': 100 * step.spread,
        'step ms': whole.us / 1000,
        'floor ms': whole.floorUs === null ? null : whole.floorUs / 1000,
        'step / floor': whole.floorUs ? whole.us / whole.floorUs : null,
        'layers ms': layers.us / 1000,
        'kernels alone ms': sum / 1000,
        'tokens/s': Math.round((1e6 * batch) / whole.us),
      },
    ]
  })
  return table(lines)
}

export const titleOf = (step: StepRows): string => {
  const { batch } = step
  return `${formatText(step)}, ${batch} ${batch === 1 ? 'sequence' : 'sequences'}, context ${contextText(step)}`
}

/** `1280`, `1280 ± 20 %`. */
export const contextText = ({ context, spread }: Pick<StepRows, 'context' | 'spread'>): string =>
  `${context}${spread === 0 ? '' : ` ± ${Math.round(100 * spread)} %`}`

/** `w4a8 kv4`, and the format of the head where it is quantized. */
export const formatText = ({ weights, head, kv }: Pick<StepRows, 'weights' | 'head' | 'kv'>): string =>
  `${weights} ${kv}${head === 'w16' ? '' : `, head ${head}`}`
