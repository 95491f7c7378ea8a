import type { CodeRange } from './grammar.ts'

/** Where the number of bytes changes, and what UTF-8 does not write. */
const lengths: readonly CodeRange[] = [
  [0, 0x7f],
  [0x80, 0x7ff],
  [0x800, 0xd7ff],
  [0xe000, 0xffff],
  [0x10000, 0x10ffff],
]

/** Ranges of characters as sequences of ranges of bytes, which together have the same texts. */
export function utf8Ranges(ranges: readonly CodeRange[]): CodeRange[][] {
  return ranges.flatMap(([low, high]) =>
    lengths.flatMap(([first, last]) =>
      low <= last && high >= first
        ? byteRanges(bytesOf(Math.max(low, first)), bytesOf(Math.min(high, last)))
        : [],
    ),
  )
}

const bytesOf = (code: number): readonly number[] => [...Buffer.from(String.fromCodePoint(code))]

/** From one sequence of bytes to another of the same length. */
function byteRanges(low: readonly number[], high: readonly number[]): CodeRange[][] {
  const [a, ...restLow] = low as [number, ...number[]]
  const [b, ...restHigh] = high as [number, ...number[]]
  if (restLow.length === 0) return [[[a, b]]]
  const least = restLow.map(() => 0x80)
  const most = restLow.map(() => 0xbf)
  const behind = (first: CodeRange, rests: CodeRange[][]) => rests.map((rest) => [first, ...rest])
  if (a === b) return behind([a, a], byteRanges(restLow, restHigh))
  const isWhole = (one: readonly number[], other: readonly number[]) =>
    one.every((byte, i) => byte === other[i])
  const from = isWhole(restLow, least) ? a : a + 1
  const to = isWhole(restHigh, most) ? b : b - 1
  return [
    ...(from === a ? [] : behind([a, a], byteRanges(restLow, most))),
    ...(from <= to ? behind([from, to], byteRanges(least, most)) : []),
    ...(to === b ? [] : behind([b, b], byteRanges(least, restHigh))),
  ]
}
