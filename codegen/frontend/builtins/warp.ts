import type { Operand } from '../../ir/op.ts'
import { argumentNode } from '../evaluate/calls.ts'
import { coerce, indexValue } from '../evaluate/convert.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import type { CallSite, Value } from '../evaluate/values.ts'
import { Builtin, constantValue, DeviceValue, describe, registerType } from '../evaluate/values.ts'
import { staticNumber } from './control.ts'

/** Barriers, fences, and what the lanes of a warp do together. */

/** An operation of no arguments and no result. */
export const effect = (name: string): Builtin =>
  new Builtin(name, [0, 0], (ev) => {
    ev.emitter.emit(name, [], [])
  })

/** A register that `shfl` can move: 32 bits, and the way back. */
function widened(ev: Evaluator, value: DeviceValue): { word: Operand; back: (word: Operand) => DeviceValue } {
  const { type } = value
  const { emitter } = ev
  if (type === 'f16' || type === 'bf16') {
    const pair = type === 'f16' ? 'f16x2' : 'bf16x2'
    const packed = emitter.value('pack2', pair, [value.operand, value.operand])
    return {
      word: packed,
      back: (word) => {
        const halves = [emitter.register(type), emitter.register(type)]
        emitter.emit('unpack2', halves, [word])
        return new DeviceValue(type, halves[0]!)
      },
    }
  }
  return { word: value.operand, back: (word) => new DeviceValue(type, word, value.bounds) }
}

function shuffle(name: string, mode: 'xor' | 'down' | 'up' | 'index'): Builtin {
  return new Builtin(name, [2, 2], (ev, [value, lane], site) => {
    if (!(value instanceof DeviceValue) || value.type === 'bool') {
      throw ev.error(
        'E0502',
        `${name} exchanges a run-time number, not ${describe(value)}`,
        argumentNode(site, 0),
        {},
      )
    }
    const by = indexValue(ev, lane, argumentNode(site, 1), mode === 'index' ? 'a lane' : 'a distance')
    const operand = typeof by === 'number' ? constantValue('i32', by).operand : by.operand
    const { word, back } = widened(ev, value)
    const { type } = value
    const wide = type === 'f16' ? 'f16x2' : type === 'bf16' ? 'bf16x2' : registerType(type)
    return back(ev.emitter.value('shuffle', wide, [word, operand], { mode }))
  })
}

const vote = (name: string, mode: 'all' | 'any'): Builtin =>
  new Builtin(name, [1, 1], (ev, [p], site) => {
    const condition = predicate(ev, p, site)
    return new DeviceValue('bool', ev.emitter.value('vote', 'bool', [condition], { mode }))
  })

const predicate = (ev: Evaluator, value: Value, site: CallSite): Operand =>
  coerce(ev, value, 'bool', argumentNode(site, 0)).operand

function redux(name: string, fn: 'add' | 'max' | 'min'): Builtin {
  return new Builtin(name, [1, 1], (ev, [value], site) => {
    if (!(value instanceof DeviceValue) || (value.type !== 'i32' && value.type !== 'u32')) {
      throw ev.error('E0103', `${name} takes an i32 or u32, not ${describe(value)}`, argumentNode(site, 0), {
        help: 'floats reduce with shuffleXor',
      })
    }
    return new DeviceValue(value.type, ev.emitter.value('redux', value.type, [value.operand], { fn }))
  })
}

export const warp: readonly (readonly [string, Value])[] = [
  ['barrier', effect('barrier')],
  ['syncWarp', effect('syncWarp')],
  ['threadFence', effect('threadFence')],
  ['commitCopies', effect('commitCopies')],
  [
    'waitCopies',
    new Builtin('waitCopies', [1, 1], (ev, [n], site) => {
      const pending = staticNumber(ev, n, 'the number of pending groups', site)
      ev.emitter.emit('waitCopies', [], [], { pending })
    }),
  ],
  ['shuffleXor', shuffle('shuffleXor', 'xor')],
  ['shuffleDown', shuffle('shuffleDown', 'down')],
  ['shuffleUp', shuffle('shuffleUp', 'up')],
  ['shuffle', shuffle('shuffle', 'index')],
  ['voteAll', vote('voteAll', 'all')],
  ['voteAny', vote('voteAny', 'any')],
  [
    'ballot',
    new Builtin(
      'ballot',
      [1, 1],
      (ev, [p], site) => new DeviceValue('u32', ev.emitter.value('ballot', 'u32', [predicate(ev, p, site)])),
    ),
  ],
  ['reduxAdd', redux('reduxAdd', 'add')],
  ['reduxMax', redux('reduxMax', 'max')],
  ['reduxMin', redux('reduxMin', 'min')],
]
