import {
  barrier,
  type Elem,
  type f16,
  type f32,
  gridDim,
  type In,
  type InOut,
  type i32,
  idiv,
  kernel,
  launchDependents,
  type Out,
  range,
  threadIdx,
  waitForPrevious,
} from '../../dsl/index.ts'
import {
  firstBlock,
  hasEngine,
  initBlockRing,
  makeBlockRing,
  placeOf,
  startStream,
  turnAt,
  unitsIn,
} from './decode-copies.ts'
import { makeDecodeMemory } from './decode-memory.ts'
import { loadFirstQuery, prepareQueries } from './decode-queries.ts'
import { checkDecode, DECODE_THREADS, type DecodeConfig, decodeShape } from './decode-shape.ts'
import {
  announcePart,
  giveAnswer,
  giveRowSums,
  mergeParts,
  noPending,
  putParts,
  putRows,
} from './decode-sums.ts'
import { attendUnit, loadItemQuery, noSums } from './decode-unit.ts'
import { loadItem } from './items.ts'

/**
 * Attention over paged keys and values for sequences with few query tokens: query heads and tokens that share a key/value
 * head are multiplied together, so that each code is read and unpacked once.
 *
 * CTAs take the items that `planAttention` has listed, each for every key/value head, in turns. A CTA goes through the units
 * of an item's split in order and keeps their sums in registers; what sequences of several splits have is added up by the
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
      items: In<i32, 'Items 28'>
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
    const turns = items * (c.Hkv * d.passes)
    const stream = startStream(a, c, d, ring, items)
    const rowsOf = (turn: i32) => {
      const { head, pass, item } = placeOf(c, d, items, turn)
      return { head, pass, item: loadItem(a.items, item) }
    }
    const at = firstBlock()
    const pending = noPending()
    for (const step of range(idiv(turns + gridDim.x - 1, gridDim.x))) {
      const turn = turnAt(step)
      if (turn < turns) {
        const rows = rowsOf(turn)
        const units = unitsIn(c, d, rows.pass, rows.item)
        if (units > 0) {
          prepareQueries(o, rows, loadFirstQuery(o, rows))
          barrier()
          const query = loadItemQuery(o)
          const sums = noSums(d)
          for (const i of range(units)) {
            attendUnit(o, stream, at, query, sums, {
              item: rows.item,
              pass: rows.pass,
              unit: rows.item.unit + i,
            })
          }
          giveRowSums(o, sums)
          if (pending.turn >= 0) giveAnswer(o, pending)
          barrier()
          if (pending.turn >= 0) {
            if (o.m.isLast.at(0) !== 0) mergeParts(o, rowsOf(pending.turn))
            pending.turn = -1
          }
          if (rows.item.splits === 1) putRows(o, rows, sums)
          else {
            putParts(o, rows, sums)
            barrier()
            announcePart(o, rows, pending, turn)
          }
        }
      }
    }
    if (pending.turn >= 0) {
      giveAnswer(o, pending)
      barrier()
      if (o.m.isLast.at(0) !== 0) mergeParts(o, rowsOf(pending.turn))
    }
  },
)
