import { atomicAdd, i32, laneIdx, load, regs, store } from '../../dsl/index.ts'
import { placeOf, turnAt } from './decode-copies.ts'
import { meet } from './decode-lanes.ts'
import { ALL_ROWS, ROW, TURN } from './decode-memory.ts'
import type { Outputs } from './decode-sums.ts'
import { ITEM_WORDS, type Item, loadItem, partsIn, SEQUENCE } from './items.ts'

/**
 * Who adds up the parts of a sequence that several items share: the CTA that claims its part last. Of sequences of many parts it
 * adds up row by row, and CTAs that come to their end when all parts have been claimed take rows, too. By the first lane of the
 * warp that copies, which has the time and the registers for it.
 */

/**
 * Turns whose sequences the CTA adds up. They are a chain: a turn's link holds the turn before.
 */
export interface Claims {
  /** The last of the chain, counted from 1; 0 where there is none. */
  last: i32
  /** The turn that was claimed at last. */
  turn: i32
  /** Parts that had been claimed before, and those that are not the CTA's: looked at when it is needed, for memory takes its time. */
  before: i32
  others: i32
  /** Whether its sequence has many parts. */
  many: i32
}

export const noClaims = (): Claims => ({
  last: i32(0),
  turn: i32(-1),
  before: i32(0),
  others: i32(1),
  many: i32(0),
})

/** Whether the turn that was claimed at last is the CTA's. */
const hasLast = ({ before, others }: Claims): boolean => before === others

/** Parts of sequences whose rows are added up by all warps together, one after the other: more than these. */
const MANY_PARTS = 16

/** Of a counter those bits that count parts; rows that others than the last have taken are above. */
const PART_BITS = 16

const PART_MASK = (1 << PART_BITS) - 1

/** Beside rows and `ALL_ROWS`: none. */
const NO_ROW = -2

const hasMany = ({ parts }: Item): boolean => parts > MANY_PARTS

/** Where the counter of a sequence's parts is, and the link of its turn. */
const counterOf = ({ d }: Outputs, head: i32, pass: i32): i32 => 2 * (head * d.passes + pass)
const linkOf = (o: Outputs, head: i32, pass: i32): i32 => counterOf(o, head, pass) + 1

/**
 * Claims the parts of the step's item when its last unit is about to begin: so whoever is the last to do so has all other parts
 * within the time of a unit, and those who have them wait for nobody. Many are claimed when the first unit begins: whoever
 * finds that all of them have been may wait for them.
 */
export function claimParts(
  o: Outputs,
  claims: Claims,
  items: i32,
  step: i32,
  isFirst: boolean,
  isLast: boolean,
): void {
  const { a, c, d, m } = o
  const item = loadItem(m.items, step & 1)
  if (laneIdx === 0 && item.parts > 1 && (hasMany(item) ? isFirst : isLast)) {
    chainClaim(o, claims, items)
    const { head, pass } = placeOf(a, c, d, items, turnAt(step))
    const own = partsIn(item)
    // One lane's, but the compiler must not know, or it has all lanes wait for the answer to share it out.
    claims.before = atomicAdd(a.arrivals, [item.sequence, counterOf(o, head, pass) + laneIdx], own)
    claims.others = item.parts - own
    claims.turn = turnAt(step)
    claims.many = i32(hasMany(item))
    store(m.claimed, [0, 0], load(m.items, [step & 1, 0], ITEM_WORDS))
  }
}

/** Puts the turn that was claimed at last at the end of the chain, if its sequence is the CTA's. */
function chainClaim(o: Outputs, claims: Claims, items: i32): void {
  const { a, c, d, m } = o
  if (hasLast(claims)) {
    const { head, pass } = placeOf(a, c, d, items, claims.turn)
    a.arrivals.put(claims.last, m.claimed.at(0, SEQUENCE), linkOf(o, head, pass))
    claims.last = claims.turn + 1
    claims.others = claims.before + 1
  }
}

/**
 * Tells all warps whether the step's item, which is one of two halves, is the one that was claimed last; a barrier must follow.
 * Nobody adds its sequence up later, then.
 */
export function giveJoin(o: Outputs, claims: Claims, items: i32, step: i32): void {
  const { a, c, d, m } = o
  if (laneIdx === 0) {
    const joins = hasLast(claims)
    m.joins.put(i32(joins), 0)
    if (joins) {
      const { head, pass } = placeOf(a, c, d, items, turnAt(step))
      a.arrivals.put(0, loadItem(m.items, step & 1).sequence, counterOf(o, head, pass))
      claims.others = claims.before + 1
    }
  }
}

/** Gives the CTA's turns to the warps that add up (`mergeClaimed`), one after the other. By the warp that copies. */
export function giveClaimed(o: Outputs, claims: Claims, items: i32): void {
  const { a, c, d, m } = o
  const isLast = hasLast(claims)
  const helps = !isLast && claims.last === 0 && claims.turn >= 0
  if (laneIdx === 0) {
    if (isLast && claims.many === 0) {
      m.merged.put(claims.turn + 1, TURN)
      m.merged.put(ALL_ROWS, ROW)
    } else if (isLast || (helps && claims.many > 0)) {
      const { head, pass } = placeOf(a, c, d, items, claims.turn)
      const isGiven = giveTurn(o, head, pass, claims.turn, isLast)
      if (isLast && !isGiven) giveNext(o, claims, items, head, pass)
    } else giveChained(o, claims, items)
  }
  meet()
  let turn = m.merged.at(TURN)
  while (turn !== 0) {
    const { head, pass } = placeOf(a, c, d, items, turn - 1)
    meet()
    if (laneIdx === 0) {
      if (helps) m.merged.put(0, TURN)
      else if (m.merged.at(ROW) === ALL_ROWS || !giveTurn(o, head, pass, turn - 1, true))
        giveNext(o, claims, items, head, pass)
    }
    meet()
    turn = m.merged.at(TURN)
  }
}

/**
 * Gives what is to be done of the turn of which `claimed` has the item: a row that nobody has taken, where parts are many and all
 * claimed, or else all rows if they are the CTA's. Whether there was something; if not, the turn is 0.
 */
function giveTurn(o: Outputs, head: i32, pass: i32, turn: i32, isOwn: boolean): boolean {
  const { a, c, m } = o
  const item = loadItem(m.claimed, i32(0))
  const row = regs(1, isOwn ? i32(ALL_ROWS) : i32(NO_ROW))
  if (hasMany(item)) {
    row[0] = NO_ROW
    const at = [item.sequence, counterOf(o, head, pass)]
    const [seen] = load(a.arrivals, at, 1, { cache: 'relaxed' })
    if ((seen! & PART_MASK) === item.parts && seen! >>> PART_BITS < c.rows) {
      const before = atomicAdd(a.arrivals, at, i32(1 << PART_BITS))
      const taken = before >>> PART_BITS
      // The sequence may be done with by now, and its counter 0 again.
      if ((before & PART_MASK) !== item.parts) atomicAdd(a.arrivals, at, i32(-(1 << PART_BITS)))
      else if (taken < c.rows) row[0] = taken
    }
  }
  m.merged.put(row[0] === NO_ROW ? i32(0) : turn + 1, TURN)
  m.merged.put(row[0]!, ROW)
  return row[0] !== NO_ROW
}

/** Leaves a turn of the CTA's with nothing more to do, and gives the next one. */
function giveNext(o: Outputs, claims: Claims, items: i32, head: i32, pass: i32): void {
  o.a.arrivals.put(0, o.m.claimed.at(0, SEQUENCE), counterOf(o, head, pass))
  giveChained(o, claims, items)
}

/** Takes turns off the chain until one has something to do; gives 0 where there is none. */
function giveChained(o: Outputs, claims: Claims, items: i32): void {
  const { a, c, d, m } = o
  m.merged.put(0, TURN)
  let isGiven: i32 = 0
  while (claims.last !== 0 && isGiven === 0) {
    const turn = claims.last - 1
    const { item, head, pass } = placeOf(a, c, d, items, turn)
    const words = load(a.items, [item, 0], ITEM_WORDS)
    store(m.claimed, [0, 0], words)
    const at = [words[SEQUENCE]!, linkOf(o, head, pass)] as const
    const [before] = load(a.arrivals, at, 1, { cache: 'cg' })
    a.arrivals.put(0, ...at)
    claims.last = before!
    isGiven = i32(giveTurn(o, head, pass, turn, true))
    if (isGiven === 0) a.arrivals.put(0, words[SEQUENCE]!, counterOf(o, head, pass))
  }
}
