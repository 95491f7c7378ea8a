import { type In, type i32, idiv, load, type Shared } from '../../dsl/index.ts'
import { SPLIT, UNIT } from './arithmetic.ts'

/**
 * The work list of decode attention: items, each a run of splits of a sequence's context or of units of one split, those of
 * many pages first. Every key/value head goes through all of them.
 */

/** Units of a split. */
export const SPLIT_UNITS = SPLIT / UNIT

/** Their binary logarithm, and that of a unit's tokens. */
export const SPLIT_BITS = Math.log2(SPLIT_UNITS)
export const UNIT_BITS = Math.log2(UNIT)

/** Splits of an item at most. */
export const MOST_SPLITS = 4

/** Where the words of an item are. */
export const UNITS = 0
export const UNIT_INDEX = 1
export const FROM = 2
export const END = 3
export const COUNT = 4
export const TOKEN = 5
export const SEQUENCE = 6
export const SLOT = 7
export const FIRST_SLOT = 8
export const PARTS = 9
/** Of the word of the parts those below the length of runs. */
export const RUN_BITS = 24
export const PAGES = 10

/** Words of an item. */
export const ITEM_WORDS = 12

export type Items = In<i32, 'Items 12'>

/** What is attended to of an item. */
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
  /** The sequence's first query token in the step. */
  readonly token: i32
  readonly sequence: i32
  /**
   * Where the sums go if others have some of the sequence: the slot of the item's first part, that of the sequence's, and how
   * many there are. The first item of a sequence is a part, and of others each split; of items that begin within one each unit.
   */
  readonly slot: i32
  readonly firstSlot: i32
  readonly parts: i32
  /** Units of the runs that splits are cut into; a split's where they are not. */
  readonly run: i32
  /** The first unit's pages. */
  readonly pages: readonly [i32, i32]
}

/** An item of a list, or of a copy in shared memory. */
export function loadItem(items: Items | Shared<i32>, index: i32): Item {
  const words = load(items, [index, 0], ITEM_WORDS)
  return {
    units: words[UNITS]!,
    unit: words[UNIT_INDEX]!,
    from: words[FROM]!,
    end: words[END]!,
    count: words[COUNT]!,
    token: words[TOKEN]!,
    sequence: words[SEQUENCE]!,
    slot: words[SLOT]!,
    firstSlot: words[FIRST_SLOT]!,
    parts: words[PARTS]! & ((1 << RUN_BITS) - 1),
    run: words[PARTS]! >>> RUN_BITS,
    pages: [words[PAGES]!, words[PAGES + 1]!],
  }
}

/** Whether an item is its sequence's first. */
export const isFirst = ({ unit, from }: ItemExtent): boolean => unit * UNIT <= from

/** Whether each unit of an item is a part: those before them in their split are another item's. */
export const isApart = (item: ItemExtent): boolean => (item.unit & (SPLIT_UNITS - 1)) !== 0 && !isFirst(item)

/** Parts of a sequence of several items that an item stores. */
export function partsIn(item: ItemExtent): i32 {
  const ofOthers = isApart(item) ? item.units : idiv(item.units + SPLIT_UNITS - 1, SPLIT_UNITS)
  return isFirst(item) ? 1 : ofOthers
}

/** Whether each item of the sequence is one part of two: who claims the last one adds the other to it in registers. */
export const isHalf = ({ parts, run }: Item): boolean => parts === 2 && run === SPLIT_UNITS

/** The tokens of a unit that a query of the sequence sees: from, and end. */
export function liveOf(
  { from, end }: { readonly from: i32; readonly end: i32 },
  unit: i32,
): { readonly from: i32; readonly end: i32 } {
  const first = unit * UNIT
  return { from: Math.max(from - first, 0), end: Math.min(end - first, UNIT) }
}
