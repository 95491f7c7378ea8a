import { atomicAdd, i32, laneIdx, load, store } from '../../dsl/index.ts'
import { placeOf, turnAt } from './decode-copies.ts'
import { meet } from './decode-lanes.ts'
import type { Outputs } from './decode-sums.ts'
import { ITEM_WORDS, loadItem, partsIn, SEQUENCE } from './items.ts'

/**
 * Who adds up the parts of a sequence that several items share: the CTA that claims its part last. By the first lane of the
 * warp that copies, which has the time and the registers for it.
 */

/**
 * Turns whose sequences the CTA adds up. They are a chain: a turn's counter, which nobody else looks at any more, holds the turn
 * before.
 */
export interface Claims {
  /** The last of the chain, counted from 1; 0 where there is none. */
  last: i32
  /** The turn that was claimed at last, and parts that others still had to claim then: looked at when it is needed. */
  turn: i32
  missing: i32
}

export const noClaims = (): Claims => ({ last: i32(0), turn: i32(-1), missing: i32(1) })

/**
 * Claims the parts of the step's item, whose last unit is about to begin: so whoever is the last to do so has all other parts
 * within the time of a unit, and those who have them wait for nobody.
 */
export function claimParts(o: Outputs, claims: Claims, items: i32, step: i32): void {
  const { a, c, d, m } = o
  const item = loadItem(m.items, step & 1)
  if (laneIdx === 0 && item.parts > 1) {
    chainClaim(o, claims, items)
    const { head, pass } = placeOf(a, c, d, items, turnAt(step))
    const own = partsIn(item)
    const before = atomicAdd(a.arrivals, [item.sequence, head * d.passes + pass], own)
    claims.missing = item.parts - own - before
    claims.turn = turnAt(step)
    store(m.claimed, [0, 0], load(m.items, [step & 1, 0], ITEM_WORDS))
  }
}

/** Puts the turn that was claimed at last at the end of the chain, if its sequence is the CTA's. */
function chainClaim({ a, c, d, m }: Outputs, claims: Claims, items: i32): void {
  if (claims.missing === 0) {
    const { head, pass } = placeOf(a, c, d, items, claims.turn)
    a.arrivals.put(claims.last, m.claimed.at(0, SEQUENCE), head * d.passes + pass)
    claims.last = claims.turn + 1
    claims.missing = 1
  }
}

/** Gives the CTA's turns to the warps that add up (`mergeClaimed`), one after the other. By the warp that copies. */
export function giveClaimed(o: Outputs, claims: Claims, items: i32): void {
  const { a, c, d, m } = o
  if (laneIdx === 0) {
    const isLast = claims.missing === 0
    if (isLast) m.merged.put(claims.turn + 1, 0)
    else takeLast(o, claims, items)
  }
  meet()
  let turn = m.merged.at(0)
  while (turn !== 0) {
    meet()
    if (laneIdx === 0) {
      const { head, pass } = placeOf(a, c, d, items, turn - 1)
      a.arrivals.put(0, m.claimed.at(0, SEQUENCE), head * d.passes + pass)
      takeLast(o, claims, items)
    }
    meet()
    turn = m.merged.at(0)
  }
}

/** Takes the last turn off the chain, for all warps; 0 where there is none. */
function takeLast({ a, c, d, m }: Outputs, claims: Claims, items: i32): void {
  m.merged.put(claims.last, 0)
  if (claims.last !== 0) {
    const { item, head, pass } = placeOf(a, c, d, items, claims.last - 1)
    const words = load(a.items, [item, 0], ITEM_WORDS)
    store(m.claimed, [0, 0], words)
    const [before] = load(a.arrivals, [words[SEQUENCE]!, head * d.passes + pass], 1, { cache: 'cg' })
    claims.last = before!
  }
}
