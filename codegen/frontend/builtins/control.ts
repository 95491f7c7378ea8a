import { argumentNode, callValue } from '../evaluate/calls.ts'
import { track } from '../evaluate/cells.ts'
import { indexValue, literal } from '../evaluate/convert.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import { operate, shiftBy } from '../evaluate/operators.ts'
import { annotationOf } from '../evaluate/types.ts'
import type { Bounds, CallSite, Value } from '../evaluate/values.ts'
import {
  Builtin,
  BuiltinObject,
  Computed,
  constantValue,
  DeviceValue,
  describe,
  RangeValue,
  UnrollValue,
} from '../evaluate/values.ts'

/** Where a thread is, loops, and arrays of registers. */

const extent: Bounds = { min: 0, max: Number.POSITIVE_INFINITY }
const axes = ['x', 'y', 'z'] as const

export function special(ev: Evaluator, name: string, bounds: Bounds): DeviceValue {
  return new DeviceValue('i32', ev.emitter.entryValue('special', 'i32', { name }), bounds)
}

function index3(name: string, value: (ev: Evaluator, axis: 0 | 1 | 2) => Value): BuiltinObject {
  return new BuiltinObject(name, axes, (ev, member) => {
    const axis = axes.indexOf(member as 'x')
    return axis < 0 ? undefined : value(ev, axis as 0)
  })
}

const thread = (ev: Evaluator, axis: 0 | 1 | 2): DeviceValue =>
  special(ev, `tid.${axes[axis]}`, { min: 0, max: ev.block[axis] - 1 })

/** A static number; `what` says which argument. */
export function staticNumber(ev: Evaluator, value: Value, what: string, site: CallSite, i = 0): number {
  if (typeof value === 'number') return value
  throw ev.error(
    'E0502',
    `${what} must be known while compiling, and this is ${describe(value)}`,
    argumentNode(site, i),
    {
      help: value instanceof DeviceValue ? 'take it from the constants: c.NAME' : undefined,
    },
  )
}

function bounds(ev: Evaluator, args: readonly Value[], site: CallSite): RangeValue {
  const [first, second, third] = args.map((arg, i) =>
    indexValue(ev, arg, argumentNode(site, i), 'a bound of range'),
  )
  const range =
    second === undefined ? new RangeValue(0, first!, 1) : new RangeValue(first!, second, third ?? 1)
  if (typeof range.step === 'number' && range.step <= 0) {
    throw ev.error('E0502', `the step of range must be positive, not ${range.step}`, site, {})
  }
  return range
}

function unrolled(ev: Evaluator, args: readonly Value[], site: CallSite): UnrollValue {
  const [first, second, third] = args.map((arg, i) => {
    if (arg instanceof DeviceValue) {
      throw ev.error(
        'E0502',
        `unroll needs a static bound, and this is ${describe(arg)}`,
        argumentNode(site, i),
        {
          help: 'for (const i of range(n)) loops at run time',
        },
      )
    }
    const value = staticNumber(ev, arg, 'a bound of unroll', site, i)
    if (Number.isInteger(value)) return value
    throw ev.error('E0502', `unroll counts with integers, and this is ${value}`, argumentNode(site, i), {})
  })
  const unroll =
    second === undefined ? new UnrollValue(0, first!, 1) : new UnrollValue(first!, second, third ?? 1)
  if (unroll.step === 0) throw ev.error('E0502', 'the step of unroll is 0', site, {})
  return unroll
}

/** A static whole number, the first argument. */
export function count(ev: Evaluator, value: Value, what: string, site: CallSite): number {
  const n = staticNumber(ev, value, what, site)
  if (Number.isInteger(n) && n >= 0) return n
  throw ev.error('E0502', `${what} is a whole number, not ${n}`, argumentNode(site, 0), {})
}

function staticAssert(ev: Evaluator, [condition, why]: readonly Value[], site: CallSite): void {
  if (condition instanceof DeviceValue) {
    throw ev.error(
      'E0502',
      'staticAssert takes a static condition, and this is a run-time value',
      argumentNode(site, 0),
      {},
    )
  }
  if (!condition) throw ev.error('E0309', String(why), site, {})
}

export const control: readonly (readonly [string, Value])[] = [
  ['threadIdx', index3('threadIdx', thread)],
  ['blockIdx', index3('blockIdx', (ev, axis) => special(ev, `ctaid.${axes[axis]}`, extent))],
  [
    'gridDim',
    index3('gridDim', (ev, axis) => special(ev, `nctaid.${axes[axis]}`, { min: 1, max: extent.max })),
  ],
  ['blockDim', index3('blockDim', (ev, axis) => ev.block[axis])],
  [
    'laneIdx',
    new Computed((ev) =>
      ev.emitter.atEntry('lane', () => operate(ev, 'and', thread(ev, 0), constantValue('i32', 31))),
    ),
  ],
  [
    'warpIdx',
    new Computed((ev) => ev.emitter.atEntry('warp', () => shiftBy(ev, thread(ev, 0), 'right', 5, true))),
  ],
  [
    'target',
    new BuiltinObject('target', ['name', 'capability', 'sharedBytes'], (ev, name) => {
      if (name === 'name') return ev.target.name
      if (name === 'capability') return ev.target.capability
      return name === 'sharedBytes' ? ev.target.sharedBytes : undefined
    }),
  ],
  ['range', new Builtin('range', [1, 3], bounds)],
  ['unroll', new Builtin('unroll', [1, 3], unrolled)],
  ['staticAssert', new Builtin('staticAssert', [2, 2], staticAssert)],
  [
    'regs',
    new Builtin('regs', [2, 2], (ev, [n, init], site) => {
      const length = count(ev, n, 'the number of registers', site)
      const type = site.kind === 'call' && site.types[0] ? annotationOf(ev, site.types[0]) : undefined
      const first = type && !(init instanceof DeviceValue) ? literal(ev, init as number, type, site) : init
      if (!(first instanceof DeviceValue)) {
        throw ev.error(
          'E0502',
          `the registers need a type, and ${describe(init)} has none`,
          argumentNode(site, 1),
          {
            help: `regs(n, f32(${String(init)})) or regs(n, i32(${String(init)}))`,
          },
        )
      }
      return track(
        ev,
        Array.from({ length }, () => first),
      )
    }),
  ],
  [
    'each',
    new Builtin('each', [2, 2], (ev, [n, f], site) => {
      const length = count(ev, n, 'the length', site)
      return track(
        ev,
        Array.from({ length }, (_, i) => callValue(ev, f, [i], site)),
      )
    }),
  ],
]
