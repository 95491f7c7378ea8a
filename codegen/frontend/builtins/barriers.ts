import type { Operand } from '../../ir/op.ts'
import { immediate } from '../../ir/value.ts'
import { Barriers, barrierBytes } from '../evaluate/barriers.ts'
import { argumentNode } from '../evaluate/calls.ts'
import { indexValue } from '../evaluate/convert.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import type { Address } from '../evaluate/memory.ts'
import type { CallSite, Value } from '../evaluate/values.ts'
import { Builtin, describe } from '../evaluate/values.ts'
import { count } from './control.ts'
import { nameOf } from './memory.ts'
import { effect } from './warp.ts'

/** Barriers in shared memory, which count arrivals and bytes. */

/** An integer argument where the instruction takes a register or an immediate. */
export function integer(ev: Evaluator, value: Value, what: string, site: CallSite, i: number): Operand {
  const index = indexValue(ev, value, argumentNode(site, i), what)
  return typeof index === 'number' ? immediate('i32', index) : index.operand
}

/** The address of the barrier that arguments `i` and `i + 1` name. */
function barrierArgument(
  ev: Evaluator,
  on: Value,
  index: Value,
  site: CallSite,
  i: number,
): { readonly at: Omit<Address, 'align'>; readonly barriers: Barriers } {
  if (on instanceof Barriers) return { at: on.address(ev, index, site, i + 1), barriers: on }
  throw ev.error('E0502', `this takes barriers, not ${describe(on)}`, argumentNode(site, i), {
    help: 'const full = barriers(n)',
  })
}

/** As `barrierArgument`, in this CTA alone. */
export function ownBarrier(ev: Evaluator, on: Value, index: Value, site: CallSite, i: number) {
  const { at, barriers } = barrierArgument(ev, on, index, site, i)
  if (barriers.peer === undefined) return at
  throw ev.error('E0502', 'only arrive takes the barriers of another CTA', argumentNode(site, i), {})
}

const barriers = new Builtin('barriers', [1, 1], (ev, [n], site) => {
  const length = count(ev, n, 'the number of barriers', site)
  const id = ev.emitter.shared.length
  const name = nameOf(ev, id)
  const { location } = ev.emitter
  ev.emitter.shared.push({ id, name, bytes: length * barrierBytes, align: barrierBytes, location })
  return new Barriers(id, name, length)
})

/** A barrier of this CTA and one integer. */
const onBarrier = (name: string, what: string, check?: typeof checkArrivals): Builtin =>
  new Builtin(name, [3, 3], (ev, [on, index, value], site) => {
    const { register, offset } = ownBarrier(ev, on, index, site, 0)
    const operand = integer(ev, value, what, site, 2)
    if (operand.kind === 'immediate') check?.(ev, operand.value, site)
    ev.emitter.emit(name, [], [register, operand], { offset })
  })

/** Barriers count in 20 bits. */
const mostCounted = 2 ** 20 - 1

function checkArrivals(ev: Evaluator, n: number, site: CallSite): void {
  if (n >= 1 && n <= mostCounted) return
  throw ev.error(
    'E0502',
    `a barrier waits for 1 to ${mostCounted} arrivals, not ${n}`,
    argumentNode(site, 2),
    {},
  )
}

function checkAnnounced(ev: Evaluator, n: number, site: CallSite): void {
  if (n >= 0 && n <= mostCounted) return
  throw ev.error('E0502', `a barrier counts 0 to ${mostCounted} bytes, not ${n}`, argumentNode(site, 2), {
    help: 'load less in one stage',
  })
}

function checkParity(ev: Evaluator, n: number, site: CallSite): void {
  if (n === 0 || n === 1) return
  throw ev.error('E0502', `a parity is 0 or 1, not ${n}`, argumentNode(site, 2), {})
}

const arrive = new Builtin('arrive', [2, 2], (ev, [on, index], site) => {
  const { at, barriers } = barrierArgument(ev, on, index, site, 0)
  const space = barriers.peer === undefined ? 'shared' : 'cluster'
  ev.emitter.emit('arrive', [], [at.register], { space, offset: at.offset })
})

export const barrierBuiltins: readonly (readonly [string, Value])[] = [
  ['barriers', barriers],
  ['initBarrier', onBarrier('initBarrier', 'the number of arrivals', checkArrivals)],
  ['fenceBarrierInit', effect('fenceBarrierInit')],
  ['arrive', arrive],
  ['arriveExpecting', onBarrier('arriveExpecting', 'the number of bytes', checkAnnounced)],
  ['waitBarrier', onBarrier('waitBarrier', 'a parity', checkParity)],
]
