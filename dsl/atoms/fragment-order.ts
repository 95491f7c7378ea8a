import { dtypeBytes } from '../dtype.ts'
import type { Layout } from '../layout/index.ts'
import { coalesceModewise, compose, concat, LayoutError, layout, leftInverse, mode } from '../layout/index.ts'
import type { MmaAtom } from './mma.ts'

/**
 * The order of packed weights: (row, column) → position, counted in codes of `bits` bits, lowest bits first.
 *
 * The weights are the A operand, and 16 consecutive bytes are what one lane needs: word r holds register r of the A
 * fragment for as many successive k-steps as fit. Codes of the same register element lie side by side, the first
 * k-step lowest, so that step s of a word is `(word >>> (s * bits)) & mask` with the mask of the lowest code of every
 * element: 0x0f0f0f0f for 4-bit codes of an 8-bit atom. 32 such runs are a tile of `atom.m` rows.
 *
 * Tiles of one strip of rows follow each other along the columns. `wgmma.m64` wants the same bytes in the same lanes
 * as four tiles of `mma.m16n8k32`, so every strip height serves both; a taller strip makes a longer contiguous copy
 * of the same columns.
 *
 * @param bits of a code: 4, 8 or 16, at most the width of the atom's A elements.
 * @param strip rows whose codes of the same columns are contiguous, a multiple of `atom.m`.
 * @throws LayoutError if rows, columns or bits do not fit.
 */
export function fragmentOrder(
  atom: MmaAtom,
  rows: number,
  columns: number,
  bits: number,
  strip = atom.m,
): Layout {
  const fail = (condition: string) =>
    new LayoutError('fragmentOrder', [atom.name, rows, columns, bits], condition)
  const elementBits = 8 * dtypeBytes[atom.a.dtype]
  if (![4, 8, 16].includes(bits) || bits > elementBits) {
    throw fail(`codes have 4, 8 or 16 bits, and at most the ${elementBits} of an element of A`)
  }
  const steps = elementBits / bits
  if (!(strip > 0 && strip % atom.m === 0))
    throw fail(`a strip is a multiple of ${atom.m} rows, not ${strip}`)
  if (!(rows > 0 && rows % strip === 0)) throw fail(`the rows must be a multiple of ${strip}`)
  if (!(columns > 0 && columns % (atom.k * steps) === 0)) {
    throw fail(`the columns must be a multiple of ${atom.k * steps}, the k-steps of one 16-byte load`)
  }
  const lanes = 32
  const codes = 128 / bits
  const position = layout([lanes, [32 / elementBits, atom.a.registers]], [codes, [steps, 32 / bits]])
  const tile = compose(compose(position, leftInverse(atom.a.layout)), layout([atom.m, atom.k]))
  const tileCodes = lanes * codes
  const row = concat(mode(tile, 0), layout(strip / atom.m, tileCodes), layout(rows / strip, strip * columns))
  const column = concat(
    mode(tile, 1),
    layout(steps, 1),
    layout(columns / (atom.k * steps), (strip / atom.m) * tileCodes),
  )
  return coalesceModewise(concat(row, column))
}
