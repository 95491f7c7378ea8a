import { type In, type i32, load } from '../../dsl/index.ts'

/**
 * The work list of decode attention: rounds of up to eight units, one a warp. Units of one split are neighbours, a team of
 * warps that adds its units up; a round may have several teams, of different sequences.
 */

/** Units of a round. */
export const ROUND_UNITS = 8

/** Splits that share a round at most. */
export const MOST_TEAMS = 4

/** Words of an entry. */
export const ENTRY = 12

/** Where the words of an entry are. */
export const LIVE = 0
export const PAGE = 1
export const COUNT = 3
export const UNIT_INDEX = 4
export const TEAM = 5
export const TOKEN = 6
export const POSITION = 7
export const SEQUENCE = 8
export const SLOT = 9
export const FIRST_SLOT = 10
export const SPLITS = 11

/** What a warp needs to copy its unit. */
export interface UnitPages {
  /** Tokens of the unit that a query of the sequence sees: from, and end in the upper half; 0 for an idle warp. */
  readonly live: i32
  /** The unit's two pages. */
  readonly pages: readonly [i32, i32]
  /** Query tokens of the sequence. */
  readonly count: i32
}

/** A unit of a round. */
export interface RoundUnit extends UnitPages {
  /** Which unit of the sequence. */
  readonly unit: i32
  /** The first warp of the team; from bit 4 on which team of the round it is, and from bit 8 on its warps. */
  readonly team: i32
  /** The sequence's first query token in the step, and its position. */
  readonly token: i32
  readonly position: i32
  readonly sequence: i32
  /** Where the split's sums go if there are several: its slot, that of the first split, and how many. */
  readonly slot: i32
  readonly firstSlot: i32
  readonly splits: i32
}

export type Rounds = In<i32, 'Rounds 8 12'>

export function loadPages(rounds: Rounds, round: i32, warp: i32): UnitPages {
  const words = load(rounds, [round, warp, LIVE], 4)
  return { live: words[LIVE]!, pages: [words[PAGE]!, words[PAGE + 1]!], count: words[COUNT]! }
}

export function loadUnit(rounds: Rounds, round: i32, warp: i32): RoundUnit {
  const words = load(rounds, [round, warp, 0], ENTRY)
  return {
    live: words[LIVE]!,
    pages: [words[PAGE]!, words[PAGE + 1]!],
    count: words[COUNT]!,
    unit: words[UNIT_INDEX]!,
    team: words[TEAM]!,
    token: words[TOKEN]!,
    position: words[POSITION]!,
    sequence: words[SEQUENCE]!,
    slot: words[SLOT]!,
    firstSlot: words[FIRST_SLOT]!,
    splits: words[SPLITS]!,
  }
}

/** A team's first warp, which of the round it is, and its warps. */
export const teamOf = ({ team }: RoundUnit) => ({
  first: team & 15,
  number: (team >>> 4) & 15,
  warps: team >>> 8,
})
