import type { Row } from '../results.ts'
import { table } from '../table.ts'
import { cellsOf, formatsOf, layerOf, type Shape, shapeName, shapesOf, tokensOf } from './layers.ts'
import { type Best, bestOf, layerBest, type Rival, rivalsOf } from './rivals.ts'
import type { GemmRow, RivalRow } from './rows.ts'

/**
 * A table for each number of tokens. A ratio is the rival's time by ours: above 1 ours is faster. Of rivals that can
 * overlap launches, `chained` compares both so.
 */
export function reportText(rows: readonly GemmRow[], rivals: readonly RivalRow[]): string {
  const shapes = shapesOf(rows)
  const tables = tokensOf(rows).map((tokens) => {
    const own = rows.filter((row) => row.tokens === tokens)
    const lines = formatsOf(own).flatMap((format) => [
      ...shapes.flatMap((shape) => {
        const row = own.find((each) => each.format === format && shapeName(each) === shapeName(shape))
        return row ? [productLine(row, rivals)] : []
      }),
      ...layerLine(own, format, shapes, tokens, rivals),
    ])
    return `${tokens} ${tokens === 1 ? 'token' : 'tokens'}\n${table(lines)}`
  })
  return tables.join('\n\n')
}

function productLine(row: GemmRow, rows: readonly RivalRow[]): Row {
  const { format, us, usChained, tbPerS, tops, floorUs } = row
  const head = { format, shape: shapeName(row), us, chained: usChained, 'TB/s': tbPerS, TOPS: tops }
  if (us === null) return { ...head, error: row.error ?? 'not measured' }
  const own = { us, usChained: usChained ?? us }
  return {
    ...head,
    'floor %': share(floorUs, us),
    ...ratios(format, own, (rival) => bestOf(rival, row, rows)),
  }
}

function layerLine(
  own: readonly GemmRow[],
  format: string,
  shapes: readonly Shape[],
  tokens: number,
  rows: readonly RivalRow[],
): Row[] {
  const layer = shapes.length > 1 ? layerOf(own, format, shapes, tokens) : null
  if (!layer) return []
  const { us, usChained, floorUs } = layer
  return [
    {
      format,
      shape: 'sum',
      us,
      chained: usChained,
      'TB/s': null,
      TOPS: null,
      'floor %': share(floorUs, us),
      ...ratios(format, layer, (rival) => layerBest(rival, cellsOf(shapes, tokens), rows)),
    },
  ]
}

const share = (floorUs: number | null, us: number): number | null =>
  floorUs === null ? null : Math.round((100 * floorUs) / us)

/** One column for each kind of rival, so that formats share them. */
function ratios(format: string, own: Best, best: (rival: Rival) => Best | null): Row {
  const entries = rivalsOf(format).flatMap((rival): [string, number][] => {
    const other = best(rival)
    if (!other) return []
    if (!rival.name.startsWith('hand-written')) return [[`x ${rival.name}`, other.us / own.us]]
    return [
      ['x CUDA', other.us / own.us],
      ['x CUDA chained', other.usChained / own.usChained],
    ]
  })
  return Object.fromEntries(entries)
}

/** The sums over a layer of all formats and numbers of tokens, beside those of the closest rival. */
export function summaryText(rows: readonly GemmRow[], rivals: readonly RivalRow[]): string {
  const shapes = shapesOf(rows)
  const lines = formatsOf(rows).flatMap((format) =>
    tokensOf(rows).flatMap((tokens): Row[] => {
      const layer = layerOf(rows, format, shapes, tokens)
      if (!layer) return []
      const cells = cellsOf(shapes, tokens)
      const closest = rivalsOf(format)
        .map((rival) => ({ rival, best: layerBest(rival, cells, rivals) }))
        .find(({ best }) => best !== null)
      const { us, usChained, floorUs } = layer
      return [
        {
          format,
          tokens,
          'layer us': us,
          chained: usChained,
          'floor %': share(floorUs, us),
          rival: closest?.rival.name ?? null,
          'rival us': closest?.best?.us ?? null,
          'rival chained': closest?.best?.usChained ?? null,
          faster: closest?.best ? closest.best.us / us : null,
          'chained faster': closest?.best ? closest.best.usChained / usChained : null,
        },
      ]
    }),
  )
  return lines.length > 0 ? table(lines) : ''
}
