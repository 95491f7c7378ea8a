import { callValue } from '../evaluate/calls.ts'
import {
  assignCell,
  elementCell,
  isTracked,
  readElement,
  readElements,
  regionOf,
  track,
} from '../evaluate/cells.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import { conditionOf } from '../evaluate/evaluator.ts'
import type { CallSite, Value } from '../evaluate/values.ts'
import { DeviceValue, describe } from '../evaluate/values.ts'
import type { Expression } from '../syntax.ts'

interface ArrayMethod {
  readonly arity: readonly [number, number]
  readonly call: (ev: Evaluator, array: Value[], args: readonly Value[], site: CallSite) => Value
}

const many = Number.POSITIVE_INFINITY

function each(ev: Evaluator, array: Value[], f: Value, site: CallSite): Value[] {
  return array.map((_, i) => callValue(ev, f, [readElement(ev, array, i), i, array], site))
}

/** A callback's answer where the array's shape or a static result depends on it. */
function staticAnswer(ev: Evaluator, value: Value, method: string, site: CallSite): boolean {
  const known = conditionOf(ev, value, site as Expression)
  if (typeof known === 'boolean') return known
  throw ev.error('E0505', `${method} decides while compiling, and the condition is a run-time value`, site, {
    help:
      method === 'every' || method === 'some'
        ? 'combine conditions with reduce((a, b) => a && b)'
        : undefined,
  })
}

function search(method: string, find: (answers: (i: number) => boolean, n: number) => number) {
  return (ev: Evaluator, array: Value[], args: readonly Value[], site: CallSite): number =>
    find(
      (i) =>
        staticAnswer(ev, callValue(ev, args[0], [readElement(ev, array, i), i, array], site), method, site),
      array.length,
    )
}

const firstIndex = (is: (i: number) => boolean, n: number): number => {
  for (let i = 0; i < n; i++) if (is(i)) return i
  return -1
}

function staticElements(ev: Evaluator, array: Value[], method: string, site: CallSite): Value[] {
  for (const value of array) {
    if (value instanceof DeviceValue) {
      throw ev.error(
        'E0505',
        `${method} compares static values, and an element is ${describe(value)}`,
        site,
        {},
      )
    }
  }
  return array
}

/** Methods that change the array's length: only where the array was made. */
function reshape(ev: Evaluator, array: Value[], method: string, site: CallSite): void {
  if (isTracked(array) && regionOf(array) === ev.emitter.region) return
  throw ev.error('E0211', `${method} changes the array's length under run-time control`, site, {
    help: 'shapes are static: make the array with all its elements first, regs(n, init)',
  })
}

/** The methods of arrays; callbacks are inlined, once per element. */
export const arrayMembers: Readonly<Record<string, ArrayMethod>> = {
  map: { arity: [1, 1], call: (ev, a, [f], site) => track(ev, each(ev, a, f, site)) },
  forEach: {
    arity: [1, 1],
    call: (ev, a, [f], site) => {
      each(ev, a, f, site)
    },
  },
  flatMap: { arity: [1, 1], call: (ev, a, [f], site) => track(ev, flatten(ev, each(ev, a, f, site), 1)) },
  filter: {
    arity: [1, 1],
    call: (ev, a, [f], site) => {
      const kept = readElements(ev, a).filter((value, i) =>
        staticAnswer(ev, callValue(ev, f, [value, i, a], site), 'filter', site),
      )
      return track(ev, kept)
    },
  },
  reduce: {
    arity: [1, 2],
    call: (ev, a, args, site) => {
      const from = args.length === 2 ? 0 : 1
      if (from === 1 && a.length === 0) {
        throw ev.error('E0504', 'reduce of an empty array needs a first value', site, {
          help: 'reduce(f, 0)',
        })
      }
      let total: Value = from === 0 ? args[1] : readElement(ev, a, 0)
      for (let i = from; i < a.length; i++)
        total = callValue(ev, args[0], [total, readElement(ev, a, i), i, a], site)
      return total
    },
  },
  every: {
    arity: [1, 1],
    call: (ev, a, args, site) =>
      search('every', (is, n) => firstIndex((i) => !is(i), n))(ev, a, args, site) < 0,
  },
  some: { arity: [1, 1], call: (ev, a, args, site) => search('some', firstIndex)(ev, a, args, site) >= 0 },
  findIndex: { arity: [1, 1], call: search('findIndex', firstIndex) },
  find: {
    arity: [1, 1],
    call: (ev, a, args, site) => {
      const i = search('find', firstIndex)(ev, a, args, site)
      return i < 0 ? undefined : readElement(ev, a, i)
    },
  },
  entries: {
    arity: [0, 0],
    call: (ev, a) =>
      track(
        ev,
        a.map((_, i) => track(ev, [i, readElement(ev, a, i)])),
      ),
  },
  keys: {
    arity: [0, 0],
    call: (ev, a) =>
      track(
        ev,
        a.map((_, i) => i),
      ),
  },
  values: { arity: [0, 0], call: (ev, a) => track(ev, readElements(ev, a)) },
  slice: {
    arity: [0, 2],
    call: (ev, a, [from, to]) => {
      const indices = a.map((_, i) => i).slice(from as number, to as number)
      return track(
        ev,
        indices.map((i) => readElement(ev, a, i)),
      )
    },
  },
  concat: {
    arity: [0, many],
    call: (ev, a, args) => {
      const parts = args.map((arg) => (Array.isArray(arg) ? readElements(ev, arg) : [arg]))
      return track(ev, [...readElements(ev, a), ...parts.flat()])
    },
  },
  flat: {
    arity: [0, 1],
    call: (ev, a, [depth = 1]) => track(ev, flatten(ev, readElements(ev, a), depth as number)),
  },
  reverse: {
    arity: [0, 0],
    call: (ev, a, _, site) => {
      const reversed = readElements(ev, a).reverse()
      for (const [i, value] of reversed.entries()) assignElement(ev, a, i, value, site)
      return a
    },
  },
  toReversed: { arity: [0, 0], call: (ev, a) => track(ev, readElements(ev, a).reverse()) },
  fill: {
    arity: [1, 3],
    call: (ev, a, [value, from = 0, to = a.length], site) => {
      for (let i = from as number; i < (to as number); i++) assignElement(ev, a, i, value, site)
      return a
    },
  },
  at: {
    arity: [1, 1],
    call: (ev, a, [i], site) => {
      if (typeof i !== 'number' || !Number.isInteger(i) || i >= a.length || i < -a.length) {
        throw ev.error('E0504', `index ${describe(i)} is outside an array of ${a.length}`, site, {})
      }
      return readElement(ev, a, i < 0 ? a.length + i : i)
    },
  },
  includes: {
    arity: [1, 1],
    call: (ev, a, [x], site) => staticElements(ev, a, 'includes', site).includes(x),
  },
  indexOf: { arity: [1, 1], call: (ev, a, [x], site) => staticElements(ev, a, 'indexOf', site).indexOf(x) },
  join: {
    arity: [0, 1],
    call: (ev, a, [separator], site) => staticElements(ev, a, 'join', site).join(separator as string),
  },
  push: {
    arity: [1, many],
    call: (ev, a, args, site) => {
      reshape(ev, a, 'push', site)
      return a.push(...args)
    },
  },
  pop: {
    arity: [0, 0],
    call: (ev, a, _, site) => {
      reshape(ev, a, 'pop', site)
      const last = a.length > 0 ? readElement(ev, a, a.length - 1) : undefined
      a.pop()
      return last
    },
  },
}

function assignElement(ev: Evaluator, array: Value[], i: number, value: Value, site: CallSite): void {
  const cell = elementCell(array, i, `[${i}]`)
  if (!cell) throw ev.error('E0214', `${describe(array)} cannot be changed here`, site, {})
  assignCell(ev, cell, value, site as Expression)
}

function flatten(ev: Evaluator, array: Value[], depth: number): Value[] {
  if (depth < 1) return array
  return array.flatMap((value) =>
    Array.isArray(value) ? flatten(ev, readElements(ev, value), depth - 1) : [value],
  )
}
