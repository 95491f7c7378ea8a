import { suggestion } from '../../suggest.ts'
import { arrayMembers } from '../builtins/arrays.ts'
import { stringMember } from '../builtins/strings.ts'
import type { Element, Expression, Member, Span } from '../syntax.ts'
import { elementCell, readDirect, readElement } from './cells.ts'
import type { Evaluator } from './evaluator.ts'
import type { Value } from './values.ts'
import { Builtin, BuiltinObject, Closure, DeviceValue, describe, isPlainObject } from './values.ts'

/** An object of the language with members of its own: a tensor, a shared tile. */
export interface HasMembers {
  member(ev: Evaluator, name: string, node: { readonly span: Span }): Value
  describe(): string
}

const hasMembers = (value: Value): value is HasMembers =>
  typeof value === 'object' && value !== null && typeof (value as HasMembers).member === 'function'

export function memberOf(ev: Evaluator, object: Value, node: Member, direct: boolean): Value {
  if (direct && isPlainObject(object) && Object.hasOwn(object, node.name)) {
    const cell = elementCell(object, node.name)
    return cell ? readDirect(ev, cell) : object[node.name]
  }
  if (object === undefined && node.object.kind === 'member' && ev.absentArgs.has(node.object.name)) {
    const { name } = node.object
    throw ev.error('E0413', `the argument ${name} is absent in this configuration`, node, {
      help: `guard it, if (c.${name}) …, or pass { ${name}: true }`,
    })
  }
  return memberOfValue(ev, object, node.name, { span: node.nameSpan })
}

export function memberOfValue(
  ev: Evaluator,
  object: Value,
  name: string,
  node: { readonly span: Span },
): Value {
  if (Array.isArray(object)) {
    if (name === 'length') return object.length
    const method = arrayMembers[name]
    if (method) return new Builtin(name, method.arity, (e, args, site) => method.call(e, object, args, site))
    throw unknownMember(ev, object, name, node, ['length', ...Object.keys(arrayMembers)])
  }
  if (isPlainObject(object)) {
    if (Object.hasOwn(object, name)) return readElement(ev, object, name)
    return missingField(ev, object, name, node)
  }
  if (object instanceof BuiltinObject) {
    const value = object.member(ev, name)
    if (value !== undefined) return value
    throw unknownMember(ev, object, name, node, object.names)
  }
  if (object instanceof Builtin) {
    const value = object.members[name]
    if (value !== undefined) return value
    throw unknownMember(ev, object, name, node, Object.keys(object.members))
  }
  if (hasMembers(object) && !(object instanceof DeviceValue)) return object.member(ev, name, node)
  if (typeof object === 'string') return stringMember(object, name) ?? fail()
  if (
    (typeof object === 'function' || (typeof object === 'object' && object !== null)) &&
    !(object instanceof Closure)
  ) {
    if (name in object) return (object as Record<string, Value>)[name]
  }
  return fail()

  function fail(): never {
    throw unknownMember(ev, object, name, node, [])
  }
}

export function unknownMember(
  ev: Evaluator,
  object: Value,
  name: string,
  node: { readonly span: Span },
  names: Iterable<string>,
): Error {
  const help =
    object instanceof DeviceValue
      ? 'numbers have no members here; Math.max(a, b) and f32(x) are functions'
      : suggestion(name, names)
  return ev.error('E0007', `${describe(object)} has no '${name}'`, node, { help })
}

/** A field that is not there: `undefined`, as in JavaScript, except where that is surely a mistake. */
function missingField(
  ev: Evaluator,
  object: Record<string, Value>,
  name: string,
  node: { readonly span: Span },
): Value {
  if (object === (ev.config as object)) {
    if (ev.optionalConstants?.has(name)) return undefined
    throw ev.error('E0401', `the configuration has no constant '${name}'`, node, {
      help: suggestion(name, Object.keys(object)) ?? `pass it: { ${name}: … }`,
    })
  }
  if (object === ev.args && !ev.absentArgs.has(name)) {
    throw ev.error('E0007', `the kernel has no argument '${name}'`, node, {
      help: suggestion(name, Object.keys(object)),
    })
  }
  return undefined
}

/** Refuses what `object[index]` cannot mean: a run-time index, and any index of a tensor or tile. */
export function checkIndex(ev: Evaluator, object: Value, index: Value, node: Expression): void {
  if (hasMembers(object) && typeof index !== 'string') {
    const [tensor, at] = node.kind === 'element' ? [ev.text(node.object), ev.text(node.index)] : ['x', 'i']
    throw ev.error('E0007', `${describe(object)} has no elements in brackets`, node, {
      help: `read ${tensor}.at(${at}), write ${tensor}.put(value, ${at})`,
    })
  }
  if (index instanceof DeviceValue) {
    throw ev.error('E0212', `the index is ${describe(index)}, and registers have no addresses`, node, {
      help: 'unroll the loop, for (const i of unroll(n)), or keep the array in shared memory',
    })
  }
}

export function elementOf(ev: Evaluator, object: Value, index: Value, node: Element, direct: boolean): Value {
  checkIndex(ev, object, index, node)
  if (Array.isArray(object) && (typeof index === 'number' || /^\d+$/.test(String(index)))) {
    const i = Number(index)
    if (!Number.isInteger(i) || i < 0 || i >= object.length) {
      throw ev.error('E0504', `index ${i} is outside an array of ${object.length}`, node, {
        help: object.length > 0 ? `indices go from 0 to ${object.length - 1}` : undefined,
      })
    }
    const cell = direct ? elementCell(object, i) : undefined
    return cell ? readDirect(ev, cell) : readElement(ev, object, i)
  }
  if (typeof object === 'string' && typeof index === 'number') return object[index]
  return memberOfValue(ev, object, String(index), node)
}
