import { type In, type i32, load, type Shared } from '../../dsl/index.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { SPLIT, UNIT } from './arithmetic.ts'

/**
 * The work list of decode attention: items, each a split of a sequence's context, those of many units first. Every key/value
 * head goes through all of them.
 */

/** Units of an item at most. */
export const ITEM_UNITS = SPLIT / UNIT

/** Where the words of an item are. */
export const UNITS = 0
export const UNIT_INDEX = 1
export const FROM = 2
export const END = 3
export const COUNT = 4
export const TOKEN = 5
export const POSITION = 6
export const SEQUENCE = 7
export const SLOT = 8
export const FIRST_SLOT = 9
export const SPLITS = 10
/** From here on two pages of each unit. */
export const PAGES = 12

/** Words of an item. */
export const ITEM_WORDS = PAGES + (ITEM_UNITS * UNIT) / PAGE_TOKENS

export type Items = In<i32, 'Items 28'>

/** What is copied of an item. */
export interface ItemExtent {
  /** Units that queries see something of, and which of the sequence is the first. */
  readonly units: i32
  readonly unit: i32
  /** The first token that a query of the sequence sees, and the end of the context. */
  readonly from: i32
  readonly end: i32
  /** Query tokens of the sequence. */
  readonly count: i32
}

export interface Item extends ItemExtent {
  /** The sequence's first query token in the step, and its position. */
  readonly token: i32
  readonly position: i32
  readonly sequence: i32
  /** Where the split's sums go if there are several: its slot, that of the first split, and how many. */
  readonly slot: i32
  readonly firstSlot: i32
  readonly splits: i32
}

export function loadExtent(items: Items | Shared<i32>, index: i32): ItemExtent {
  const words = load(items, [index, 0], 4)
  const [count] = load(items, [index, COUNT], 1)
  return {
    units: words[UNITS]!,
    unit: words[UNIT_INDEX]!,
    from: words[FROM]!,
    end: words[END]!,
    count: count!,
  }
}

/** An item of a list, or of a copy of its first words in shared memory. */
export function loadItem(items: Items | Shared<i32>, index: i32): Item {
  const words = load(items, [index, 0], PAGES)
  return {
    units: words[UNITS]!,
    unit: words[UNIT_INDEX]!,
    from: words[FROM]!,
    end: words[END]!,
    count: words[COUNT]!,
    token: words[TOKEN]!,
    position: words[POSITION]!,
    sequence: words[SEQUENCE]!,
    slot: words[SLOT]!,
    firstSlot: words[FIRST_SLOT]!,
    splits: words[SPLITS]!,
  }
}

/** The tokens of a unit that a query of the sequence sees: from, and end in the upper half. */
export function liveOf(
  { from, end }: { readonly from: i32; readonly end: i32 },
  unit: i32,
): { readonly from: i32; readonly end: i32 } {
  const first = unit * UNIT
  return { from: Math.max(from - first, 0), end: Math.min(end - first, UNIT) }
}
