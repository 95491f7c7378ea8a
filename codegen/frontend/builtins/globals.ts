import { callValue } from '../evaluate/calls.ts'
import { readElement, readElements, track } from '../evaluate/cells.ts'
import { literal } from '../evaluate/convert.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import { operate } from '../evaluate/operators.ts'
import type { CallSite, Value } from '../evaluate/values.ts'
import {
  Builtin,
  BuiltinObject,
  DeviceValue,
  describe,
  isPlainObject,
  registerType,
} from '../evaluate/values.ts'

/** The global objects of JavaScript that static code may use; of `Math`, some functions work on device values too. */

/** `Math.max` and `Math.min`: one instruction per pair. */
function extreme(name: 'max' | 'min'): Builtin {
  return new Builtin(`Math.${name}`, [1, Number.POSITIVE_INFINITY], (ev, args, site) => {
    const device = args.find((a) => a instanceof DeviceValue) as DeviceValue | undefined
    if (!device) return Math[name](...(args as number[]))
    const values = args.map((arg) => {
      if (!(arg instanceof DeviceValue)) return numberAs(ev, arg, device, `Math.${name}`, site)
      if (arg.type === device.type) return arg
      throw ev.error('E0101', `Math.${name} mixes ${device.type} and ${arg.type}`, site, {
        help: `convert one: ${device.type}(…)`,
      })
    })
    if (!['f32', 'f16', 'i32', 'u32'].includes(device.type)) {
      throw ev.error('E0102', `Math.${name} does not work on ${device.type}`, site, {
        help: 'convert first: f32(x) or i32(x)',
      })
    }
    return values.reduce((a, b) => operate(ev, name, a, b))
  })
}

function numberAs(ev: Evaluator, arg: Value, device: DeviceValue, name: string, site: CallSite): DeviceValue {
  if (typeof arg !== 'number')
    throw ev.error('E0502', `${name} takes numbers, not ${describe(arg)}`, site, {})
  return literal(ev, arg, device.type, site)
}

/** A function of one number that one instruction computes on f32. */
function unaryMath(name: keyof Math & string, op: string | undefined, types: readonly string[]): Builtin {
  return new Builtin(`Math.${name}`, [1, 1], (ev, [x], site) => {
    if (typeof x === 'number') return (Math[name] as (x: number) => number)(x)
    if (!(x instanceof DeviceValue))
      throw ev.error('E0502', `Math.${name} takes a number, not ${describe(x)}`, site, {})
    if (op === undefined) {
      throw ev.error(
        'E0505',
        `Math.${name} runs while compiling, and its argument is a run-time value`,
        site,
        {
          help: deviceForms[name],
        },
      )
    }
    if (!types.includes(x.type)) {
      throw ev.error('E0102', `Math.${name} does not work on ${x.type}`, site, {
        help: 'convert first: f32(x)',
      })
    }
    const bounds =
      op === 'abs' && x.type === 'i32'
        ? { min: 0, max: Math.max(Math.abs(x.bounds.min), Math.abs(x.bounds.max)) }
        : undefined
    return new DeviceValue(x.type, ev.emitter.value(op, registerType(x.type), [x.operand]), bounds)
  })
}

const deviceForms: Readonly<Record<string, string>> = {
  exp: 'exp2(x * LOG2E) approximates it in one instruction',
  log: 'log2(x) / LOG2E approximates it',
  log2: 'log2(x) approximates it in one instruction',
  sin: 'sin(x) approximates it, precise near zero only',
  cos: 'cos(x) approximates it, precise near zero only',
  tanh: 'tanh(x) approximates it in one instruction',
  trunc: 'f32(i32(x))',
  imul: 'i32 multiplication is already exact modulo 2^32',
  clz32: 'leadingZeros(x)',
}

const mathFunctions: Readonly<Record<string, Value>> = {
  max: extreme('max'),
  min: extreme('min'),
  abs: unaryMath('abs', 'abs', ['f32', 'f16', 'i32']),
  sqrt: unaryMath('sqrt', 'sqrt', ['f32']),
  floor: unaryMath('floor', 'floor', ['f32']),
  ceil: unaryMath('ceil', 'ceil', ['f32']),
  round: unaryMath('round', 'round', ['f32']),
  ...Object.fromEntries(
    (
      [
        'exp',
        'log',
        'log2',
        'log10',
        'log1p',
        'sin',
        'cos',
        'tanh',
        'trunc',
        'sign',
        'clz32',
        'fround',
        'cbrt',
      ] as const
    ).map((n) => [n, unaryMath(n, undefined, [])]),
  ),
  pow: staticFunction('Math.pow', 2, Math.pow),
  imul: staticFunction('Math.imul', 2, Math.imul),
  atan2: staticFunction('Math.atan2', 2, Math.atan2),
  hypot: staticFunction('Math.hypot', Number.POSITIVE_INFINITY, Math.hypot),
}

const mathConstants = ['PI', 'E', 'LN2', 'LN10', 'LOG2E', 'LOG10E', 'SQRT2', 'SQRT1_2'] as const

function staticFunction(name: string, arity: number, f: (...args: never[]) => Value): Builtin {
  return new Builtin(name, [Math.min(arity, 1), arity], (ev, args, site) => {
    const device = args.find((a) => a instanceof DeviceValue)
    if (device) {
      throw ev.error(
        'E0505',
        `${name} runs while compiling, and an argument is ${describe(device)}`,
        site,
        {},
      )
    }
    return f(...(args as never[]))
  })
}

function namespace(name: string, members: Readonly<Record<string, Value>>): BuiltinObject {
  return new BuiltinObject(name, Object.keys(members), (_, member) =>
    Object.hasOwn(members, member) ? members[member] : undefined,
  )
}

function plainObject(ev: Evaluator, value: Value, site: CallSite): Record<string, Value> {
  if (isPlainObject(value)) return value
  if (Array.isArray(value)) return value as unknown as Record<string, Value>
  throw ev.error('E0502', `Object functions take an object, not ${describe(value)}`, site, {})
}

const objectFunctions: Readonly<Record<string, Value>> = {
  keys: new Builtin('Object.keys', [1, 1], (ev, [o], site) =>
    track(ev, Object.keys(plainObject(ev, o, site))),
  ),
  values: new Builtin('Object.values', [1, 1], (ev, [o], site) => {
    const object = plainObject(ev, o, site)
    return track(
      ev,
      Object.keys(object).map((key) => readElement(ev, object, key)),
    )
  }),
  entries: new Builtin('Object.entries', [1, 1], (ev, [o], site) => {
    const object = plainObject(ev, o, site)
    return track(
      ev,
      Object.keys(object).map((key) => track(ev, [key, readElement(ev, object, key)])),
    )
  }),
  fromEntries: new Builtin('Object.fromEntries', [1, 1], (ev, [entries], site) => {
    if (!Array.isArray(entries))
      throw ev.error('E0502', 'Object.fromEntries takes an array of pairs', site, {})
    const pairs = entries.map((pair) => [String((pair as Value[])[0]), readElement(ev, pair as Value[], 1)])
    return track(ev, Object.fromEntries(pairs))
  }),
  freeze: new Builtin('Object.freeze', [1, 1], (_, [o]) => o),
}

const arrayFunction = new Builtin(
  'Array',
  [1, 1],
  (ev, [n], site) => {
    if (typeof n !== 'number')
      throw ev.error('E0502', `Array(n) takes a static length, not ${describe(n)}`, site, {})
    return track(
      ev,
      Array.from({ length: n }, () => undefined as Value),
    )
  },
  {
    isArray: new Builtin('Array.isArray', [1, 1], (_, [x]) => Array.isArray(x)),
    of: new Builtin('Array.of', [0, Number.POSITIVE_INFINITY], (ev, args) => track(ev, [...args])),
    from: new Builtin('Array.from', [1, 2], (ev, [source, f], site) => {
      const length = Array.isArray(source) ? source.length : isPlainObject(source) ? source.length : undefined
      if (typeof length !== 'number') {
        throw ev.error(
          'E0502',
          `Array.from takes an array or { length: n } with a static n, not ${describe(source)}`,
          site,
          {},
        )
      }
      const items = Array.isArray(source) ? readElements(ev, source) : Array.from({ length }, () => undefined)
      return track(ev, f === undefined ? items : items.map((item, i) => callValue(ev, f, [item, i], site)))
    }),
  },
)

export const globals: ReadonlyMap<string, Value> = new Map<string, Value>([
  [
    'Math',
    namespace('Math', { ...mathFunctions, ...Object.fromEntries(mathConstants.map((n) => [n, Math[n]])) }),
  ],
  [
    'Number',
    new Builtin(
      'Number',
      [1, 1],
      (ev, [x], site) => staticFunction('Number', 1, Number).call(ev, [x], site),
      {
        isInteger: staticFunction('Number.isInteger', 1, Number.isInteger),
        isSafeInteger: staticFunction('Number.isSafeInteger', 1, Number.isSafeInteger),
        isFinite: staticFunction('Number.isFinite', 1, Number.isFinite),
        isNaN: staticFunction('Number.isNaN', 1, Number.isNaN),
        parseInt: staticFunction('Number.parseInt', 2, Number.parseInt),
        parseFloat: staticFunction('Number.parseFloat', 1, Number.parseFloat),
        MAX_SAFE_INTEGER: Number.MAX_SAFE_INTEGER,
        MIN_SAFE_INTEGER: Number.MIN_SAFE_INTEGER,
        MAX_VALUE: Number.MAX_VALUE,
        MIN_VALUE: Number.MIN_VALUE,
        EPSILON: Number.EPSILON,
        POSITIVE_INFINITY: Number.POSITIVE_INFINITY,
        NEGATIVE_INFINITY: Number.NEGATIVE_INFINITY,
        NaN: Number.NaN,
      },
    ),
  ],
  ['String', staticFunction('String', 1, String)],
  ['Boolean', staticFunction('Boolean', 1, Boolean)],
  ['Object', namespace('Object', objectFunctions)],
  ['Array', arrayFunction],
])
