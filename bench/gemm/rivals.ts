import type { Cell, RivalRow } from './rows.ts'
import { sameCell } from './rows.ts'

/** What a format is compared with. */
export interface Rival {
  readonly name: string
  /** Our format that moves and multiplies the same, and so has the same floor. */
  readonly counterpart: string
  readonly is: (row: RivalRow) => boolean
}

const cuda = (group: number, counterpart: string, name: string): Rival => ({
  name,
  counterpart,
  is: (row) => row.source === 'cuda' && row.group === group,
})
const cublas = (format: string, counterpart: string): Rival => ({
  name: `cuBLAS ${format}`,
  counterpart,
  is: (row) => row.source === 'cublas' && row.format === format,
})

/** Hand-written CUDA for W4A8 on Hopper, and the vendor's library (8-bit floats: the faster of its two scalings). */
export const rivals = {
  cuda: cuda(0, 'w4a8', 'hand-written CUDA'),
  cudaGroup: cuda(128, 'w4a8-g128', 'hand-written CUDA g128'),
  f16: cublas('f16', 'f16'),
  bf16: cublas('bf16', 'bf16'),
  fp8: cublas('fp8', 'fp8'),
  int8: cublas('int8', 'w8a8'),
} as const

/** Who computes the same product, the closest first. */
export const rivalsOf = (format: string): readonly Rival[] => {
  const { cuda, cudaGroup, f16, bf16, fp8, int8 } = rivals
  const known: Readonly<Record<string, readonly Rival[]>> = {
    w4a8: [cuda, fp8, f16],
    'w4a8-g128': [cudaGroup, fp8, f16],
    w8a8: [int8, fp8, f16],
    fp8: [fp8, f16],
    'w4a8-fp8': [fp8, f16],
    bf16: [bf16, f16],
  }
  return known[format] ?? [f16]
}

/** Microseconds of the fastest that a rival has for a cell. */
export interface Best {
  readonly us: number
  /** Where launches overlap; a rival that has none is taken as it is. */
  readonly usChained: number
}

export function bestOf(rival: Rival, cell: Cell, rows: readonly RivalRow[]): Best | null {
  const found = rows.filter((row) => rival.is(row) && sameCell(row, cell))
  if (found.length === 0) return null
  return {
    us: Math.min(...found.map((row) => row.us)),
    usChained: Math.min(...found.map((row) => row.usChained ?? row.us)),
  }
}

/** The sum over the products of a layer; `null` where one is missing. */
export function layerBest(rival: Rival, cells: readonly Cell[], rows: readonly RivalRow[]): Best | null {
  const parts = cells.map((cell) => bestOf(rival, cell, rows))
  if (parts.some((part) => part === null)) return null
  return {
    us: parts.reduce((sum, part) => sum + part!.us, 0),
    usChained: parts.reduce((sum, part) => sum + part!.usChained, 0),
  }
}
