import type { MmaAtom, WgmmaAtom } from '../../../dsl/atoms/index.ts'
import { mma as atoms } from '../../../dsl/atoms/index.ts'
import type { Register } from '../../ir/op.ts'
import { argumentNode } from '../evaluate/calls.ts'
import { elementCell, variableOf } from '../evaluate/cells.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import type { CallSite, Value } from '../evaluate/values.ts'
import { Builtin, DeviceValue, describe, Variable } from '../evaluate/values.ts'
import type { Expression } from '../syntax.ts'
import { valuesArgument } from './memory.ts'

/** `mma(atom, acc, a, b)`: tensor-core products; `acc` is updated in place. */

export const isAtom = (value: Value): value is MmaAtom | WgmmaAtom =>
  typeof value === 'object' &&
  value !== null &&
  'name' in value &&
  'a' in value &&
  'layout' in (value.a as object)

const atomNames = Object.entries(atoms).flatMap(([shape, types]) =>
  Object.keys(types).map((t) => `mma.${shape}.${t}`),
)

/** Whether an atom is one of a warpgroup. */
export const isWgmma = (atom: MmaAtom | WgmmaAtom): atom is WgmmaAtom => typeof atom.b === 'string'

/** The accumulator's own registers: its elements become variables if they are none yet. */
export function accumulator(
  ev: Evaluator,
  acc: Value,
  atom: MmaAtom | WgmmaAtom,
  wanted: number,
  site: CallSite,
): Register[] {
  const node = argumentNode(site, 1) as Expression
  const { dtype } = atom.c
  const fails = (what: string) =>
    ev.error(
      'E0701',
      `${atom.name} accumulates in ${wanted} registers of ${dtype}, and this is ${what}`,
      node,
      {
        help: `regs(${wanted}, ${dtype}(0))`,
      },
    )
  if (!Array.isArray(acc)) throw fails(describe(acc))
  if (acc.length !== wanted) throw fails(describe(acc))
  return acc.map((slot, i) => {
    if (!(slot instanceof DeviceValue || slot instanceof Variable))
      throw fails(`an array with ${describe(slot)}`)
    if (slot.type !== dtype) throw fails(`an array of ${slot.type}`)
    const cell = elementCell(acc, i)
    if (!cell) throw fails('an array that cannot change')
    return variableOf(ev, cell, node).register
  })
}

function fragment(ev: Evaluator, value: Value, name: 'A' | 'B', atom: MmaAtom, site: CallSite, i: number) {
  const wanted = name === 'A' ? atom.a.registers : atom.b.registers
  if (!Array.isArray(value) || value.length !== wanted) {
    throw ev.error(
      'E0702',
      `${atom.name} takes ${name} in ${wanted} registers, and this is ${describe(value)}`,
      argumentNode(site, i),
      {
        help: `a lane's fragment of ${name} is ${wanted} u32 words`,
      },
    )
  }
  return valuesArgument(ev, value, 'u32', site, i).map((v) => v.operand)
}

export const mma: readonly (readonly [string, Value])[] = [
  [
    'mma',
    new Builtin('mma', [4, 4], (ev, [atom, acc, a, b], site) => {
      if (!isAtom(atom) || isWgmma(atom)) {
        throw ev.error('E0703', `mma takes an atom first, not ${describe(atom)}`, argumentNode(site, 0), {
          help: `one of ${atomNames.join(', ')}`,
        })
      }
      const aWords = fragment(ev, a, 'A', atom, site, 2)
      const bWords = fragment(ev, b, 'B', atom, site, 3)
      const registers = accumulator(ev, acc, atom, atom.c.registers, site)
      ev.emitter.writes++
      ev.emitter.emit('mma', registers, [...registers, ...aWords, ...bWords], { atom: atom.name })
    }),
  ],
]
