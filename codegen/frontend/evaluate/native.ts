import type { Arithmetic, Layout } from '../../../dsl/layout/index.ts'
import { applyLayout, isLayout, LayoutError } from '../../../dsl/layout/index.ts'
import { Diagnostic } from '../../diagnostics.ts'
import { callClosure } from './calls.ts'
import { readElement, track } from './cells.ts'
import { indexValue } from './convert.ts'
import type { Evaluator } from './evaluator.ts'
import { integerDivision, operate, remainder, shiftBy } from './operators.ts'
import type { CallSite, Value } from './values.ts'
import { Closure, constantValue, DeviceValue, describe, holdsDevice, isPlainObject } from './values.ts'

/** Calls a function of the layout algebra or another static module with static values; a layout also with device coordinates. */
export function callNative(
  ev: Evaluator,
  target: (...args: unknown[]) => unknown,
  self: Value,
  args: readonly Value[],
  site: CallSite,
): Value {
  if (args.some((arg) => holdsDevice(arg))) {
    if (isLayout(target)) return layoutOffset(ev, target, args, site)
    throw ev.error(
      'E0505',
      `${target.name || 'this function'} runs while compiling, and an argument is a run-time value`,
      site,
      {
        help: 'compute it with operators and intrinsics, or pass static values',
      },
    )
  }
  try {
    const plain = args.map((arg) => (arg instanceof Closure ? asFunction(ev, arg, site) : arg))
    return owned(ev, Reflect.apply(target, self, plain))
  } catch (error) {
    if (error instanceof Diagnostic) throw error
    throw ev.error('E0506', error instanceof Error ? error.message : String(error), site, {})
  }
}

/** Fresh plain arrays and objects belong to the kernel; frozen ones (a layout's shape) stay constant. */
function owned(ev: Evaluator, value: unknown): Value {
  if ((Array.isArray(value) || isPlainObject(value)) && !Object.isFrozen(value)) return track(ev, value)
  return value
}

const asFunction =
  (ev: Evaluator, closure: Closure, site: CallSite) =>
  (...args: unknown[]) =>
    callClosure(ev, closure, args, site)

/** The arithmetic that turns a layout's offset into instructions. */
function deviceArithmetic(ev: Evaluator): Arithmetic<DeviceValue> {
  const constant = (value: number) => constantValue('i32', value)
  return {
    constant,
    add: (a, b) => operate(ev, 'add', a, b),
    mul: (a, by) => operate(ev, 'mul', a, constant(by)),
    div: (a, by) => integerDivision(ev, natural(a), constant(by)),
    mod: (a, by) => remainder(ev, natural(a), constant(by)),
    and: (a, mask) => operate(ev, 'and', a, constant(mask)),
    shiftRight: (a, bits) => shiftBy(ev, natural(a), 'right', bits, true),
    xor: (a, b) => operate(ev, 'xor', a, b),
  }
}

/** Coordinates are never negative, whether or not the bounds show it. */
const natural = (a: DeviceValue): DeviceValue =>
  a.bounds.min >= 0
    ? a
    : new DeviceValue(a.type, a.operand, { min: 0, max: Math.max(0, a.bounds.max) }, a.base, a.plus)

/** A layout's offset at coordinates of which some are device values. */
export function layoutOffset(
  ev: Evaluator,
  layout: Layout,
  coords: readonly Value[],
  site: CallSite,
): DeviceValue {
  const coordinate = (value: Value): DeviceValue | number | (DeviceValue | number)[] => {
    if (Array.isArray(value)) {
      return value.map((_, i) => coordinate(readElement(ev, value, i))) as (DeviceValue | number)[]
    }
    if (typeof value !== 'number' && !(value instanceof DeviceValue)) {
      throw ev.error('E0502', `a coordinate is an integer, not ${describe(value)}`, site, {})
    }
    const index = indexValue(ev, value, site, 'a coordinate')
    return index instanceof DeviceValue ? natural(index) : index
  }
  try {
    return applyLayout<DeviceValue>(layout, coords.map(coordinate) as never, deviceArithmetic(ev))
  } catch (error) {
    if (error instanceof LayoutError) throw ev.error('E0506', error.message, site, {})
    throw error
  }
}
