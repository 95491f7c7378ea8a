import { type Estimate, estimate as estimateOf, median } from './statistics.ts'

/** How a race ended for one candidate. */
export interface Finish<T> {
  readonly candidate: T
  readonly estimate: Estimate
  /** Whether it ran to the end; the others were left behind on the way. */
  readonly finished: boolean
}

export interface RaceOptions {
  /** Samples of each candidate that is still in the race at its end. */
  readonly rounds: number
  /** Candidates whose medians lie so close together, as a fraction, may end in a tie before that. */
  readonly tie: number
}

const defaultRace: RaceOptions = { rounds: 21, tie: 0.01 }

/** After so many rounds, the slower half leaves, and who is slower than the best by this factor. */
const cuts: Readonly<Record<number, number>> = { 2: 1.25, 4: 1.1 }
/** Halving leaves so many: the few that are recorded. */
const leastAfterHalving = 4
/** An interval of the median needs six samples. */
const firstIntervals = 7

/**
 * Finds the fastest of some candidates with few samples of the slow ones.
 *
 * Every round takes one sample of each that is still in the race, one after the other, so that a clock that falls
 * meanwhile slows all of them. After two and after four rounds the slower half leaves (successive halving); from the
 * seventh on, everyone whose interval lies above that of the best. The race ends when one is left, at a tie, or after
 * `rounds`.
 *
 * Who has left has been timed at another clock than the end of the race. Its times are told in proportion to those of the
 * winner in the same rounds, and never as faster than the winner's.
 *
 * @param sample takes one time of each of the candidates, in order.
 * @returns those that ran to the end before those that left, each by median.
 */
export async function race<T>(
  candidates: readonly T[],
  sample: (live: readonly T[]) => Promise<readonly number[]>,
  { rounds, tie }: RaceOptions = defaultRace,
): Promise<Finish<T>[]> {
  const samples = new Map<T, number[]>(candidates.map((candidate) => [candidate, []]))
  const of = (candidate: T) => estimateOf(samples.get(candidate)!)
  let live = [...candidates]
  for (let round = 1; round <= rounds && live.length > 0; round++) {
    const times = await sample(live)
    live.forEach((candidate, i) => {
      samples.get(candidate)!.push(times[i]!)
    })
    live = survivors(live, round, of)
    if (round >= firstIntervals && (live.length === 1 || isTie(live.map(of), tie))) break
  }
  const finished = live
    .map((candidate) => ({ candidate, estimate: of(candidate), finished: true }))
    .sort(byMedian)
  const [winner] = finished
  if (!winner) return []
  const left = candidates
    .filter((candidate) => !live.includes(candidate))
    .map((candidate) => {
      const own = samples.get(candidate)!
      const then = median(samples.get(winner.candidate)!.slice(0, own.length))
      const estimate = scaled(estimateOf(own), winner.estimate.median / then, winner.estimate.median)
      return { candidate, estimate, finished: false }
    })
  return [...finished, ...left.sort(byMedian)]
}

/** Of those that a race left close together, the fastest are timed again alone. */
const mostRested = 10
const closeBehind = 1.05

/**
 * A race whose candidates took each other's power: the first of those close to the winner are timed again by `alone`, and all
 * others told in proportion to the winner's times then and now.
 */
export async function raceAlone<T>(
  finishes: readonly Finish<T>[],
  alone: (close: readonly T[]) => Promise<readonly number[] | undefined>,
): Promise<readonly Finish<T>[]> {
  const [winner] = finishes
  if (!winner) return finishes
  const most = closeBehind * winner.estimate.median
  const close = finishes.filter(({ estimate }) => estimate.median <= most).slice(0, mostRested)
  const times = await alone(close.map(({ candidate }) => candidate))
  if (!times) return finishes
  const exactly = (us: number): Estimate => ({
    median: us,
    low: 0,
    high: Number.POSITIVE_INFINITY,
    samples: 1,
  })
  const rested = close.map((finish, i) => ({ ...finish, estimate: exactly(times[i]!), finished: true }))
  const left = finishes.filter((finish) => !close.includes(finish))
  const factor = times[0]! / winner.estimate.median
  const best = Math.min(...times)
  return [
    ...rested.sort(byMedian),
    ...left.map((finish) => ({ ...finish, estimate: scaled(finish.estimate, factor, best) })).sort(byMedian),
  ]
}

const byMedian = (a: { readonly estimate: Estimate }, b: { readonly estimate: Estimate }): number =>
  a.estimate.median - b.estimate.median

const scaled = (
  { median: middle, low, high, samples }: Estimate,
  factor: number,
  least: number,
): Estimate => ({
  median: Math.max(least, factor * middle),
  low: factor * low,
  high: Math.max(least, factor * high),
  samples,
})

function survivors<T>(live: readonly T[], round: number, of: (candidate: T) => Estimate): T[] {
  const ordered = [...live].sort((a, b) => of(a).median - of(b).median)
  const best = of(ordered[0]!)
  const cut = cuts[round]
  if (cut !== undefined) {
    const half = Math.max(leastAfterHalving, Math.ceil(live.length / 2))
    return ordered.slice(0, half).filter((candidate) => of(candidate).median <= cut * best.median)
  }
  if (round < firstIntervals) return ordered
  return ordered.filter((candidate) => of(candidate).low <= best.high)
}

function isTie(estimates: readonly Estimate[], tie: number): boolean {
  const medians = estimates.map(({ median }) => median)
  return Math.max(...medians) <= (1 + tie) * Math.min(...medians)
}
