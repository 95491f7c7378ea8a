import type { BlockStatement, IfStatement, Statement, VariableStatement } from '../syntax.ts'
import { checkAnnotated } from './calls.ts'
import type { Evaluator } from './evaluator.ts'
import { conditionOf } from './evaluator.ts'
import { executeFor, executeForOf, executeWhile } from './loops.ts'
import { mergeArms } from './merge.ts'
import { bindPattern } from './patterns.ts'
import { Scope } from './scope.ts'
import { executeSwitch } from './switch.ts'
import { annotationOf } from './types.ts'
import type { Value } from './values.ts'
import { Closure, type DeviceValue } from './values.ts'

/**
 * How a statement ended, if not by running into the next: a jump that is decided while compiling, or `left` where the
 * jump has been emitted and nothing after it runs.
 */
export type Completion =
  | undefined
  | { readonly kind: 'break' | 'continue' | 'left' }
  | { readonly kind: 'return'; readonly value: Value }

const left = { kind: 'left' } as const

export function execute(ev: Evaluator, statement: Statement, scope: Scope): Completion {
  switch (statement.kind) {
    case 'expression':
      ev.evaluate(statement.expression, scope)
      return undefined
    case 'variable':
      variables(ev, statement, scope)
      return undefined
    case 'if':
      return executeIf(ev, statement, scope)
    case 'block':
      return executeBlock(ev, statement, new Scope(scope))
    case 'forOf':
      return executeForOf(ev, statement, scope)
    case 'for':
      return executeFor(ev, statement, scope)
    case 'while':
      return executeWhile(ev, statement, scope)
    case 'switch':
      return executeSwitch(ev, statement, scope)
    case 'return':
      return executeReturn(ev, statement, scope)
    case 'break':
    case 'continue':
      return jump(ev, statement)
    case 'functionDeclaration':
      return undefined
    case 'empty':
      return undefined
    case 'unsupported':
      throw ev.error('E0002', `${statement.what} is not part of the kernel language`, statement, {
        help: statement.help,
      })
  }
}

export function executeBlock(ev: Evaluator, block: BlockStatement, scope: Scope): Completion {
  return executeList(ev, block.body, 0, scope)
}

/**
 * Runs statements from `from` on. In an inlined function, what follows an `if` that returns is `rest` of its arms:
 *
 *     if (p) return x                if (p) { r = x }
 *     const y = f()         ⇒        else { const y = f(); r = y }
 *     return y
 */
export function executeList(
  ev: Evaluator,
  statements: readonly Statement[],
  from: number,
  scope: Scope,
  after: () => Completion = () => undefined,
): Completion {
  if (from === 0) hoistFunctions(ev, statements, scope)
  for (let i = from; i < statements.length; i++) {
    const statement = statements[i]!
    const returns = (statement.kind === 'if' || statement.kind === 'block') && statement.returns
    if (returns && !ev.frame.isKernel) {
      return executeReturning(ev, statement, scope, () => executeList(ev, statements, i + 1, scope, after))
    }
    const completion = ev.execute(statement, scope)
    if (completion) return completion
  }
  return after()
}

function executeReturning(
  ev: Evaluator,
  statement: Statement,
  scope: Scope,
  rest: () => Completion,
): Completion {
  ev.frame.scope = scope
  ev.frame.statement = statement
  if (statement.kind === 'block') return executeList(ev, statement.body, 0, new Scope(scope), rest)
  if (statement.kind !== 'if' || !statement.returns) return ev.execute(statement, scope) ?? rest()
  const condition = conditionOf(ev, ev.direct(statement.condition, scope), statement.condition)
  const arm = (body: Statement | undefined): Completion =>
    body ? executeReturning(ev, body, scope, rest) : rest()
  if (typeof condition === 'boolean') return arm(condition ? statement.whenTrue : statement.whenFalse)
  const { frame } = ev
  const inRegion = (body: Statement | undefined) => {
    let completion: Completion
    const outer = frame.returnRegion
    const writes = ev.emitter.writes
    const region = ev.emitter.inside('if', () => {
      if (outer === ev.emitter.region.parent) frame.returnRegion = ev.emitter.region
      completion = arm(body)
    })
    frame.returnRegion = outer
    const value = completion?.kind === 'return' ? completion.value : undefined
    return { region, value, pure: ev.emitter.writes === writes, completion: completion as Completion }
  }
  const then = inRegion(statement.whenTrue)
  const otherwise = inRegion(statement.whenFalse)
  if ((then.completion?.kind === 'return') !== (otherwise.completion?.kind === 'return')) {
    throw returnInLoop(ev, statement)
  }
  ev.at(statement)
  const value = mergeArms(ev, condition, then, otherwise, statement)
  return then.completion && { kind: 'return', value }
}

/** Function declarations are in scope from the start of their block. */
function hoistFunctions(ev: Evaluator, statements: readonly Statement[], scope: Scope): void {
  for (const statement of statements) {
    if (statement.kind !== 'functionDeclaration') continue
    declare(ev, scope, statement.name, new Closure(statement.function, scope, ev.frame.module))
  }
}

export function declare(ev: Evaluator, scope: Scope, name: string, value: Value): void {
  scope.declare({
    name,
    slot: value,
    region: ev.emitter.region,
    reads: undefined,
    mutable: false,
    declared: undefined,
  })
}

function variables(ev: Evaluator, statement: VariableStatement, scope: Scope): void {
  for (const declaration of statement.declarations) {
    const { target, type, initial } = declaration
    let value: Value = initial && ev.evaluate(initial, scope)
    ev.at(declaration)
    const declared = type && annotationOf(ev, type)
    const isLet = statement.keyword === 'let'
    if (declared && initial) value = checkAnnotated(ev, value, declared, initial, isLet)
    bindPattern(ev, target, value, scope, { isLet, declared })
  }
}

function executeIf(ev: Evaluator, statement: IfStatement, scope: Scope): Completion {
  const condition = conditionOf(ev, ev.direct(statement.condition, scope), statement.condition)
  if (typeof condition === 'boolean') {
    const chosen = condition ? statement.whenTrue : statement.whenFalse
    return chosen && ev.execute(chosen, new Scope(scope))
  }
  return emitIf(
    ev,
    condition,
    statement,
    () => ev.execute(statement.whenTrue, new Scope(scope)),
    () => statement.whenFalse && ev.execute(statement.whenFalse, new Scope(scope)),
  )
}

/** Emits an `if` with two arms; what follows is unreachable if both leave. */
export function emitIf(
  ev: Evaluator,
  condition: DeviceValue,
  statement: Statement,
  then: () => Completion,
  otherwise: () => Completion,
): Completion {
  const { emitter } = ev
  let a: Completion
  let b: Completion
  const body = emitter.inside('if', () => {
    a = then()
  }).block
  const alternative = emitter.inside('if', () => {
    b = otherwise()
  }).block
  ev.at(statement)
  if (body.length > 0 || alternative.length > 0) {
    emitter.region.block.push({
      kind: 'if',
      condition: condition.operand,
      body,
      otherwise: alternative,
      location: emitter.location,
    })
  }
  return (a as Completion) && (b as Completion) ? left : undefined
}

function executeReturn(ev: Evaluator, statement: Statement & { kind: 'return' }, scope: Scope): Completion {
  const value = statement.value && ev.evaluate(statement.value, scope)
  const { frame, emitter } = ev
  if (emitter.region === frame.returnRegion) return { kind: 'return', value }
  if (frame.isKernel) {
    ev.at(statement)
    emitter.region.block.push({ kind: 'return', location: emitter.location })
    return left
  }
  throw returnInLoop(ev, statement)
}

const returnInLoop = (ev: Evaluator, statement: Statement): Error =>
  ev.error('E0303', 'this return depends on a run-time condition in a loop or switch', statement, {
    help: 'keep the result in a variable: let found: i32 = -1, assign it in the loop, and return it at the end',
  })

function jump(ev: Evaluator, statement: Statement & { kind: 'break' | 'continue' }): Completion {
  const { targets } = ev.frame
  let at = targets.length - 1
  if (statement.kind === 'continue') while (at >= 0 && targets[at]!.kind === 'switch') at--
  const target = targets[at]
  if (!target) throw ev.error('E0002', `${statement.kind} outside a loop`, statement, {})
  const { emitter } = ev
  if (target.kind === 'loop') {
    ev.at(statement)
    emitter.region.block.push({ kind: statement.kind, location: emitter.location })
    return left
  }
  if (emitter.region === target.region) return { kind: statement.kind }
  const where = target.kind === 'switch' ? 'a switch' : 'an unrolled loop'
  throw ev.error('E0304', `${statement.kind} leaves ${where} on a run-time condition`, statement, {
    help:
      target.kind === 'switch'
        ? 'put the break at the end of its case'
        : 'use a run-time loop, for (const i of range(n)), or put the rest of the body into an if',
  })
}
