import type { Expression } from '../syntax.ts'
import { elementCell } from './cells.ts'
import type { Evaluator } from './evaluator.ts'
import { checkIndex } from './members.ts'
import type { Cell, Scope } from './scope.ts'
import type { Value } from './values.ts'
import { describe, isPlainObject } from './values.ts'

/** The cell that an assignment's left side names. */
export function placeOf(ev: Evaluator, target: Expression, scope: Scope): Cell {
  switch (target.kind) {
    case 'identifier': {
      const cell = scope.find(target.name)
      if (!cell) {
        throw ev.error('E0213', `'${target.name}' is not a variable of the kernel`, target, {
          help: 'declare it in the kernel with let; what is outside is constant',
        })
      }
      if (!cell.mutable) {
        throw ev.error('E0213', `'${target.name}' is constant`, target, { help: `declare it with let` })
      }
      return cell
    }
    case 'member': {
      const object = ev.direct(target.object, scope)
      return field(ev, object, target.name, target)
    }
    case 'element': {
      const object = ev.direct(target.object, scope)
      const index = ev.direct(target.index, scope)
      return element(ev, object, index, target)
    }
    case 'unsupported':
      throw ev.error('E0002', `${target.what} is not part of the kernel language`, target, {
        help: target.help,
      })
    default:
      throw ev.error('E0213', 'this cannot be assigned', target, {})
  }
}

function field(ev: Evaluator, object: Value, name: string, target: Expression): Cell {
  const cell = isPlainObject(object) ? elementCell(object, name) : undefined
  if (!cell) throw unchangeable(ev, object, target)
  if (!Object.hasOwn(object as object, name) && cell.region !== ev.emitter.region)
    throw reshaped(ev, name, target)
  return cell
}

function element(ev: Evaluator, object: Value, index: Value, target: Expression): Cell {
  checkIndex(ev, object, index, target)
  if (isPlainObject(object)) return field(ev, object, String(index), target)
  if (!Array.isArray(object)) throw unchangeable(ev, object, target)
  const label = target.kind === 'element' ? `${ev.text(target.object)}[${String(index)}]` : undefined
  const cell = elementCell(object, index as number, label)
  if (!cell) throw unchangeable(ev, object, target)
  if (!Number.isInteger(index) || (index as number) < 0) {
    throw ev.error('E0504', `${describe(index)} is not an index`, target, {})
  }
  if ((index as number) >= object.length && cell.region !== ev.emitter.region) {
    throw reshaped(ev, String(index), target)
  }
  return cell
}

const unchangeable = (ev: Evaluator, object: Value, target: Expression): Error => {
  const help =
    object === ev.config
      ? "the kernel's constants are fixed; copy what changes into a variable"
      : typeof object === 'object' && object !== null && 'put' in object
        ? 'write it with put(value, …index)'
        : "only the kernel's own arrays and objects can be assigned"
  return ev.error(
    'E0214',
    `${object === ev.config ? 'the configuration' : describe(object)} cannot be changed here`,
    target,
    { help },
  )
}

const reshaped = (ev: Evaluator, key: string, target: Expression): Error =>
  ev.error('E0211', `'${key}' would be added under run-time control, and shapes are static`, target, {
    help: 'make the array or object with all its elements first: regs(n, init)',
  })
