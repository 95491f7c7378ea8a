import type { Pattern } from '../syntax.ts'
import { readElement, track } from './cells.ts'
import type { Evaluator } from './evaluator.ts'
import { memberOfValue } from './members.ts'
import type { Scope } from './scope.ts'
import type { ScalarType, Value } from './values.ts'
import { DeviceValue, describe, isPlainObject, UnrollValue } from './values.ts'

interface Binding {
  readonly isLet: boolean
  readonly declared?: ScalarType | undefined
}

/** Declares the names of a pattern with the parts of a value. */
export function bindPattern(ev: Evaluator, pattern: Pattern, value: Value, scope: Scope, how: Binding): void {
  switch (pattern.kind) {
    case 'identifier': {
      const mutable = how.isLet && isAssigned(ev, pattern.name)
      scope.declare({
        name: pattern.name,
        slot: value,
        region: ev.emitter.region,
        reads: undefined,
        mutable,
        declared: how.declared,
      })
      return
    }
    case 'arrayPattern': {
      const elements = iterate(ev, value, pattern)
      for (const [i, element] of pattern.elements.entries()) {
        if (!element) continue
        const part = element.rest ? track(ev, elements.slice(i)) : elements[i]
        const filled = part === undefined && element.initial ? ev.evaluate(element.initial, scope) : part
        bindPattern(ev, element.target, filled, scope, { isLet: how.isLet })
      }
      return
    }
    case 'objectPattern': {
      const taken = new Set<string>()
      for (const property of pattern.properties) {
        let part: Value
        if (property.rest) {
          if (!isPlainObject(value))
            throw ev.error('E0503', `${describe(value)} has no fields to collect`, pattern, {})
          const rest = Object.keys(value).filter((key) => !taken.has(key))
          part = track(ev, Object.fromEntries(rest.map((key) => [key, readElement(ev, value, key)])))
        } else {
          taken.add(property.key)
          part = memberOfValue(ev, value, property.key, pattern)
        }
        const filled = part === undefined && property.initial ? ev.evaluate(property.initial, scope) : part
        bindPattern(ev, property.target, filled, scope, { isLet: how.isLet })
      }
      return
    }
    case 'unsupported':
      throw ev.error('E0002', `${pattern.what} is not part of the kernel language`, pattern, {
        help: pattern.help,
      })
  }
}

/** A name that nothing assigns is constant, however it was declared. At the top level of a file nothing does. */
const isAssigned = (ev: Evaluator, name: string): boolean => ev.frame.function?.assigned.has(name) ?? false

/** The elements of a static iterable. */
export function iterate(
  ev: Evaluator,
  value: Value,
  node: Pattern | { readonly span: Pattern['span'] },
): Value[] {
  if (Array.isArray(value)) return value.map((_, i) => readElement(ev, value, i))
  if (value instanceof UnrollValue) {
    const all: number[] = []
    for (let i = value.start; value.step > 0 ? i < value.end : i > value.end; i += value.step) all.push(i)
    return all
  }
  if (typeof value === 'string') return [...value]
  const help = value instanceof DeviceValue ? 'for (const i of range(n)) loops at run time' : undefined
  throw ev.error('E0503', `${describe(value)} is not an array`, node, { help })
}
