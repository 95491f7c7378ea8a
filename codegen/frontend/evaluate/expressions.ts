import { suggestion } from '../../suggest.ts'
import type {
  ArrayLiteral,
  Assignment,
  Conditional,
  Expression,
  Logical,
  ObjectLiteral,
  Update,
} from '../syntax.ts'
import { isInert } from '../syntax.ts'
import { callExpression } from './calls.ts'
import { assignCell, readCell, readDirect, readElement, track } from './cells.ts'
import type { Evaluator } from './evaluator.ts'
import { conditionOf } from './evaluator.ts'
import { elementOf, memberOf } from './members.ts'
import { mergeArms, pureArm } from './merge.ts'
import { binary, unary } from './operators.ts'
import { placeOf } from './places.ts'
import type { Scope } from './scope.ts'
import type { Value } from './values.ts'
import {
  Closure,
  constantValue,
  DeviceValue,
  DirectValue,
  describe,
  isPlainObject,
  registerType,
} from './values.ts'

/** Evaluates an expression; `direct` allows a variable's own register, for a use before anything is assigned. */
export function evaluate(ev: Evaluator, node: Expression, scope: Scope, direct: boolean): Value {
  const value = evaluateNode(ev, node, scope, direct)
  if (direct || !(value instanceof DirectValue)) return value
  ev.at(node)
  return new DeviceValue(
    value.type,
    ev.emitter.value('move', registerType(value.type), [value.operand]),
    value.bounds,
  )
}

function evaluateNode(ev: Evaluator, node: Expression, scope: Scope, direct: boolean): Value {
  switch (node.kind) {
    case 'number':
    case 'string':
    case 'constant':
      return node.value
    case 'identifier':
      return identifier(ev, node, scope, direct)
    case 'binary': {
      const left = isInert(node.right) ? ev.direct(node.left, scope) : ev.evaluate(node.left, scope)
      const right = ev.direct(node.right, scope)
      ev.at(node)
      return binary(ev, node.operator, left, right, node)
    }
    case 'unary': {
      const value = ev.direct(node.operand, scope)
      ev.at(node)
      return unary(ev, node.operator, value, node)
    }
    case 'member': {
      const object = ev.direct(node.object, scope)
      if (node.optional && (object === undefined || object === null)) return undefined
      ev.at(node)
      return memberOf(ev, object, node, direct)
    }
    case 'element': {
      const object = ev.direct(node.object, scope)
      if (node.optional && (object === undefined || object === null)) return undefined
      const index = ev.direct(node.index, scope)
      ev.at(node)
      return elementOf(ev, object, index, node, direct)
    }
    case 'call':
      return callExpression(ev, node, scope)
    case 'conditional':
      return conditional(ev, node, scope)
    case 'logical':
      return logical(ev, node, scope)
    case 'assignment':
      return assignment(ev, node, scope)
    case 'update':
      return update(ev, node, scope)
    case 'array':
      return array(ev, node, scope)
    case 'object':
      return object(ev, node, scope)
    case 'function':
      return new Closure(node, scope, ev.frame.module)
    case 'template': {
      let text = node.texts[0]!
      for (const [i, part] of node.values.entries()) {
        const value = ev.evaluate(part, scope)
        if (value instanceof DeviceValue) {
          throw ev.error('E0103', `a template takes static values, not ${describe(value)}`, part, {})
        }
        text += String(value) + node.texts[i + 1]!
      }
      return text
    }
    case 'unsupported':
      throw ev.error('E0002', `${node.what} is not part of the kernel language`, node, { help: node.help })
  }
}

function identifier(
  ev: Evaluator,
  node: Expression & { kind: 'identifier' },
  scope: Scope,
  direct: boolean,
): Value {
  const { name } = node
  const cell = scope.find(name)
  if (cell) {
    ev.at(node)
    return direct ? readDirect(ev, cell) : readCell(ev, cell)
  }
  switch (name) {
    case 'undefined':
      return undefined
    case 'NaN':
      return Number.NaN
    case 'Infinity':
      return Number.POSITIVE_INFINITY
  }
  const { module } = ev.frame
  const definition = ev.modules.find(module, name)
  if (definition) return ev.moduleValue(definition, node)
  const global = ev.global(name)
  if (global !== undefined) return global
  const names = [
    ...[...scope.cells()].map((c) => c.name),
    ...module.declarations.keys(),
    ...module.imports.keys(),
    ...ev.globalNames(),
  ]
  const missing = ev.builtin(name) !== undefined
  const help =
    name === 'console'
      ? 'a kernel cannot print: put what you want to see into an Out tensor, and read it on the host'
      : suggestion(name, names)
  throw ev.error('E0006', `'${name}' is not defined`, node, {
    help: missing ? `import { ${name} } from 'quattuor'` : help,
  })
}

function array(ev: Evaluator, node: ArrayLiteral, scope: Scope): Value {
  const elements: Value[] = []
  for (const element of node.elements) {
    if (element.kind !== 'spread') {
      elements.push(ev.evaluate(element, scope))
      continue
    }
    const value = ev.evaluate(element.value, scope)
    if (!Array.isArray(value))
      throw ev.error('E0503', `only arrays spread here, not ${describe(value)}`, element, {})
    ev.at(element)
    for (let i = 0; i < value.length; i++) elements.push(readElement(ev, value, i))
  }
  return track(ev, elements)
}

function object(ev: Evaluator, node: ObjectLiteral, scope: Scope): Value {
  const result: Record<string, Value> = {}
  for (const property of node.properties) {
    if (property.kind === 'spread') {
      const value = ev.evaluate(property.value, scope)
      if (value === undefined || value === null) continue
      if (!isPlainObject(value))
        throw ev.error('E0503', `only objects spread here, not ${describe(value)}`, property, {})
      ev.at(property)
      for (const key of Object.keys(value)) result[key] = readElement(ev, value, key)
      continue
    }
    const key = typeof property.key === 'string' ? property.key : String(ev.evaluate(property.key, scope))
    result[key] = ev.evaluate(property.value, scope)
  }
  return track(ev, result)
}

function conditional(ev: Evaluator, node: Conditional, scope: Scope): Value {
  const condition = conditionOf(ev, ev.direct(node.condition, scope), node.condition)
  if (typeof condition === 'boolean') return ev.evaluate(condition ? node.whenTrue : node.whenFalse, scope)
  const then = pureArm(ev, () => ev.evaluate(node.whenTrue, scope))
  const otherwise = pureArm(ev, () => ev.evaluate(node.whenFalse, scope))
  ev.at(node)
  return mergeArms(ev, condition, then, otherwise, node)
}

function logical(ev: Evaluator, node: Logical, scope: Scope): Value {
  const left = isInert(node.right) ? ev.direct(node.left, scope) : ev.evaluate(node.left, scope)
  if (!(left instanceof DeviceValue)) {
    const takesRight =
      node.operator === '??' ? left === undefined || left === null : node.operator === '&&' ? left : !left
    return takesRight ? ev.evaluate(node.right, scope) : left
  }
  if (node.operator === '??') return left
  const condition = conditionOf(ev, left, node.left)
  const isAnd = node.operator === '&&'
  if (typeof condition === 'boolean') return condition === isAnd ? ev.evaluate(node.right, scope) : condition
  const right = pureArm(ev, () => {
    const value = ev.evaluate(node.right, scope)
    const checked = conditionOf(ev, value, node.right)
    return typeof checked === 'boolean' ? constantValue('bool', checked ? 1 : 0) : checked
  })
  const short = pureArm(ev, () => constantValue('bool', isAnd ? 0 : 1))
  ev.at(node)
  return isAnd ? mergeArms(ev, condition, right, short, node) : mergeArms(ev, condition, short, right, node)
}

function assignment(ev: Evaluator, node: Assignment, scope: Scope): Value {
  const place = placeOf(ev, node.target, scope)
  if (node.operator === '') {
    const value = ev.evaluate(node.value, scope)
    ev.at(node)
    assignCell(ev, place, value, node)
    return value
  }
  ev.at(node.target)
  if (node.operator === '&&' || node.operator === '||' || node.operator === '??') {
    const old = readCell(ev, place)
    if (old instanceof DeviceValue) {
      throw ev.error(
        'E0002',
        `${node.operator}= on a run-time value is not part of the kernel language`,
        node,
        {
          help: `write ${ev.text(node.target)} = ${ev.text(node.target)} ${node.operator} …`,
        },
      )
    }
    const keeps =
      node.operator === '??' ? old !== undefined && old !== null : node.operator === '&&' ? !old : old
    if (keeps) return old
    const value = ev.evaluate(node.value, scope)
    assignCell(ev, place, value, node)
    return value
  }
  const old = isInert(node.value) ? readDirect(ev, place) : readCell(ev, place)
  const operand = ev.direct(node.value, scope)
  ev.at(node)
  const asBinary: Expression = {
    kind: 'binary',
    operator: node.operator,
    left: node.target,
    right: node.value,
    span: node.span,
  }
  const value = binary(ev, node.operator, old, operand, asBinary)
  assignCell(ev, place, value, node)
  return value
}

function update(ev: Evaluator, node: Update, scope: Scope): Value {
  const place = placeOf(ev, node.target, scope)
  ev.at(node)
  const old = readCell(ev, place)
  const value = binary(ev, node.operator === '++' ? '+' : '-', old, 1, node)
  assignCell(ev, place, value, node)
  return node.prefix ? value : old
}
