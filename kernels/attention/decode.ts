import {
  barrier,
  type Elem,
  type f16,
  type f32,
  gridDim,
  type In,
  type InOut,
  i32,
  idiv,
  kernel,
  laneIdx,
  launchDependents,
  type Out,
  range,
  regs,
  threadIdx,
  u32,
  waitForPrevious,
  warpIdx,
} from '../../dsl/index.ts'
import {
  copyBlocks,
  firstBlock,
  hasEngine,
  initBlockRing,
  makeBlockRing,
  placeOf,
  startCopies,
  turnAt,
  unitsIn,
} from './decode-copies.ts'
import { meet } from './decode-lanes.ts'
import { makeDecodeMemory } from './decode-memory.ts'
import { loadFirstQuery, prepareQueries, queryWords } from './decode-queries.ts'
import { checkDecode, DECODE_THREADS, type DecodeConfig, decodeShape, WARPS } from './decode-shape.ts'
import {
  announceParts,
  giveAnswer,
  giveRowSums,
  mergeParts,
  noPending,
  putPart,
  putRows,
} from './decode-sums.ts'
import { addSplit, attendUnit, clearSums, loadItemQuery, noSums } from './decode-unit.ts'
import { ITEM_WORDS, type ItemExtent, isFirst, loadItem, SPLIT_UNITS } from './items.ts'

/**
 * Attention over paged keys and values for sequences with few query tokens: query heads and tokens that share a key/value
 * head are multiplied together, so that each code is read and unpacked once.
 *
 * CTAs take the items that `planAttention` has listed, each for every key/value head, in turns. A CTA goes through the units
 * of an item's splits in order and keeps their sums in registers; what sequences of several items have is added up by the
 * last to arrive. A row's result depends on its own context alone (`arithmetic.ts`).
 *
 * `partials` and `arrivals` are described at `decodeConfig`.
 */
export const decodeAttention = kernel(
  import.meta.url,
  {
    grid: (_, c: DecodeConfig) => [c.ctas],
    block: [DECODE_THREADS],
    blocksPerMultiprocessor: (c) => c.ctasPerMultiprocessor,
  },
  function decodeAttention(
    a: {
      q: In<Elem<'dtype'>, 'T HqD'>
      kv: In<Elem<'kvElement'>, 'Pages Hkv 2 PB'>
      kvParams?: In<f16, 'Pages Hkv 2 64 2'>
      pages: In<i32, 'B MaxPages'>
      items: In<i32, 'Items 12'>
      itemCount: In<i32, '1'>
      /** Tokens that a query sees, itself included. */
      window: i32
      /** Factor of the scores, usually 1/√D. */
      scale: f32
      partials: InOut<f32, 'Slots PartialRows PartialColumns'>
      arrivals: InOut<i32, 'B Counters'>
      out: Out<Elem<'dtype'>, 'T HqD'>
    },
    c: DecodeConfig,
  ) {
    checkDecode(c)
    const d = decodeShape(c)
    const ring = makeBlockRing(c, d)
    const o = { a, c, d, m: makeDecodeMemory(c, d), ring }
    if (threadIdx.x === 0) initBlockRing(c, ring)
    barrier()
    if (hasEngine()) {
      waitForPrevious()
      launchDependents()
    }

    const items = a.itemCount.at(0)
    if (warpIdx >= WARPS) {
      if (hasEngine()) copyBlocks(a, c, d, ring, items)
      return
    }
    const stream = hasEngine() ? undefined : startCopies(a, c, d, ring, items)
    const turns = items * (c.Hkv * d.passes)
    const placeAt = (step: i32) => placeOf(a, c, d, items, turnAt(step))
    const rowsAt = (step: i32) => ({ ...placeAt(step), item: loadItem(o.m.items, step & 1) })
    // One warp reads the next item's words long before they are needed.
    const readsItems = warpIdx === 1 && laneIdx < ITEM_WORDS
    const readWord = (step: i32): i32 => (readsItems ? a.items.at(placeAt(step).item, laneIdx) : 0)
    const giveWord = (step: i32, word: i32): void => {
      if (readsItems) o.m.items.put(word, step & 1, laneIdx)
    }
    giveWord(i32(0), readWord(i32(0)))
    meet()
    const first = regs(queryWords(c), u32(0))
    const readQuery = (step: i32): void => {
      if (turnAt(step) < turns) {
        loadFirstQuery(o, rowsAt(step)).forEach((word, i) => {
          first[i] = word
        })
      }
    }
    readQuery(i32(0))

    const at = firstBlock()
    const pending = noPending()
    const merge = () => {
      const { item, ...place } = placeOf(a, c, d, items, pending.turn)
      if (o.m.isLast.at(0) !== 0) mergeParts(o, { ...place, item: loadItem(a.items, item) })
      pending.turn = -1
    }
    for (const step of range(idiv(turns + gridDim.x - 1, gridDim.x))) {
      const turn = turnAt(step)
      const extent: ItemExtent = loadItem(o.m.items, step & 1)
      const { pass } = placeAt(step)
      const units = turn < turns ? unitsIn(c, d, pass, extent) : 0
      const word = readWord(step + 1)
      if (units > 0) {
        prepareQueries(o, rowsAt(step), first)
        meet()
        giveWord(step + 1, word)
        const query = loadItemQuery(o)
        const sums = noSums(d)
        const total = noSums(d)
        let stored: i32 = 0
        for (const i of range(units)) {
          const unit = extent.unit + i
          attendUnit(o, stream, at, query, sums, { extent, pass, unit })
          if (i === 0) readQuery(step + 1)
          if ((unit & (SPLIT_UNITS - 1)) === SPLIT_UNITS - 1 || i === units - 1) {
            if (isFirst(extent)) addSplit(o, total, sums)
            else {
              giveRowSums(o, sums)
              meet()
              const rows = rowsAt(step)
              putPart(o, rows, rows.item.slot + stored, sums)
              stored = stored + 1
              clearSums(d, sums)
            }
          }
        }
        if (isFirst(extent)) giveRowSums(o, total)
        if (pending.turn >= 0) giveAnswer(o, pending)
        meet()
        if (pending.turn >= 0) merge()
        const rows = rowsAt(step)
        if (rows.item.parts === 1) putRows(o, rows, total)
        else {
          if (isFirst(extent)) {
            putPart(o, rows, rows.item.slot, total)
            stored = 1
            meet()
          }
          announceParts(o, rows, pending, { turn, stored })
        }
      } else {
        // The word's place may still be read: it was the item's before.
        meet()
        giveWord(step + 1, word)
        meet()
        readQuery(step + 1)
      }
    }
    if (pending.turn >= 0) {
      giveAnswer(o, pending)
      meet()
      merge()
    }
  },
)
