/** The middle one of some numbers, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('no numbers have no median')
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** A median of samples, and where the median of all that could have been drawn lies, 19 times in 20. */
export interface Estimate {
  readonly median: number
  /** 0 and infinity while there are fewer than six samples, which bound nothing. */
  readonly low: number
  readonly high: number
  readonly samples: number
}

/**
 * The 95 % interval of a median from its order statistics: of n samples, as many lie below the median of what they are
 * drawn from as a fair coin shows heads. It supposes nothing of the distribution, and times of a GPU have a long tail.
 */
export function estimate(values: readonly number[]): Estimate {
  const sorted = [...values].sort((a, b) => a - b)
  const rank = cutRank(sorted.length)
  const known = rank >= 0
  return {
    median: median(sorted),
    low: known ? sorted[rank]! : 0,
    high: known ? sorted[sorted.length - 1 - rank]! : Number.POSITIVE_INFINITY,
    samples: sorted.length,
  }
}

/** How many samples at either end an interval of 95 % leaves out; −1 where even the whole range is no such interval. */
function cutRank(n: number): number {
  let term = 0.5 ** n
  let tail = term
  let rank = -1
  while (2 * tail <= 0.05) {
    rank++
    term = (term * (n - rank)) / (rank + 1)
    tail += term
  }
  return rank
}
