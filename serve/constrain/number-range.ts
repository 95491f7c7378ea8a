import { choice, type Grammar, never, oneOf, optional, repeat, sequence } from './grammar.ts'
import { digit, mostDigits } from './json-text.ts'

/** A bound of numbers; strict ones are not met themselves. */
export interface Bound {
  readonly value: number
  readonly strict: boolean
}

export interface NumberRange {
  readonly least?: Bound | undefined
  readonly most?: Bound | undefined
}

/** Whole numbers in a range, as JSON writes them. */
export function integersIn({ least, most }: NumberRange): Grammar {
  const low = least && ceiling(least)
  const high = most && floor(most)
  const positive = naturals(low === undefined || low < 0n ? 0n : low, high)
  const negative = naturals(
    high === undefined || high >= 0n ? 1n : -high,
    low === undefined ? undefined : -low,
  )
  return choice(positive, sequence('-', negative))
}

function ceiling({ value, strict }: Bound): bigint {
  const whole = BigInt(Math.ceil(value))
  return strict && Number.isInteger(value) ? whole + 1n : whole
}

const floor = ({ value, strict }: Bound): bigint => -ceiling({ value: -value, strict })

const limit = 10n ** BigInt(mostDigits) - 1n

/** Numbers from `low` to `high`, none of them negative, of no more digits than are safe. */
function naturals(low: bigint, high: bigint = limit): Grammar {
  const top = high > limit ? limit : high
  if (top < low) return never
  const options: Grammar[] = []
  // Numbers of one length at a time.
  for (let length = low.toString().length; length <= top.toString().length; length++) {
    const first = length === 1 ? 0n : 10n ** BigInt(length - 1)
    const last = 10n ** BigInt(length) - 1n
    const from = low > first ? low : first
    const to = top < last ? top : last
    options.push(between(from.toString(), to.toString()))
  }
  return choice(...options)
}

/** Digits from `low` to `high`, which have the same length. */
function between(low: string, high: string): Grammar {
  const rest = low.length - 1
  const anything = repeat(digit, rest, rest)
  if (low === high) return sequence(low)
  if (rest === 0) return oneOf([low, high])
  const [a, b] = [low[0]!, high[0]!]
  if (a === b) return sequence(a, between(low.slice(1), high.slice(1)))
  const freeLow = /^0*$/.test(low.slice(1))
  const freeHigh = /^9*$/.test(high.slice(1))
  const from = freeLow ? a : next(a)
  const to = freeHigh ? b : previous(b)
  return choice(
    freeLow ? never : sequence(a, between(low.slice(1), '9'.repeat(rest))),
    from <= to ? sequence(oneOf([from, to]), anything) : never,
    freeHigh ? never : sequence(b, between('0'.repeat(rest), high.slice(1))),
  )
}

const next = (character: string): string => String(Number(character) + 1)
const previous = (character: string): string => String(Number(character) - 1)

/** Numbers in a range, as JSON writes them without an exponent. */
export function numbersIn({ least, most }: NumberRange): Grammar {
  const negated = (bound: Bound | undefined) => bound && { value: -bound.value, strict: bound.strict }
  return choice(
    decimals(least && least.value >= 0 ? least : { value: 0, strict: false }, most),
    // A zero is written without its sign.
    sequence(
      '-',
      decimals(most && most.value < 0 ? negated(most)! : { value: 0, strict: true }, negated(least)),
    ),
  )
}

/** Decimals that are not negative. */
function decimals(least: Bound, most: Bound | undefined): Grammar {
  if (most && (most.value < least.value || (most.value === least.value && (most.strict || least.strict))))
    return never
  const low = split(least.value)
  const high = most && split(most.value)
  const lowPlaces = placesAfter(low.whole)
  if (high && high.whole === low.whole)
    return sequence(
      low.whole.toString(),
      fractionBetween(low.fraction, least.strict, high.fraction, most!.strict, lowPlaces),
    )
  const highPlaces = high ? placesAfter(high.whole) : mostDigits
  return choice(
    sequence(low.whole.toString(), fractionFrom(low.fraction, least.strict, lowPlaces)),
    sequence(
      naturals(low.whole + 1n, high && high.whole - 1n),
      optional(sequence('.', repeat(digit, 1, highPlaces))),
    ),
    high ? sequence(high.whole.toString(), fractionTo(high.fraction, most!.strict, highPlaces)) : never,
  )
}

/**
 * Digits behind the point beside a bound. Doubles tell decimals of no more digits apart, so that what is below a bound as
 * it is written is below it as it is read.
 */
const placesAfter = (whole: bigint): number => Math.max(1, mostDigits - whole.toString().length)

/** A number's digits before and behind its point. */
function split(value: number): { whole: bigint; fraction: string } {
  const whole = BigInt(Math.floor(value))
  const written = value >= 1e-6 ? String(value) : value.toFixed(100)
  const [, fraction = ''] = written.includes('e') ? [] : written.split('.')
  return { whole, fraction: fraction.replace(/0+$/, '') }
}

/** A fraction that is at least `.low`, or above it. */
function fractionFrom(low: string, strict: boolean, places: number): Grammar {
  const digits = digitsFrom(low, strict, places)
  return low === '' && !strict ? optional(sequence('.', digits)) : sequence('.', digits)
}

/** A fraction that is at most `.high`, or below it. */
function fractionTo(high: string, strict: boolean, places: number): Grammar {
  if (high === '' && strict) return never
  return optional(sequence('.', digitsTo(high, strict, places)))
}

function fractionBetween(
  low: string,
  strictLow: boolean,
  high: string,
  strictHigh: boolean,
  places: number,
): Grammar {
  const digits = digitsBetween(low, strictLow, high, strictHigh, places)
  return low === '' && !strictLow && !(high === '' && strictHigh)
    ? optional(sequence('.', digits))
    : sequence('.', digits)
}

/** One to `places` digits that, behind a point, are at least `low`. */
function digitsFrom(low: string, strict: boolean, places: number): Grammar {
  if (places <= 0) return never
  if (low === '') return strict ? withNonZero(places) : repeat(digit, 1, places)
  const [first, rest] = [low[0]!, low.slice(1)]
  const more = first === '9' ? never : sequence(oneOf([next(first), '9']), repeat(digit, 0, places - 1))
  const same = sequence(
    first,
    rest === '' && !strict
      ? optional(digitsFrom('', false, places - 1))
      : digitsFrom(rest, strict, places - 1),
  )
  return choice(more, same)
}

/** One to `places` digits of which one is not zero. */
const withNonZero = (places: number): Grammar =>
  choice(
    ...Array.from({ length: places }, (_, zeros) =>
      sequence('0'.repeat(zeros), oneOf(['1', '9']), repeat(digit, 0, places - 1 - zeros)),
    ),
  )

/** One to `places` digits that, behind a point, are at most `high`. */
function digitsTo(high: string, strict: boolean, places: number): Grammar {
  if (places <= 0) return never
  if (high === '') return strict ? never : repeat('0', 1, places)
  const [first, rest] = [high[0]!, high.slice(1)]
  const less = first === '0' ? never : sequence(oneOf(['0', previous(first)]), repeat(digit, 0, places - 1))
  // To end here is to be below what goes on.
  const tail = digitsTo(rest, strict, places - 1)
  const same = rest === '' && strict ? never : sequence(first, optional(tail))
  return choice(less, same)
}

function digitsBetween(
  low: string,
  strictLow: boolean,
  high: string,
  strictHigh: boolean,
  places: number,
): Grammar {
  if (places <= 0) return never
  if (low === '' && !strictLow) return digitsTo(high, strictHigh, places)
  const [a, b] = [low[0] ?? '0', high[0] ?? '0']
  const [restLow, restHigh] = [low.slice(1), high.slice(1)]
  if (a > b) return never
  if (a === b) {
    // Past the end of both nothing is left to be above.
    if (low === '' && high === '') return never
    const tail = digitsBetween(restLow, strictLow, restHigh, strictHigh, places - 1)
    const mayEnd = restLow === '' && !strictLow && !(restHigh === '' && strictHigh)
    return sequence(a, mayEnd ? optional(tail) : tail)
  }
  const inner = next(a) <= previous(b) ? [next(a), previous(b)] : undefined
  return choice(
    sequence(
      a,
      restLow === '' && !strictLow
        ? optional(digitsFrom('', false, places - 1))
        : digitsFrom(restLow, strictLow, places - 1),
    ),
    inner ? sequence(oneOf([inner[0]!, inner[1]!]), repeat(digit, 0, places - 1)) : never,
    restHigh === '' && strictHigh ? never : sequence(b, optional(digitsTo(restHigh, strictHigh, places - 1))),
  )
}
