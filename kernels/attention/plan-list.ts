import {
  atomicAdd,
  ballot,
  type i32,
  idiv,
  laneIdx,
  leadingZeros,
  range,
  type Shared,
  shuffle,
  store,
} from '../../dsl/index.ts'
import { PAGE_TOKENS } from '../formats/kv.ts'
import { UNIT } from './arithmetic.ts'
import { RUN_BITS } from './items.ts'
import { type Cut, type PerItem, partsBefore, type Sizes } from './plan-cuts.ts'
import type { PlanArguments, Sequence } from './plan-sequences.ts'

/** Writes the items of a sequence to their places; `slots` counts those of partial sums that are taken. By whole warps. */
export function writeItems(
  a: PlanArguments,
  slots: Shared<i32>,
  own: Sequence,
  sizes: Sizes,
  cut: Cut,
  { head, between, tail }: PerItem,
  placeOf: (rank: i32) => i32,
): void {
  const slot = cut.parts > 1 ? atomicAdd(slots, [0], cut.parts) : 0
  const { run } = sizes
  const parts = { sizes, firstSlot: slot, parts: cut.parts, next: cut.next }
  if (cut.head > 0) writeItem(a, own, parts, { place: placeOf(head), unit: own.firstUnit, units: cut.head })
  if (cut.tail > 0)
    writeItem(a, own, parts, {
      place: placeOf(tail),
      unit: own.lastUnit - cut.tail + 1,
      units: cut.tail,
    })
  // Those of long contexts are written by all lanes.
  let left = ballot(cut.between > 0)
  while (left !== 0) {
    const lane = 31 - leadingZeros(left & (0 - left))
    left = left & (left - 1)
    const of = (value: i32): i32 => shuffle(value, lane)
    const theirs: Sequence = {
      sequence: of(own.sequence),
      token: of(own.token),
      count: of(own.count),
      from: of(own.from),
      end: of(own.end),
      firstUnit: of(own.firstUnit),
      lastUnit: of(own.lastUnit),
    }
    const theirParts = { sizes, firstSlot: of(slot), parts: of(cut.parts), next: of(cut.next) }
    const [items, first] = [of(cut.between), of(between)]
    for (const i of range(laneIdx, items, 32))
      writeItem(a, theirs, theirParts, {
        place: placeOf(first + i),
        unit: theirParts.next + i * run,
        units: run,
      })
  }
}

function writeItem(
  a: PlanArguments,
  { sequence, token, count, from, end, firstUnit }: Sequence,
  {
    sizes,
    firstSlot,
    parts,
    next,
  }: { readonly sizes: Sizes; readonly firstSlot: i32; readonly parts: i32; readonly next: i32 },
  { place, unit, units }: { readonly place: i32; readonly unit: i32; readonly units: i32 },
): void {
  const page = unit * (UNIT / PAGE_TOKENS)
  const lastPage = idiv(end - 1, PAGE_TOKENS)
  const pages = [page, Math.min(page + 1, lastPage)].map((at) => a.pages.at(sequence, at))
  const before = 1 + partsBefore(unit, sizes) - partsBefore(next, sizes)
  const slot = unit === firstUnit ? firstSlot : firstSlot + before
  store(
    a.items,
    [place, 0],
    [
      ...[
        units,
        unit,
        from,
        end,
        count,
        token,
        sequence,
        slot,
        firstSlot,
        parts | (sizes.inSplit << RUN_BITS),
      ],
      ...pages,
    ],
  )
}
