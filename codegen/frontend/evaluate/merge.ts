import type { Block, Instruction, Operand } from '../../ir/op.ts'
import type { Expression, Statement } from '../syntax.ts'
import { readElement, track } from './cells.ts'
import { literal } from './convert.ts'
import type { Region } from './emitter.ts'
import type { Evaluator } from './evaluator.ts'
import type { ScalarType, Value } from './values.ts'
import { DeviceValue, describe, isPlainObject, registerType, Variable } from './values.ts'

/** One arm of a choice at run time: its instructions and the value that they lead to. */
export interface Arm {
  readonly region: Region
  readonly value: Value
  /** Whether the arm assigns no variable. */
  readonly pure: boolean
}

/** Evaluates one side of a choice into a region of its own. */
export function pureArm(ev: Evaluator, evaluate: () => Value): Arm {
  let value: Value
  const writes = ev.emitter.writes
  const region = ev.emitter.inside('if', () => {
    value = evaluate()
  })
  return { region, value, pure: ev.emitter.writes === writes }
}

/** Operations that may run when their arm is not taken: no memory, no other lanes. */
const speculative = new Set(
  `move add sub mul min max neg abs and or xor not shl shr mulHi mulWide madWide fma mad compare select convert bitcast
   rsqrt rcp sqrt exp2 exp2Flushing log2 sin cos tanh round floor ceil pack2 unpack2 packFloats dp4a permuteBytes lop3
   funnelShift popCount leadingZeros sharedAddress div rem`.split(/\s+/),
)

/** Instructions that are cheaper to run than to branch around. */
const speculationLimit = 24

const isSpeculative = (block: Block): boolean =>
  block.length <= speculationLimit &&
  block.every((node) => node.kind === 'instruction' && speculative.has((node as Instruction).op))

/**
 * The value of `condition ? then : otherwise`. Arms of pure arithmetic both run and a `select` chooses; others go into
 * an `if` that moves its result into a register. Arrays and objects of one shape merge element by element.
 */
export function mergeArms(
  ev: Evaluator,
  condition: DeviceValue,
  then: Arm,
  otherwise: Arm,
  node: Expression | Statement,
): Value {
  const { emitter } = ev
  const { location } = emitter
  const speculate =
    then.pure && otherwise.pure && isSpeculative(then.region.block) && isSpeculative(otherwise.region.block)
  if (speculate) {
    emitter.region.block.push(...then.region.block, ...otherwise.region.block)
    return merge(ev, then.value, otherwise.value, node, (type, a, b) =>
      select(ev, type, condition.operand, a, b),
    )
  }
  const value = merge(ev, then.value, otherwise.value, node, (type, a, b) => {
    const register = emitter.register(registerType(type))
    for (const [arm, operand] of [
      [then, a],
      [otherwise, b],
    ] as const) {
      arm.region.block.push({
        kind: 'instruction',
        op: 'move',
        results: [register],
        args: [operand],
        attributes: {},
        location,
      })
    }
    emitter.count += 2
    return register
  })
  emitter.region.block.push({
    kind: 'if',
    condition: condition.operand,
    body: then.region.block,
    otherwise: otherwise.region.block,
    location,
  })
  return value
}

type Choose = (type: ScalarType, a: Operand, b: Operand) => Operand

function merge(ev: Evaluator, a: Value, b: Value, node: Expression | Statement, choose: Choose): Value {
  if (a instanceof DeviceValue || b instanceof DeviceValue) return mergeScalars(ev, a, b, node, choose)
  if (Object.is(a, b)) return a
  if (typeof a === 'boolean' && typeof b === 'boolean') {
    const [x, y] = [literal(ev, a, 'bool', node as Expression), literal(ev, b, 'bool', node as Expression)]
    return new DeviceValue('bool', choose('bool', x.operand, y.operand))
  }
  if (typeof a === 'number' && typeof b === 'number') {
    throw ev.error(
      'E0108',
      `which type have ${a} and ${b}? A run-time condition chooses between them`,
      node,
      {
        help: Number.isInteger(a) && Number.isInteger(b) ? `i32(${a}) or f32(${a})` : `f32(${a})`,
      },
    )
  }
  if (Array.isArray(a) && Array.isArray(b) && a.length === b.length) {
    return track(
      ev,
      a.map((_, i) => merge(ev, inner(a, i), inner(b, i), node, choose)),
    )
  }
  if (isPlainObject(a) && isPlainObject(b) && Object.keys(a).join() === Object.keys(b).join()) {
    const entries = Object.keys(a).map((key) => [key, merge(ev, inner(a, key), inner(b, key), node, choose)])
    return track(ev, Object.fromEntries(entries))
  }
  throw ev.error(
    'E0109',
    `a run-time condition cannot choose between ${describe(a)} and ${describe(b)}`,
    node,
    {
      help: 'choose between numbers, or between arrays or objects of one shape',
    },
  )

  function inner(container: object, key: string | number): Value {
    const slot = (container as Record<string | number, Value>)[key]
    return slot instanceof Variable ? readElement(ev, container, key) : slot
  }
}

function mergeScalars(
  ev: Evaluator,
  a: Value,
  b: Value,
  node: Expression | Statement,
  choose: Choose,
): Value {
  const type = (a instanceof DeviceValue ? a : (b as DeviceValue)).type
  const [x, y] = [a, b].map((side) => {
    if (side instanceof DeviceValue) return side
    if (typeof side === 'number' || typeof side === 'boolean')
      return literal(ev, side, type, node as Expression)
    throw ev.error(
      'E0109',
      `a run-time condition cannot choose between ${describe(a)} and ${describe(b)}`,
      node,
      {
        help: 'both sides must be numbers of one type',
      },
    )
  }) as [DeviceValue, DeviceValue]
  if (x.type !== y.type) {
    throw ev.error(
      'E0101',
      `a run-time condition cannot choose between ${describe(x)} and ${describe(y)}`,
      node,
      {
        help: `convert one: ${x.type}(…) or ${y.type}(…)`,
      },
    )
  }
  if (x === y) return x
  const bounds = { min: Math.min(x.bounds.min, y.bounds.min), max: Math.max(x.bounds.max, y.bounds.max) }
  return new DeviceValue(type, choose(type, x.operand, y.operand), bounds)
}

/** `condition ? a : b`; predicates have no select, but `and`, `or` and `not`. */
export function select(ev: Evaluator, type: ScalarType, condition: Operand, a: Operand, b: Operand): Operand {
  const { emitter } = ev
  if (type !== 'bool') return emitter.value('select', registerType(type), [condition, a, b])
  if (b.kind === 'immediate' && b.value === 0) return emitter.value('and', 'bool', [condition, a])
  if (a.kind === 'immediate' && a.value === 1) return emitter.value('or', 'bool', [condition, b])
  const no = emitter.value('not', 'bool', [condition])
  if (b.kind === 'immediate') return emitter.value('or', 'bool', [no, a])
  if (a.kind === 'immediate') return emitter.value('and', 'bool', [no, b])
  const left = emitter.value('and', 'bool', [condition, a])
  return emitter.value('or', 'bool', [left, emitter.value('and', 'bool', [no, b])])
}
