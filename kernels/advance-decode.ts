import {
  blockDim,
  blockIdx,
  ceilDiv,
  type In,
  type InOut,
  type i32,
  kernel,
  type Out,
  threadIdx,
  waitForPrevious,
} from '../dsl/index.ts'

const THREADS = 256

/** Tokens of a page of the cache, as a power of two. */
const PAGE_BITS = 6

/**
 * Makes the metadata of the next decode step from those of the last, whose row b is the one token of sequence b: the
 * chosen id goes in, one position further on, in the sequence's page for it.
 *
 * A negative slot marks a row without a sequence, which stays as it is. The host has to see to it that `pages` has a page
 * for every position that will come.
 */
export const advanceDecode = kernel(
  import.meta.url,
  { grid: (d) => [ceilDiv(d.B!, THREADS)], block: [THREADS] },
  function advanceDecode(a: {
    chosen: In<i32, 'B'>
    pages: In<i32, 'B MaxPages'>
    ids: Out<i32, 'B'>
    positions: InOut<i32, 'B'>
    context: InOut<i32, 'B'>
    slots: InOut<i32, 'B'>
  }) {
    waitForPrevious()
    const row = blockIdx.x * blockDim.x + threadIdx.x
    if (row < a.chosen.dim('B') && a.slots.at(row) >= 0) {
      const position = a.positions.at(row) + 1
      const page = a.pages.at(row, position >> PAGE_BITS)
      a.ids.put(a.chosen.at(row), row)
      a.positions.put(position, row)
      a.context.put(position + 1, row)
      a.slots.put((page << PAGE_BITS) + (position & (2 ** PAGE_BITS - 1)), row)
    }
  },
)

/** What a decode step reads of each row. */
export interface DecodeRows {
  readonly ids: Int32Array
  readonly positions: Int32Array
  readonly context: Int32Array
  readonly slots: Int32Array
}

/** The rows of the next step; `pages` has `maxPages` entries a row. */
export function advanceDecodeReference(
  rows: DecodeRows,
  chosen: Int32Array,
  pages: Int32Array,
  maxPages: number,
): DecodeRows {
  const next = {
    ids: rows.ids.slice(),
    positions: rows.positions.slice(),
    context: rows.context.slice(),
    slots: rows.slots.slice(),
  }
  for (let row = 0; row < chosen.length; row++) {
    if (rows.slots[row]! < 0) continue
    const position = rows.positions[row]! + 1
    next.ids[row] = chosen[row]!
    next.positions[row] = position
    next.context[row] = position + 1
    next.slots[row] = 64 * pages[row * maxPages + Math.floor(position / 64)]! + (position % 64)
  }
  return next
}
