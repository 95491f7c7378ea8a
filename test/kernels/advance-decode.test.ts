import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { advanceDecode, advanceDecodeReference } from '../../kernels/advance-decode.ts'
import { checkedEmulator } from '../support/checked-emulator.ts'
import { rng } from '../support/rng.ts'
import { runKernel } from '../support/run-kernel.ts'

const device = checkedEmulator()

for (const rows of [1, 255, 300])
  test(`${rows} rows go one position further, into their own page, and empty ones stay`, async () => {
    const random = rng(rows)
    const maxPages = 5
    const draw = (low: number, high: number) =>
      Int32Array.from({ length: rows }, () => random.integer(low, high))
    const [ids, chosen] = [draw(0, 1000), draw(0, 1000)]
    // Some at the end of a page, where the next one begins.
    const positions = draw(0, 64 * maxPages - 2).map((at, row) => (row % 3 === 0 ? at | 63 : at))
    for (let row = 0; row < rows; row++) if (positions[row] === 64 * maxPages - 1) positions[row] = 63
    const pages = Int32Array.from({ length: rows * maxPages }, () => random.integer(0, 4000))
    const slots = positions.map((at, row) =>
      row % 7 === 5 ? -1 : 64 * pages[row * maxPages + Math.floor(at / 64)]! + (at % 64),
    )
    const context = positions.map((at) => at + 1)
    const row = (dtype: 'i32', data: Int32Array) => ({ dtype, shape: [rows], data })
    const outputs = await runKernel(
      device,
      advanceDecode,
      {},
      {
        chosen: row('i32', chosen),
        pages: { dtype: 'i32', shape: [rows, maxPages], data: pages },
        ids: row('i32', ids),
        positions: row('i32', positions),
        context: row('i32', context),
        slots: row('i32', slots),
      },
    )
    assert.equal(
      { ...outputs },
      { ...advanceDecodeReference({ ids, positions, context, slots }, chosen, pages, maxPages) },
    )
  })

test.run()
