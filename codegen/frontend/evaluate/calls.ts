import type { Call, Expression, FunctionNode, Spread } from '../syntax.ts'
import { readElement } from './cells.ts'
import { coerce, conversionHelp } from './convert.ts'
import type { Evaluator, Frame } from './evaluator.ts'
import { limits } from './evaluator.ts'
import { memberOf } from './members.ts'
import { Tensor } from './memory.ts'
import { callNative } from './native.ts'
import { bindPattern } from './patterns.ts'
import { Scope } from './scope.ts'
import { executeList } from './statements.ts'
import { annotationOf, checkTensor } from './types.ts'
import type { CallSite, ScalarType, Value } from './values.ts'
import { Builtin, Closure, DeviceValue, describe } from './values.ts'

export function callExpression(ev: Evaluator, node: Call, scope: Scope): Value {
  const { callee } = node
  let target: Value
  let self: Value
  if (callee.kind === 'member') {
    self = ev.direct(callee.object, scope)
    if (callee.optional && (self === undefined || self === null)) return undefined
    ev.at(callee)
    target = memberOf(ev, self, callee, false)
  } else {
    target = ev.evaluate(callee, scope)
  }
  if (node.optional && (target === undefined || target === null)) return undefined
  const args = argumentsOf(ev, node, scope)
  ev.at(node)
  return callValue(ev, target, args, node, self)
}

function argumentsOf(ev: Evaluator, node: Call, scope: Scope): Value[] {
  const args: Value[] = []
  for (const arg of node.args) {
    if (arg.kind !== 'spread') {
      args.push(ev.evaluate(arg, scope))
      continue
    }
    const value = ev.evaluate(arg.value, scope)
    if (!Array.isArray(value))
      throw ev.error('E0503', `only arrays spread here, not ${describe(value)}`, arg, {})
    for (let i = 0; i < value.length; i++) args.push(readElement(ev, value, i))
  }
  return args
}

/** Calls a function of the source, of the language, or of static JavaScript. */
export function callValue(
  ev: Evaluator,
  target: Value,
  args: readonly Value[],
  site: CallSite,
  self?: Value,
): Value {
  if (target instanceof Closure) return callClosure(ev, target, args, site)
  if (target instanceof Builtin) {
    const [fewest, most] = target.arity
    if (args.length < fewest || args.length > most) {
      const wanted =
        fewest === most
          ? String(fewest)
          : most === Number.POSITIVE_INFINITY
            ? `at least ${fewest}`
            : `${fewest} to ${most}`
      throw ev.error('E0501', `${target.name} takes ${wanted} arguments, not ${args.length}`, site, {})
    }
    return target.call(ev, args, site)
  }
  if (typeof target === 'function')
    return callNative(ev, target as (...a: unknown[]) => unknown, self, args, site)
  const name = site.kind === 'call' ? ev.text(site.callee) : 'this'
  throw ev.error('E0007', `${name} is ${describe(target)}, not a function`, site, {})
}

/** The call's arguments as nodes, for messages about one of them. */
export function argumentNode(site: CallSite, i: number): Expression | Spread {
  return (site.kind === 'call' && site.args[i]) || site
}

export function callClosure(ev: Evaluator, closure: Closure, args: readonly Value[], site: CallSite): Value {
  const { node } = closure
  const name = node.name ?? 'a function'
  if (node.flavor) {
    const what = node.flavor === 'async' ? 'an async function' : 'a generator'
    throw ev.error('E0002', `${what} is not part of the kernel language`, node, {
      help:
        node.flavor === 'async'
          ? 'copyAsync overlaps copies with work'
          : 'pass a function that takes each value',
    })
  }
  const outer = ev.frame
  if (outer.depth >= limits.depth) {
    throw ev.error('E0308', `${name} calls itself without end`, site, {
      help: 'a recursive call must reach its end on static values; a run-time condition cannot stop it',
    })
  }
  const frame: Frame = {
    function: node,
    module: closure.module,
    inline: { callee: name, at: site.span, parent: outer.inline },
    isKernel: false,
    targets: [],
    returnRegion: ev.emitter.region,
    depth: outer.depth + 1,
    scope: outer.scope,
    statement: undefined,
  }
  const scope = new Scope(closure.scope)
  ev.frame = frame
  try {
    bindParameters(ev, node, args, scope, site)
    frame.scope = scope
    return returned(ev, node, scope)
  } finally {
    ev.frame = outer
  }
}

function returned(ev: Evaluator, node: FunctionNode, scope: Scope): Value {
  let value: Value
  if (node.body.kind === 'block') {
    const completion = executeList(ev, node.body.body, 0, scope, () => ({ kind: 'return', value: undefined }))
    value = completion?.kind === 'return' ? completion.value : undefined
  } else {
    value = ev.evaluate(node.body, scope)
  }
  const declared = node.returns && annotationOf(ev, node.returns)
  if (declared && value instanceof DeviceValue && value.type !== declared) {
    throw ev.error(
      'E0103',
      `${node.name ?? 'this function'} returns ${declared}, and the value is ${value.type}`,
      node.returns!,
      {
        help: conversionHelp(value.type, declared),
      },
    )
  }
  return value
}

function bindParameters(
  ev: Evaluator,
  node: FunctionNode,
  args: readonly Value[],
  scope: Scope,
  site: CallSite,
): void {
  const required = node.params.filter((p) => !p.initial && !p.rest && !p.optional).length
  if (args.length < required) {
    throw ev.error(
      'E0501',
      `${node.name ?? 'the function'} takes ${required} arguments, not ${args.length}`,
      site,
      {},
    )
  }
  for (const [i, param] of node.params.entries()) {
    const declared = param.type && annotationOf(ev, param.type)
    let value: Value = param.rest ? args.slice(i) : args[i]
    if (value === undefined && param.initial) value = ev.evaluate(param.initial, scope)
    const isLet = param.target.kind === 'identifier' && node.assigned.has(param.target.name)
    if (param.type && value instanceof Tensor) checkTensor(ev, value, param.type, argumentNode(site, i))
    if (declared && value !== undefined) {
      const blamed = argumentNode(site, i)
      value = checkAnnotated(ev, value, declared, blamed, isLet)
    }
    bindPattern(ev, param.target, value, scope, { isLet: true, declared })
  }
}

/**
 * A value for a name that is declared with a device type: a device value must have it. A static number stays static in
 * what is never assigned, and becomes a register's initial value in what is.
 */
export function checkAnnotated(
  ev: Evaluator,
  value: Value,
  declared: ScalarType,
  node: Expression | Spread,
  isLet: boolean,
): Value {
  if (value instanceof DeviceValue || (isLet && (typeof value === 'number' || typeof value === 'boolean'))) {
    return coerce(ev, value, declared, node)
  }
  return value
}
