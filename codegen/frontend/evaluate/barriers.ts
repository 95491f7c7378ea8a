import { immediate } from '../../ir/value.ts'
import type { Span } from '../syntax.ts'
import { argumentNode } from './calls.ts'
import { bitcast, indexValue } from './convert.ts'
import type { Evaluator } from './evaluator.ts'
import type { HasMembers } from './members.ts'
import { unknownMember } from './members.ts'
import type { Address, Index } from './memory.ts'
import { peerAddress, peerRank } from './peers.ts'
import type { CallSite, Value } from './values.ts'
import { Builtin } from './values.ts'

/** Bytes of one mbarrier. */
export const barrierBytes = 8

/** mbarriers in the shared memory of this CTA, or of a peer in its cluster. */
export class Barriers implements HasMembers {
  /** The shared variable that holds them. */
  readonly id: number
  readonly name: string
  readonly count: number
  readonly peer: Index | undefined

  constructor(id: number, name: string, count: number, peer?: Index) {
    this.id = id
    this.name = name
    this.count = count
    this.peer = peer
  }

  describe(): string {
    return `the barriers ${this.name}`
  }

  member(ev: Evaluator, name: string, node: { readonly span: Span }): Value {
    if (name === 'count') return this.count
    if (name === 'peer')
      return new Builtin(
        'peer',
        [1, 1],
        (e, [rank], site) => new Barriers(this.id, this.name, this.count, peerRank(e, rank, site)),
      )
    throw unknownMember(ev, this, name, node, ['count', 'peer'])
  }

  /** The address of one of them; `argument` is the index in the call. */
  address(ev: Evaluator, index: Value, site: CallSite, argument: number): Omit<Address, 'align'> {
    const node = argumentNode(site, argument)
    const at = indexValue(ev, index, node)
    const window = ev.emitter.entryValue('sharedAddress', 'u32', { variable: this.id })
    const base = this.peer === undefined ? window : peerAddress(ev, window, this.peer)
    if (typeof at !== 'number') {
      const distance = bitcast(ev, at, 'u32').operand
      const register = ev.emitter.value('mad', 'u32', [distance, immediate('u32', barrierBytes), base])
      return { register, offset: 0 }
    }
    if (at < 0 || at >= this.count)
      throw ev.error('E0504', `there is no barrier ${at} among the ${this.count} of ${this.name}`, node, {
        help: `indices go from 0 to ${this.count - 1}`,
      })
    return { register: base, offset: at * barrierBytes }
  }
}
