import type { Swizzle } from '../../../dsl/layout/index.ts'
import { swizzleOffset } from '../../../dsl/layout/index.ts'
import type { Evaluator } from './evaluator.ts'
import { operate, shiftBy } from './operators.ts'
import { constantValue, type DeviceValue } from './values.ts'

/** One coordinate's part of an offset: `(rest + plus) * stride`. */
export interface OffsetPart {
  readonly rest: DeviceValue | undefined
  readonly plus: number
  readonly stride: number
}

/** An offset as a sum, of which the constant fits an instruction. */
export interface SplitOffset {
  readonly rest: DeviceValue | undefined
  readonly plus: number
}

/** The sum of the parts. */
export function linearOffset(ev: Evaluator, parts: readonly OffsetPart[]): SplitOffset {
  let plus = 0
  let rest: DeviceValue | undefined
  for (const part of parts) {
    plus += part.plus * part.stride
    if (!part.rest) continue
    const scaled = operate(ev, 'mul', part.rest, constantValue('i32', part.stride))
    rest = rest ? operate(ev, 'add', rest, scaled) : scaled
  }
  return { rest, plus }
}

/**
 * The swizzled sum of the parts, with as much as possible of its constant kept out of the arithmetic that depends on
 * threads, so that neighbouring accesses share that.
 *
 * A swizzle reads the bits from `base + shift` on, `bits` of them, and xors them onto those from `base` on:
 *
 * - A multiple of the period, of the first bit above those that are read, passes through as it is.
 * - Below the bits that are read, a constant whose bits no thread's part reaches is xored on last:
 *   s(x + c) = s(x) ^ c. That is a constant column beside a row that depends on the thread. Below `base`, where nothing
 *   is turned, it is added.
 */
export function swizzledOffset(ev: Evaluator, swizzle: Swizzle, parts: readonly OffsetPart[]): SplitOffset {
  const { base, shift, bits, mask } = swizzle
  const { rest, plus } = linearOffset(ev, parts)
  const [period, row] = [2 ** (base + shift + bits), 2 ** (base + shift)]
  const far = Math.floor(plus / period) * period
  const near = plus - far
  if (!rest) return { rest, plus: far + swizzleOffset(swizzle, near) }
  const low = clearOf(parts, near % row, row)
  const high = near === low ? rest : operate(ev, 'add', rest, constantValue('i32', near - low))
  const read = operate(ev, 'and', high, constantValue('i32', mask))
  const turned = operate(ev, 'xor', high, shiftBy(ev, read, 'right', shift, true))
  const within = low % 2 ** base
  const chunk = low - within
  return {
    rest: chunk === 0 ? turned : operate(ev, 'xor', turned, constantValue('i32', chunk)),
    plus: far + within,
  }
}

/**
 * What of a constant below `limit` has only bits that no thread's part has, and no sum of them carries into: above parts
 * that are small, and below those whose stride leaves the lowest bits 0.
 */
function clearOf(parts: readonly OffsetPart[], constant: number, limit: number): number {
  for (let below = limit; below > 1; below /= 2) {
    const clear = aboveSmall(
      parts.filter(({ rest, stride }) => rest && stride % below !== 0),
      constant % below,
    )
    if (clear > 0) return clear
  }
  return 0
}

function aboveSmall(parts: readonly OffsetPart[], constant: number): number {
  let most = 0
  for (const { rest, stride } of parts) {
    if (rest!.bounds.min < 0) return 0
    most += rest!.bounds.max * stride
  }
  let unit = 1
  while (unit <= constant && most + (constant % unit) >= unit) unit *= 2
  return unit > constant ? 0 : constant - (constant % unit)
}
