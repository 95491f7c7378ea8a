import {
  barrier,
  blockDim,
  f32,
  i32,
  laneIdx,
  leadingZeros,
  load,
  range,
  reduxAdd,
  reduxMax,
  type Shared,
  shared,
  u32,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'

/**
 * Cuts through a row: which logits are kept is said by the smallest that is. Cuts are searched over the bit patterns of
 * floats, whose counts and masses above are integers, so that no order of additions matters.
 */

/** Device: bits whose unsigned order is the order of floats, −∞ first and +∞ last; −0 and 0 are one. */
export function orderedBits(x: f32): u32 {
  const bits = u32.bits(x)
  return x === 0 ? u32(0x80000000) : bits >>> 31 === u32(1) ? ~bits : bits | 0x80000000
}

/** Ordered bits of the least finite number. */
export const LEAST_BITS = 0x00800000

/** Device: the float of ordered bits; what lies below the least finite number gives that. */
export function floatOfBits(ordered: u32): f32 {
  const bits = Math.max(ordered, u32(LEAST_BITS))
  return f32.bits(bits >>> 31 === u32(1) ? bits ^ 0x80000000 : ~bits)
}

/** Integers to add up over a CTA: the tallies of one cut. */
export type Tally = readonly i32[]

/** Device: a weight of 0 to 1 in units of 2⁻³¹. */
export const fixedWeight = (weight: f32): u32 => u32(weight * 2 ** 31)

/** Device: such a weight as two integers, of which the sums of 2¹⁵ weights still are integers of 32 bits. */
export const tallyOf = (fixed: u32): Tally => [i32(fixed >>> 16), i32(fixed & 0xffff)]

/** Device: the mass whose parts were added up. */
export function massOf(tally: Tally): f32 {
  return f32(tally[0]!) * 2 ** -15 + f32(tally[1]!) * 2 ** -31
}

/** Device: adds tallies of one kind. */
export function addTally(sum: i32[], tally: Tally, counts: boolean): void {
  for (const i of unroll(tally.length)) sum[i] = sum[i]! + (counts ? tally[i]! : 0)
}

/** Shared memory for the sums of one cut's search. */
export type CutScratch = Shared<i32>

/** Most integers that a turn adds up: three cuts of two tallies each. */
const MOST_TALLIES = 6

export function makeCutScratch(): CutScratch {
  return shared<i32>('i32', [2, MOST_TALLIES, blockDim.x / 32])
}

/** Device: the sums over all threads of the CTA. Two turns that follow each other use different `half`s of the scratch. */
export function sumTallies(scratch: CutScratch, half: i32, tallies: readonly i32[]): i32[] {
  const warps = blockDim.x / 32
  const sums = tallies.map((tally) => reduxAdd(tally))
  if (laneIdx === 0) for (const i of unroll(sums.length)) scratch.put(sums[i]!, half, i, warpIdx)
  barrier()
  return sums.map((_, i) => load(scratch, [half, i, 0], warps).reduce((a, b) => a + b))
}

/** Device: the largest of the threads' ordered bits, and the smallest above −∞; holds a barrier. */
export function extentOf(scratch: CutScratch, bits: readonly u32[]): { largest: u32; smallest: u32 } {
  const most = bits.reduce((a, b) => Math.max(a, b))
  // Of complements the largest is that of the smallest; what is −∞ or nothing counts as above all.
  const least = bits.map((each) => (each >= LEAST_BITS ? ~each : u32(0))).reduce((a, b) => Math.max(a, b))
  const warps = blockDim.x / 32
  const each = [reduxMax(most), reduxMax(least)]
  if (laneIdx === 0) for (const i of unroll(2)) scratch.put(i32(each[i]!), 0, i, warpIdx)
  barrier()
  const [largest, smallest] = each.map((_, i) =>
    load(scratch, [0, i, 0], warps)
      .map((value) => u32(value))
      .reduce((a, b) => Math.max(a, b)),
  ) as [u32, u32]
  return { largest, smallest: ~smallest }
}

/** Device: what of a search is left between two ordered bits: leading bits that they share need none. */
export function searchBetween(largest: u32, smallest: u32): { prefix: u32; turns: i32 } {
  const turns = 16 - (leadingZeros(largest ^ smallest) >> 1)
  return { prefix: largest & ~((u32(1) << u32(2 * turns)) - 1), turns }
}

/**
 * Device: the largest cut that `enough` accepts of what `tally` counts at or above it, or `prefix` where it accepts none.
 * Two bits a turn, three cuts at a time, from bit 2 · `turns` down to bit `2 · end`; higher bits are those of `prefix`.
 */
export function largestCut(
  scratch: CutScratch,
  { prefix, turns, end = 0 }: { readonly prefix: u32; readonly turns: i32; readonly end?: number },
  tally: (cuts: readonly u32[]) => readonly Tally[],
  enough: (sums: Tally) => boolean,
): u32 {
  let cut = u32(prefix)
  // The last search's sums may still be read.
  barrier()
  for (const turn of range(turns - end)) {
    const shift = u32(2 * (turns - 1 - turn))
    const cuts = [1, 2, 3].map((digit) => cut | (u32(digit) << shift))
    const tallies = tally(cuts)
    const width = tallies[0]!.length
    const sums = sumTallies(scratch, turn & 1, tallies.flat())
    for (const i of unroll(3)) cut = enough(sums.slice(width * i, width * (i + 1))) ? cuts[i]! : cut
  }
  return cut
}
