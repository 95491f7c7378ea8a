import { immediate } from '../../ir/value.ts'
import type { Expression, ForOfStatement, ForStatement, Statement, WhileStatement } from '../syntax.ts'
import { readElement } from './cells.ts'
import { indexValue } from './convert.ts'
import type { Evaluator } from './evaluator.ts'
import { conditionOf } from './evaluator.ts'
import { not } from './operators.ts'
import { bindPattern, iterate } from './patterns.ts'
import { Scope } from './scope.ts'
import type { Completion } from './statements.ts'
import type { Value } from './values.ts'
import { constantValue, DeviceValue, RangeValue, UnrollValue } from './values.ts'

/** `for (const x of …)`: a run-time loop over `range`, unrolled over anything static. */
export function executeForOf(ev: Evaluator, statement: ForOfStatement, scope: Scope): Completion {
  const iterable = ev.evaluate(statement.iterable, scope)
  ev.at(statement)
  if (iterable instanceof RangeValue) return rangeLoop(ev, statement, iterable, scope)
  const isLive = Array.isArray(iterable)
  const items =
    isLive || iterable instanceof UnrollValue ? undefined : iterate(ev, iterable, statement.iterable)
  const count = isLive
    ? iterable.length
    : iterable instanceof UnrollValue
      ? Math.max(0, Math.ceil((iterable.end - iterable.start) / iterable.step))
      : items!.length
  const item = (i: number): Value => {
    if (isLive) return readElement(ev, iterable, i)
    return iterable instanceof UnrollValue ? iterable.start + i * iterable.step : items![i]
  }
  return unrolled(ev, statement, count, (i) => {
    const inner = new Scope(scope)
    bindPattern(ev, statement.target, item(i), inner, { isLet: statement.keyword === 'let' })
    return ev.execute(statement.body, inner)
  })
}

/** Runs a body `count` times while compiling, and records what that costs. */
function unrolled(
  ev: Evaluator,
  statement: Statement,
  count: number,
  body: (i: number) => Completion,
): Completion {
  const { targets } = ev.frame
  const start = ev.emitter.count
  targets.push({ kind: 'unrolled', region: ev.emitter.region })
  const cost = ev.unrolls.get(statement.span) ?? { span: statement.span, iterations: 0, instructions: 0 }
  ev.unrolls.set(statement.span, cost)
  const before = cost.instructions
  try {
    for (let i = 0; i < count; i++) {
      cost.iterations++
      ev.step(statement)
      const completion = body(i)
      cost.instructions = before + ev.emitter.count - start
      if (completion?.kind === 'break') break
      if (completion && completion.kind !== 'continue') return completion
    }
  } finally {
    cost.instructions = before + ev.emitter.count - start
    targets.pop()
  }
  return undefined
}

/** Generates: `i = start; loop { if (i >= end) break; … step: i += step }`. */
function rangeLoop(ev: Evaluator, statement: ForOfStatement, range: RangeValue, scope: Scope): Completion {
  const { emitter } = ev
  const { iterable } = statement
  const part = (value: DeviceValue | number): DeviceValue => {
    const index = indexValue(ev, value, iterable)
    return typeof index === 'number' ? constantValue('i32', index) : index
  }
  const [start, end, step] = [part(range.start), part(range.end), part(range.step)]
  if (typeof range.start === 'number' && typeof range.end === 'number' && range.start >= range.end)
    return undefined
  const counter = emitter.register('i32')
  emitter.emit('move', [counter], [start.operand])
  const max = end.bounds.max === Number.POSITIVE_INFINITY ? end.bounds.max : end.bounds.max - 1
  const bounds = { min: start.bounds.min, max: Math.max(start.bounds.min, max) }
  const { location } = emitter
  const region = emitter.inside('loop', () => {
    const done = emitter.value('compare', 'bool', [counter, end.operand], { relation: 'ge' })
    emitter.region.block.push({
      kind: 'if',
      condition: done,
      body: [{ kind: 'break', location }],
      otherwise: [],
      location,
    })
    // A copy that is written once, so that the passes know it within an iteration.
    const index = new DeviceValue('i32', emitter.value('move', 'i32', [counter]), bounds)
    const inner = new Scope(scope)
    bindPattern(ev, statement.target, index, inner, { isLet: statement.keyword === 'let' })
    loopBody(ev, statement.body, inner)
  })
  const stepBlock = stepOf(ev, statement, () => {
    emitter.emit('add', [counter], [counter, step.operand])
  })
  emitter.region.block.push({ kind: 'loop', body: region.block, step: stepBlock, location })
  return undefined
}

function stepOf(ev: Evaluator, node: Statement, emit: () => void) {
  return ev.emitter.inside('loop', () => {
    ev.at(node)
    emit()
  }).block
}

function loopBody(ev: Evaluator, body: Statement, scope: Scope): void {
  const { targets } = ev.frame
  targets.push({ kind: 'loop', region: ev.emitter.region })
  try {
    ev.execute(body, scope)
  } finally {
    targets.pop()
  }
}

const isLiteralTrue = (node: Expression | undefined): boolean =>
  node === undefined || (node.kind === 'constant' && node.value === true)

/** Evaluates a condition once without keeping what it emits, to see whether it is static. */
function probe(ev: Evaluator, condition: Expression | undefined, scope: Scope): boolean | undefined {
  if (isLiteralTrue(condition)) return undefined
  let value: Value
  const { region } = ev.emitter
  ev.emitter.into(region, [], () => {
    value = ev.direct(condition!, scope)
  })
  const known = conditionOf(ev, value, condition!)
  if (typeof known === 'boolean') return known
  if (assigns(condition!)) {
    throw ev.error('E0306', 'the condition of a run-time loop cannot assign', condition!, {
      help: 'assign in the body, and test the variable here',
    })
  }
  return undefined
}

function assigns(node: Expression): boolean {
  switch (node.kind) {
    case 'assignment':
    case 'update':
      return true
    case 'binary':
    case 'logical':
      return assigns(node.left) || assigns(node.right)
    case 'unary':
      return assigns(node.operand)
    default:
      return false
  }
}

/** C-style `for`: unrolled while its condition is static, a run-time loop if it is a device value. */
export function executeFor(ev: Evaluator, statement: ForStatement, scope: Scope): Completion {
  const { initial, condition, step, body } = statement
  let outer = new Scope(scope)
  if (initial?.kind === 'variable') ev.execute(initial, outer)
  else if (initial) ev.evaluate(initial, outer)
  let goesOn = probe(ev, condition, outer)
  if (goesOn === undefined) {
    whileLoop(ev, statement, condition, body, step, outer)
    return undefined
  }
  while (goesOn) {
    // Each iteration has its own variables, as closures expect.
    const iteration = outer.copy()
    const { completion, stop } = once(ev, statement, body, iteration)
    if (stop) return completion
    outer = iteration.copy()
    if (step) ev.evaluate(step, outer)
    goesOn = staticCondition(ev, condition!, outer)
  }
  return undefined
}

/** One iteration of a static loop, and whether it was the last. */
function once(ev: Evaluator, statement: Statement, body: Statement, scope: Scope) {
  let stop = false
  const completion = unrolled(ev, statement, 1, () => {
    const inner = ev.execute(body, new Scope(scope))
    if (inner && inner.kind !== 'continue') stop = true
    return inner
  })
  return { completion, stop }
}

export function executeWhile(ev: Evaluator, statement: WhileStatement, scope: Scope): Completion {
  const { condition, body, testAfter } = statement
  let goesOn: boolean | undefined = testAfter ? true : probe(ev, condition, scope)
  while (goesOn) {
    const { completion, stop } = once(ev, statement, body, scope)
    if (stop) return completion
    goesOn = probe(ev, condition, scope)
  }
  if (goesOn === undefined) whileLoop(ev, statement, condition, body, undefined, scope)
  return undefined
}

function staticCondition(ev: Evaluator, condition: Expression, scope: Scope): boolean {
  const known = conditionOf(ev, ev.direct(condition, scope), condition)
  if (typeof known === 'boolean') return known
  throw ev.error(
    'E0307',
    'this condition was static in the first iteration and is a run-time value now',
    condition,
    {
      help: 'give the loop variable a type, let i: i32 = 0, for a run-time loop',
    },
  )
}

/** Generates: `loop { if (!condition) break; body  step: … }`. */
function whileLoop(
  ev: Evaluator,
  statement: Statement,
  condition: Expression | undefined,
  body: Statement,
  step: Expression | undefined,
  scope: Scope,
): void {
  const { emitter } = ev
  ev.at(statement)
  const { location } = emitter
  let stepBlock: ReturnType<typeof stepOf> = []
  const region = emitter.inside('loop', () => {
    if (!isLiteralTrue(condition)) {
      const value = conditionOf(ev, ev.direct(condition!, scope), condition!)
      ev.at(condition!)
      const stop = typeof value === 'boolean' ? immediate('bool', value ? 0 : 1) : not(ev, value).operand
      emitter.region.block.push({
        kind: 'if',
        condition: stop,
        body: [{ kind: 'break', location }],
        otherwise: [],
        location,
      })
    }
    loopBody(ev, body, new Scope(scope))
    // The step belongs to the loop: what it assigns, the condition and the body read.
    if (step) {
      const block: typeof stepBlock = []
      emitter.into(emitter.region, block, () => {
        ev.evaluate(step, scope)
      })
      stepBlock = block
    }
  })
  emitter.region.block.push({ kind: 'loop', body: region.block, step: stepBlock, location })
}
