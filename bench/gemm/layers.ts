import { layerProducts, namedShapes } from '../../models/shapes.ts'
import type { Cell, GemmRow } from './rows.ts'
import { sameCell } from './rows.ts'

/** Features and columns of a product. */
export type Shape = Pick<Cell, 'n' | 'k'>

/** The four products of a layer of Llama 3 8B: qkv, o, gate-up and down. */
export const layerShapes: readonly Shape[] = layerProducts(namedShapes['llama-3-8b']).map(({ N, K }) => ({
  n: N,
  k: K,
}))

export const shapeName = ({ n, k }: Shape): string => `${n}x${k}`

/** The formats of some rows, in the order in which they come. */
export const formatsOf = (rows: readonly GemmRow[]): string[] => [...new Set(rows.map((row) => row.format))]

/** Their token counts, the fewest first. */
export const tokensOf = (rows: readonly GemmRow[]): number[] =>
  [...new Set(rows.map((row) => row.tokens))].sort((a, b) => a - b)

/** The shapes of some rows: those of a layer first. */
export function shapesOf(rows: readonly GemmRow[]): Shape[] {
  const names = new Map(rows.map((row) => [shapeName(row), { n: row.n, k: row.k }]))
  const known = layerShapes.filter((shape) => names.has(shapeName(shape)))
  const order = new Set(known.map(shapeName))
  return [...known, ...[...names].filter(([name]) => !order.has(name)).map(([, shape]) => shape)]
}

/** The cells of all shapes for a number of tokens. */
export const cellsOf = (shapes: readonly Shape[], tokens: number): Cell[] =>
  shapes.map((shape) => ({ ...shape, tokens }))

/** The products of a layer, one after the other. */
export interface Layer {
  readonly format: string
  readonly tokens: number
  readonly us: number
  /** Products that cannot overlap count as they are. */
  readonly usChained: number
  readonly floorUs: number | null
}

/** Sums over some shapes; `null` where one was not measured. */
export function layerOf(
  rows: readonly GemmRow[],
  format: string,
  shapes: readonly Shape[],
  tokens: number,
): Layer | null {
  const parts = cellsOf(shapes, tokens).map((cell) =>
    rows.find((row) => row.format === format && sameCell(row, cell) && row.us !== null),
  )
  if (parts.length === 0 || parts.some((row) => row === undefined)) return null
  const sum = (value: (row: GemmRow) => number | null) =>
    parts.reduce<number | null>((total, row) => {
      const part = value(row!)
      return total === null || part === null ? null : total + part
    }, 0)
  return {
    format,
    tokens,
    us: sum((row) => row.us)!,
    usChained: sum((row) => row.usChained ?? row.us)!,
    floorUs: sum((row) => row.floorUs),
  }
}
