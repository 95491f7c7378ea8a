import type { Operand } from '../ir/op.ts'
import type { Writer } from './writer.ts'

/** Operands of several parts. */

/** `[r+16]`, and `[r+-16]`: there is no minus in an address. */
export function address(w: Writer, base: Operand, offset: number): string {
  const name = w.inRegister(base)
  return offset === 0 ? `[${name}]` : `[${name}+${offset}]`
}

/** `{a, b}`; one element stands alone. */
export const vector = (names: readonly string[]): string =>
  names.length === 1 ? names[0]! : `{${names.join(', ')}}`
