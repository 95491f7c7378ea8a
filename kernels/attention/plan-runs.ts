import { i32, idiv, range, type Shared, shared, unroll } from '../../dsl/index.ts'
import { MOST_TEAMS, ROUND_UNITS } from './rounds.ts'

/** Where the number of a team lies in a place. */
export const TEAM_BIT = 28

/**
 * How splits of fewer than eight units share rounds. A run is a number of rounds with the same pattern, such as 5 + 3, as
 * seen by one of its places: so many splits of one length, the first of which is in the run's first round, and so on.
 */
export interface Runs {
  /** [run, word]: length, rank of the first split among those of its length, splits, first round, first warp and team. */
  readonly words: Shared<i32>
  /** Runs, and rounds of all kinds. */
  readonly count: Shared<i32>
  /** Scratch: splits of each length that are left, and how many of them the pattern has. */
  readonly left: Shared<i32>
  readonly uses: Shared<i32>
}

const LENGTH = 0
const RANK = 1
const SPLITS = 2
const ROUND = 3
const WARP = 4
const WORDS = 5

/**
 * A pattern has eight places at most, and each one uses up the splits of a length but for fewer than it has of them; so
 * there are fewer than 8 + 4 + 2 + 2 + 1 + 1 + 1 + 7 patterns. Idle places are runs too, of length 0.
 */
const MOST_RUNS = 256

export const makeRuns = (): Runs => ({
  words: shared<i32>('i32', [MOST_RUNS, WORDS]),
  count: shared<i32>('i32', [2]),
  left: shared<i32>('i32', [ROUND_UNITS]),
  uses: shared<i32>('i32', [ROUND_UNITS]),
})

/**
 * Packs `totals[n]` splits of n units, 1 to 7, into rounds behind the `totals[0]` of eight units: always the longest that
 * are left, and beside them the longest that fit. By one thread.
 */
export function packRuns(runs: Runs, totals: Shared<i32>): void {
  let rounds: i32 = totals.at(0)
  let count: i32 = 0
  for (const length of unroll(1, ROUND_UNITS)) runs.left.put(totals.at(length), length)
  for (const step of unroll(ROUND_UNITS - 1)) {
    const longest = ROUND_UNITS - 1 - step
    while (runs.left.at(longest) > 0) {
      // The pattern: of each length as many as there are and as fit.
      let room: i32 = ROUND_UNITS
      let teams: i32 = MOST_TEAMS
      let repeats: i32 = 2 ** 30
      for (const at of unroll(longest)) {
        const length = longest - at
        const left = runs.left.at(length)
        const uses = Math.min(left, Math.min(teams, idiv(room, i32(length))))
        runs.uses.put(uses, length)
        room = room - uses * length
        teams = teams - uses
        if (uses > 0) repeats = Math.min(repeats, idiv(left, Math.max(uses, 1)))
      }
      let warp: i32 = 0
      let team: i32 = 0
      for (const at of unroll(longest)) {
        const length = longest - at
        const uses = runs.uses.at(length)
        const left = runs.left.at(length)
        const taken = totals.at(length) - left
        for (const place of range(uses)) {
          putRun(runs, count, [
            i32(length),
            taken + place * repeats,
            repeats,
            rounds,
            warp | (team << TEAM_BIT),
          ])
          count = count + 1
          warp = warp + length
          team = team + 1
        }
        runs.left.put(left - uses * repeats, length)
      }
      if (warp < ROUND_UNITS) {
        putRun(runs, count, [i32(0), i32(0), repeats, rounds, warp])
        count = count + 1
      }
      rounds = rounds + repeats
    }
  }
  runs.count.put(count, 0)
  runs.count.put(rounds, 1)
}

function putRun({ words }: Runs, run: i32, values: readonly i32[]): void {
  values.forEach((value, i) => {
    words.put(value, run, i)
  })
}

/**
 * Eight times the round, plus the first warp, of the split of `length` units with rank `rank` among those; from `TEAM_BIT` on
 * which team of the round it is.
 */
export function placeIn({ words, count }: Runs, length: i32, rank: i32): i32 {
  let place: i32 = 0
  for (const run of range(count.at(0))) {
    const past = rank - words.at(run, RANK)
    if (words.at(run, LENGTH) === length && past >= 0 && past < words.at(run, SPLITS))
      place = (words.at(run, ROUND) + past) * ROUND_UNITS + words.at(run, WARP)
  }
  return place
}

/** Calls `body` with the first idle warp of rounds `first` to `end` − 1, for each run of such. */
export function eachIdle({ words, count }: Runs, body: (first: i32, end: i32, warp: i32) => void): void {
  for (const run of range(count.at(0))) {
    if (words.at(run, LENGTH) === 0) {
      const first = words.at(run, ROUND)
      body(first, first + words.at(run, SPLITS), words.at(run, WARP))
    }
  }
}
