import type { Expression, Statement, SwitchCase, SwitchStatement } from '../syntax.ts'
import type { Evaluator } from './evaluator.ts'
import { binary } from './operators.ts'
import { Scope } from './scope.ts'
import type { Completion } from './statements.ts'
import { emitIf, executeList } from './statements.ts'
import type { Value } from './values.ts'
import { DeviceValue } from './values.ts'

/** `switch` on a static subject runs as in JavaScript; on a device value it becomes a chain of `if`s. */
export function executeSwitch(ev: Evaluator, statement: SwitchStatement, scope: Scope): Completion {
  const subject = ev.evaluate(statement.subject, scope)
  const { targets } = ev.frame
  targets.push({ kind: 'switch', region: ev.emitter.region })
  try {
    return subject instanceof DeviceValue
      ? deviceSwitch(ev, statement, subject, scope)
      : staticSwitch(ev, statement, subject, scope)
  } finally {
    targets.pop()
  }
}

function staticSwitch(ev: Evaluator, statement: SwitchStatement, subject: Value, scope: Scope): Completion {
  let start = statement.cases.findIndex((c) => c.test && ev.evaluate(c.test, scope) === subject)
  if (start < 0) start = statement.cases.findIndex((c) => !c.test)
  if (start < 0) return undefined
  const inner = new Scope(scope)
  for (const each of statement.cases.slice(start)) {
    const completion = executeList(ev, each.body, 0, inner)
    if (completion?.kind === 'break') return undefined
    if (completion) return completion
  }
  return undefined
}

interface Group {
  readonly tests: readonly Expression[]
  readonly isDefault: boolean
  readonly body: readonly Statement[]
}

/** Cases with their bodies; each body must end by leaving, as nothing falls through at run time. */
function groupsOf(ev: Evaluator, cases: readonly SwitchCase[]): Group[] {
  const groups: Group[] = []
  let tests: Expression[] = []
  let isDefault = false
  for (const [i, each] of cases.entries()) {
    if (each.test) tests.push(each.test)
    else isDefault = true
    const last = i === cases.length - 1
    if (each.body.length === 0 && !last) continue
    const end = each.body.at(-1)
    const inner = end?.kind === 'block' ? end.body.at(-1) : end
    if (!last && inner?.kind !== 'break' && inner?.kind !== 'return' && inner?.kind !== 'continue') {
      throw ev.error('E0305', 'this case falls through, and the switch is on a run-time value', each, {
        help: 'end the case with break',
      })
    }
    groups.push({ tests, isDefault, body: withoutBreak(each.body) })
    tests = []
    isDefault = false
  }
  return groups
}

function withoutBreak(body: readonly Statement[]): readonly Statement[] {
  const end = body.at(-1)
  if (end?.kind === 'break') return body.slice(0, -1)
  if (end?.kind !== 'block') return body
  return [...body.slice(0, -1), { ...end, body: withoutBreak(end.body) }]
}

function deviceSwitch(
  ev: Evaluator,
  statement: SwitchStatement,
  subject: DeviceValue,
  scope: Scope,
): Completion {
  const groups = groupsOf(ev, statement.cases)
  const fallback = groups.find((g) => g.isDefault)
  const tested = groups.filter((g) => !g.isDefault)
  const run = (group: Group | undefined): Completion =>
    group && executeList(ev, group.body, 0, new Scope(scope))
  const from = (i: number): Completion => {
    const group = tested[i]
    if (!group) return run(fallback)
    let condition: DeviceValue | undefined
    for (const test of group.tests) {
      const value = ev.evaluate(test, scope)
      ev.at(test)
      const equal = binary(ev, '===', subject, value, test) as DeviceValue
      condition = condition
        ? new DeviceValue('bool', ev.emitter.value('or', 'bool', [condition.operand, equal.operand]))
        : equal
    }
    return emitIf(
      ev,
      condition!,
      statement,
      () => run(group),
      () => from(i + 1),
    )
  }
  return from(0)
}
